"""How a kernel's numbers are judged: against dense float64, with a same-dtype eager result as the yardstick.

Per row: rho = |x - ref| / |ref|. Accepted when max rho <= c * (max rho of the yardstick) + 2 ulp, c = 2 forward and 3
backward, and the global ratio of norms stays under a bound of the dtype, or under the yardstick's where peaked scores
push that one above the bound. No test has a tolerance of its own.

A result may be a difference of large terms that cancel: the dq of a row with one live key is 0 exactly, whatever the
terms. So |ref| is taken as at least 1 % of the norm of the sum of the terms' sizes, and 8 float32 roundings of that sum
are no error: softmax's backward subtracts dO . o from dO . v, which are rounded apart. For kernel and yardstick alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.call import Call
from attnir.errors import AttnirError
from attnir.evaluate import dense_mask, dense_score
from attnir.expr import Expr
from attnir.real import SCORE, slope
from attnir.reference import masked_softmax

GLOBAL = {torch.bfloat16: 5e-3, torch.float16: 1e-3, torch.float32: 1e-5}


@dataclass
class Case:
    """One call: sizes, dtype, kind of inputs, bindings, and the layout of the tensors in memory."""

    pattern: an.Mask | an.Pattern
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

    def tensors(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """q, k, v, do, dlse; rounded to the dtype, so that every executor and the reference start from the same."""
        g = torch.Generator().manual_seed(self.seed)
        k_len = self.q_len if self.k_len is None else self.k_len
        dv = self.d if self.dv is None else self.dv
        q = self._tensor(g, self.heads, self.q_len, self.d)
        k, v = self._tensor(g, self.kv_heads, k_len, self.d), self._tensor(g, self.kv_heads, k_len, dv)
        do = self._tensor(g, self.heads, self.q_len, dv)
        dlse = torch.randn(self.batch, self.heads, self.q_len, generator=g)
        if self.kind == "peaked":
            q = q * 8
            k[:, :, k_len // 3] = k[:, :, k_len // 3] * 4  # one dominant key
        elif self.kind == "constant":
            q, k, v = (torch.ones_like(t) for t in (q, k, v))
        elif self.kind == "offset":
            k = k + 30
        q, k, v, do = (self._laid_out(t) for t in (q, k, v, do))
        return tuple(t.to(device) for t in (q, k, v, do, dlse))  # type: ignore[return-value]

    def _tensor(self, g: torch.Generator, heads: int, length: int, width: int) -> Tensor:
        return torch.randn(self.batch, heads, length, width, generator=g).to(self.dtype)

    def _laid_out(self, t: Tensor) -> Tensor:
        t = t.to(self.dtype)
        if self.layout == "bshd":
            return t.transpose(1, 2).contiguous().transpose(1, 2)
        if self.layout == "padded":  # rows further apart than they are long, and not at multiples of 16 bytes
            wide = torch.full((*t.shape[:-1], t.shape[-1] + 3), torch.nan, dtype=t.dtype)
            wide[..., 1 : 1 + t.shape[-1]] = t
            return wide[..., 1 : 1 + t.shape[-1]]
        return t

    @property
    def call(self) -> Call:
        sizes = {"batch": self.batch, "heads": self.heads, "q_len": self.q_len, "k_len": self.k_len}
        return self.pattern.signature.bind(self.bindings, **sizes, q_start=self.q_start)

    def live(self, device: str = "cpu") -> Tensor:
        """The dense mask, bool [B, Hq, Sq, Sk]."""
        call = self.call
        mask = dense_mask(self.pattern.predicate, call).expand(self.batch, self.heads, self.q_len, call.k_len)
        return mask.to(device)

    @property
    def score(self) -> Expr:
        return self.pattern.score if isinstance(self.pattern, an.Pattern) else SCORE

    def changed(self, s: Tensor) -> Tensor:
        """What the pattern makes of scores [B, Hq, Sq, Sk], on the CPU."""
        return dense_score(self.score, self.call)(s)

    def slope(self, s: Tensor) -> Tensor:
        """The derivative of that."""
        return dense_score(slope(self.score), self.call)(s)

    def options(self, device: str = "cpu") -> dict[str, object]:
        def move(value: object) -> object:
            if isinstance(value, tuple):
                return tuple(move(v) for v in value)
            return value.to(device) if isinstance(value, Tensor) else value

        bound = {name: move(value) for name, value in self.bindings.items()}
        return {"scale": self.scale, "q_start": self.q_start, **bound}


Results = dict[str, Tensor]


def run(attention: object, case: Case, device: str = "cpu") -> Results:
    """o, lse, dq, dk, dv of an attention or a reference; lse enters the loss."""
    q, k, v, do, dlse = case.tensors(device)
    leaves = [t.detach().requires_grad_() for t in (q, k, v)]
    o, lse = attention(*leaves, return_lse=True, **case.options(device))  # type: ignore[operator]
    dead = lse == -torch.inf
    loss = (o * do.to(o.dtype)).sum() + torch.where(dead, 0.0, lse * dlse.to(lse.dtype)).sum()
    dq, dk, dv = torch.autograd.grad(loss, leaves, allow_unused=True)
    return {"o": o.detach(), "lse": lse.detach(), "dq": dq, "dk": dk, "dv": dv}


def eager(case: Case) -> Results:
    """The yardstick: plain masked softmax in the case's dtype, with torch's own gradients."""
    live = case.live()

    def attention(q: Tensor, k: Tensor, v: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        group = q.shape[1] // k.shape[1]
        k, v = (t.repeat_interleave(group, 1) for t in (k, v))
        scale = q.shape[-1] ** -0.5 if case.scale is None else case.scale
        s = (q @ k.transpose(-1, -2)).float() * scale
        scores = torch.where(live, case.changed(s) + 0.0 * s, -torch.inf)
        alive = live.any(-1, keepdim=True)
        lse = torch.where(alive, scores, 0.0).logsumexp(-1, keepdim=True)
        p = torch.where(alive, (torch.where(alive, scores, 0.0) - lse).exp(), 0.0)
        return p.to(v.dtype) @ v, torch.where(alive, lse, -torch.inf)[..., 0]

    return run(attention, case)


def dense(case: Case) -> Results:
    """The dense float64 meaning from the same rounded inputs."""
    return run(an.reference(case.pattern), _double(case))


def _double(case: Case) -> Case:
    class Rounded(Case):
        def tensors(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
            return tuple(t.double() for t in case.tensors(device))  # type: ignore[return-value]

    return Rounded(**{name: getattr(case, name) for name in case.__dataclass_fields__})


def judge(got: Results, case: Case) -> dict[str, float]:
    """Assert that every result is accepted; the figures, for a report."""
    ref, yardstick, size = dense(case), eager(case), sizes(case)
    figures = {}
    dead = ~case.live().any(-1)
    got = {name: t.detach().cpu() for name, t in got.items()}
    assert torch.equal(got["lse"] == -torch.inf, dead), "lse is -inf exactly on the rows without a live key"
    assert bool((got["o"][dead] == 0).all()) and bool((got["dq"][dead] == 0).all()), "a dead row gives zeros"
    for name, x in got.items():
        assert x.dtype == (torch.float32 if name == "lse" else case.dtype), (name, x.dtype)
        if name == "lse":
            # An lse near 0 is a sum of scores that are not: its error is measured against them.
            a, b, c, s = (t[~dead].double()[..., None] for t in (x, ref[name], yardstick[name], size[name]))
            figures[name] = _accept(name, (a - b) / s + 1, torch.ones_like(b), (c - b) / s + 1, s, 2, torch.float32)
        else:
            factor = 2 if name == "o" else 3
            figures[name] = _accept(name, x, ref[name], yardstick[name], size[name], factor, case.dtype)
    return figures


def sizes(case: Case) -> Results:
    """The sums of the sizes of the terms of o, dq, dk, dv: the same products over absolute values, in float64."""
    q, k, v, do, dlse = (t.double() for t in case.tensors())
    group = case.heads // case.kv_heads
    k, v = (t.repeat_interleave(group, 1) for t in (k, v))
    scale = q.shape[-1] ** -0.5 if case.scale is None else case.scale
    o, lse = masked_softmax(q, k, v, live := case.live(), scale, case.changed)
    before = q @ k.transpose(-1, -2) * scale
    scores = case.changed(before)
    p = torch.where(live, (scores - lse[..., None]).exp(), 0.0)
    p = p * (1 + scores.abs() + torch.where(live, lse[..., None], 0.0).abs())  # exp magnifies the rounding of s - lse
    terms = (do @ v.transpose(-1, -2)).abs() + (do * o).sum(-1, keepdim=True).abs() + dlse.abs()[..., None]
    ds = p * terms * abs(scale) * case.slope(before).abs()

    def over_group(t: Tensor) -> Tensor:
        return t.unflatten(1, (-1, group)).sum(2)

    dk, dv = over_group(ds.transpose(-1, -2) @ q.abs()), over_group(p.transpose(-1, -2) @ do.abs())
    largest = torch.where(live, scores.abs(), 0.0).amax(-1)
    return {"lse": 1 + largest, "o": p @ v.abs(), "dq": ds @ k.abs(), "dk": dk, "dv": dv}


def _accept(
    name: str, x: Tensor, ref: Tensor, yardstick: Tensor, terms: Tensor, factor: int, dtype: torch.dtype
) -> float:
    x, ref, yardstick = x.double(), ref.double(), yardstick.double()
    assert bool(torch.isfinite(x).all()), f"{name} is not finite"
    size = torch.maximum(ref.norm(dim=-1), 1e-2 * terms.norm(dim=-1))
    zero = size == 0
    assert bool((x[zero] == 0).all()), f"{name} is not 0 where it must be"
    if bool(zero.all()):
        return 0.0
    slack = 8 * torch.finfo(torch.float32).eps * terms.norm(dim=-1)
    rho, best = (((t - ref).norm(dim=-1) - slack).clamp(min=0)[~zero] / size[~zero] for t in (x, yardstick))
    limit = factor * float(best.max()) + 2 * torch.finfo(dtype).eps
    assert float(rho.max()) <= limit, f"{name}: max rho {float(rho.max()):.3e} > {limit:.3e}"
    ratio, reached = (float((t - ref).norm() / max(ref.norm(), 1e-2 * terms.norm())) for t in (x, yardstick))
    limit = max(GLOBAL[dtype], reached)
    assert ratio <= limit, f"{name}: global ratio {ratio:.3e} > {limit:.3e}"
    return float(rho.max())


def check(
    backend: str, case: Case, device: str = "cpu", config: Mapping[str, an.Config] | None = None
) -> dict[str, float]:
    """Run a case on a backend and judge it."""
    return judge(run(an.compile(case.pattern, backend=backend, config=config), case, device), case)


def refused(kind: type[AttnirError], words: str, declare: Callable[[], object]) -> None:
    """Assert that a declaration is an error of exactly this kind, which says these words."""
    with pytest.raises(AttnirError) as caught:
        declare()
    assert type(caught.value) is kind
    assert words in str(caught.value)
