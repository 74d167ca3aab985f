"""One call of one pattern, in every detail, so that it can be repeated: what properties are checked on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from attnir.call import Call
from attnir.errors import AttnirError
from attnir.evaluate import dense_mask, dense_score
from attnir.expr import Expr
from attnir.heads import Heads, heads_of
from attnir.masks import Mask
from attnir.promises import check_sizes, check_sorted
from attnir.real import SCORE
from attnir.scores import Pattern
from attnir.testing.values import moved, resolved
from attnir.weighing import SOFTMAX, Weights

KINDS = ("normal", "peaked", "constant", "offset")
LAYOUTS = ("bhsd", "bshd", "padded")
GUARD = 1  # rows of NaN before and after the tokens of every head of a padded tensor
ALIGNED = 16  # elements: so many, of any dtype, are a multiple of 16 bytes


class DoesNotApply(Exception):
    """A property says nothing of a case; why."""


@dataclass(frozen=True)
class Case:
    """A call: its sizes, its dtype, what its tensors hold, how they lie in memory, and what is bound.

    pattern          a mask, or a pattern with a score
    q_len, k_len     lengths, k_len = q_len where left out; q_start as in a call
    batch, heads     samples and query heads; kv_heads divides heads, or are the key heads of the maps
    v_heads          value heads, kv_heads where left out
    maps             which key head and which value head each query head has; contiguous groups where left out
    d, dv            head widths, dv = d where left out
    kind             "normal"; "peaked", where one key outweighs the others; "constant"; "offset", where k is 30 larger
    layout           "bhsd", contiguous; "bshd", whose heads lie beside each other; "padded", with NaN around every row
    scale            as in a call
    seed             of the random numbers in the tensors
    bindings         fields, parameters and tensors by name, as in a call; `Values` stand for a tensor
    tile             (queries, keys) of a tile of the Triton kernels; the compiler's choice where left out

    >>> import attnir as an
    >>> case = Case(an.causal(), q_len=3, heads=1)
    >>> case.live[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """

    pattern: Mask | Pattern
    q_len: int = 129
    k_len: int | None = None
    batch: int = 1
    heads: int = 2
    kv_heads: int = 1
    d: int = 64
    dv: int | None = None
    dtype: torch.dtype = torch.float32
    kind: str = "normal"
    layout: str = "bhsd"
    q_start: int | None = None
    scale: float | None = None
    seed: int = 0
    bindings: Mapping[str, object] = field(default_factory=dict)
    tile: tuple[int, int] | None = None
    v_heads: int | None = None
    maps: Heads | None = None

    def tensors(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """q, k, v, do, dlse; rounded to the dtype, so that every executor and the reference start from the same."""
        g = torch.Generator().manual_seed(self.seed)
        k_len = self.q_len if self.k_len is None else self.k_len
        dv = self.d if self.dv is None else self.dv
        q = self._normal(g, self.heads, self.q_len, self.d)
        v_heads = self.kv_heads if self.v_heads is None else self.v_heads
        k, v = self._normal(g, self.kv_heads, k_len, self.d), self._normal(g, v_heads, k_len, dv)
        do = self._normal(g, self.heads, self.q_len, dv)
        dlse = torch.randn(self.batch, self.heads, self.q_len, dtype=torch.float32, generator=g)
        if self.kind == "peaked":
            q = q * 8
            k[:, :, k_len // 3] = k[:, :, k_len // 3] * 4  # one dominant key
        elif self.kind == "constant":
            q, k, v = (torch.ones_like(t) for t in (q, k, v))
        elif self.kind == "offset":
            k = k + 30
        q, k, v, do = (self.laid_out(t.to(device)) for t in (q, k, v, do))
        return q, k, v, do, dlse.to(device)

    def _normal(self, g: torch.Generator, heads: int, length: int, width: int) -> Tensor:
        return torch.randn(self.batch, heads, length, width, dtype=torch.float32, generator=g).to(self.dtype)

    def laid_out(self, t: Tensor) -> Tensor:
        """A tensor [B, H, S, D] in the case's dtype and layout; what lies around it in memory is NaN."""
        t = t.to(self.dtype)
        around = ALIGNED * t.shape[1] * t.shape[3]  # tokens of all heads
        if self.layout == "bshd":
            return _guarded(t.transpose(1, 2), around).transpose(1, 2)
        if self.layout == "padded":  # rows further apart than they are long, and not at multiples of 16 bytes
            b, h, s, d = t.shape
            wide = torch.full((b, h, s + 2 * GUARD, d + 3), torch.nan, dtype=t.dtype, device=t.device)
            inside = wide[:, :, GUARD : GUARD + s, 1 : 1 + d]
            inside.copy_(t)
            return inside
        return _guarded(t, around)

    @property
    def call(self) -> Call:
        """The pattern bound to the sizes."""
        return self.pattern.signature.bind(
            self.bound,
            batch=self.batch,
            heads=self.heads,
            q_len=self.q_len,
            k_len=self.k_len,
            q_start=self.q_start,
        )

    @property
    def bound(self) -> dict[str, object]:
        """The bindings as the call takes them."""
        return {name: resolved(value) for name, value in self.bindings.items()}

    @property
    def live(self) -> Tensor:
        """The dense mask, bool [B, Hq, Sq, Sk], on the CPU."""
        call = self.call
        mask = dense_mask(self.pattern.predicate, call)
        return mask.expand(call.batch, call.heads, call.q_len, call.k_len)

    @property
    def heads_of(self) -> Heads:
        """Which key head and which value head each query head has."""
        v_heads = self.kv_heads if self.v_heads is None else self.v_heads
        return heads_of(self.maps, self.heads, self.kv_heads, v_heads)

    @property
    def factor(self) -> float:
        """What the product of a query and a key is multiplied with."""
        return float(self.d**-0.5) if self.scale is None else self.scale

    @property
    def score(self) -> Expr:
        """What becomes of a score."""
        return self.pattern.score if isinstance(self.pattern, Pattern) else SCORE

    @property
    def weights(self) -> Weights:
        """How weights come of scores, and what factors they have."""
        return self.pattern.weights if isinstance(self.pattern, Pattern) else SOFTMAX

    @property
    def learned(self) -> tuple[str, ...]:
        """The real tensors of the pattern."""
        return tuple(t.name for t in self.pattern.reals)

    @property
    def pairs(self) -> int:
        """How many pairs (query, key) there are, over all samples and heads."""
        return self.batch * self.heads * self.q_len * (self.q_len if self.k_len is None else self.k_len)

    def with_reals(self, given: Mapping[str, object] | None) -> Call:
        """The call with other values of its real tensors, where some are given."""
        call = self.call
        return call if given is None else replace(call, reals={name: cast(Tensor, given[name]) for name in call.reals})

    def changed(self, s: Tensor, given: Mapping[str, object] | None = None) -> Tensor:
        """What the pattern makes of scores [B, Hq, Sq, Sk], on the CPU; `given`: other bindings of its real tensors."""
        return self.of_pairs(self.score, s, given)

    def of_pairs(self, e: Expr, s: Tensor, given: Mapping[str, object] | None = None) -> Tensor:
        """An expression over scores s of all pairs, where they are live, on the CPU."""
        return dense_score(e, self.with_reals(given), self.live)(s)

    def options(self, device: str = "cpu") -> dict[str, object]:
        """The keywords of the call."""
        on_device = {name: moved(value, device) for name, value in self.bound.items()}
        return {"scale": self.scale, "q_start": self.q_start, **on_device}

    def of(self, pattern: Mask | Pattern, **bindings: object) -> Case:
        """The same call of another pattern, with those of the bindings, and of further ones, that it reads."""
        every = {**self.bindings, **bindings}
        return replace(self, pattern=pattern, bindings={name: every[name] for name in pattern.signature.names})


def _guarded(t: Tensor, around: int) -> Tensor:
    """A contiguous copy of a tensor, with so many NaN before it and behind it."""
    whole = torch.full((t.numel() + 2 * around,), torch.nan, dtype=t.dtype, device=t.device)
    inside = whole[around : around + t.numel()].view(t.shape)
    return inside.copy_(t)


def takes(case: Case) -> bool:
    """Whether a call takes the sizes and the bindings of a case."""
    try:
        call = case.call
        check_sizes(call, *case.pattern.roots)
        for decl in case.pattern.fields:
            check_sorted(decl, call.fields[decl.name])
    except AttnirError:
        return False
    return True
