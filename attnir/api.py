"""The way in: `compile` makes an `Attention`, and an Attention is called with tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, overload

import torch
from torch import Tensor

from attnir.certificate import certificate as certify
from attnir.codegen.operator import attend
from attnir.codegen.plan import BACKENDS, CONFIGURED, Plan
from attnir.codegen.targets import Config
from attnir.compiled_graph import CompiledGraph, compiled_graph
from attnir.errors import BackendError, ConfigError, GraphError, HeadsError
from attnir.explain import explain as explain_attention
from attnir.factors import Factor
from attnir.graph.graph import Graph, check_nothing_beside
from attnir.heads import Heads, check_is_heads
from attnir.inputs import autocast, check_inputs, check_transforms, factor_of
from attnir.masks import Mask
from attnir.normalizers import Normalizer
from attnir.notebook import never_raises
from attnir.plot import plot as plot_attention
from attnir.reference import check_lse
from attnir.routed import joined, with_lists
from attnir.routing import Route
from attnir.scores import Pattern, Score
from attnir.scores import pattern as declare
from attnir.signature import Signature
from attnir.statistics import statistics as statistics_of_attention


@dataclass(frozen=True, slots=True)
class Attention:
    """A compiled pattern: call it with q, k, v. Equal patterns give equal attentions and share their kernels."""

    pattern: Pattern
    plan: Plan
    text: str = field(repr=False, compare=False)  # the plan's text, which every call hands to the operator
    signature: Signature = field(repr=False, compare=False)  # of the pattern, kept: a traced call builds no expression
    routes: tuple[Route, ...] = ()  # what computes selections that a call does not give

    @overload
    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float | None = None,
        q_start: int | None = None,
        return_lse: Literal[False] = False,
        **bindings: object,
    ) -> Tensor: ...

    @overload
    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float | None = None,
        q_start: int | None = None,
        return_lse: Literal[True],
        **bindings: object,
    ) -> tuple[Tensor, Tensor]: ...

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float | None = None,
        q_start: int | None = None,
        return_lse: bool = False,
        **bindings: object,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attention of q [B, Hq, Sq, D] over k [B, Hk, Sk, D] and v [B, Hv, Sk, Dv]: o [B, Hq, Sq, Dv].

        q, k, v         float16, bfloat16 or float32, of one dtype; any strides, the last axis contiguous; Hq is a
                        multiple of Hk and of Hv, or the heads are as the attention's maps say
        scale           the factor of q . k, by default D ** -0.5
        q_start         the first query's position, by default max(0, Sk - Sq): the queries are the last positions
        return_lse      also return lse [B, Hq, Sq], float32: the natural log of the sum of the weights of each row, in
                        softmax of exp(score); weights that are not divided by their sum have none
        bindings        the pattern's fields, integers [Sk] or [B, Sk] or a pair (for queries, for keys), tensors and
                        parameters

        A row without a live key gives output 0, lse -inf, or that of the sink, and zero gradients. o and lse are
        differentiable in q, k, v and in the tensors that a score reads.

        >>> import attnir as an, torch
        >>> q = k = v = torch.randn(1, 2, 100, 16)
        >>> attn = an.compile(an.window(an.param("w"), 0))
        >>> attn(q, k, v, w=10).shape
        torch.Size([1, 2, 100, 16])
        """
        q, k, v = autocast(q, k, v)
        check_inputs(q, k, v, self.plan.heads)
        check_lse(self.pattern, return_lse)
        check_transforms(q, k, v, *bindings.values())
        call = self.signature.bind(
            with_lists(
                self.routes,
                q,
                k,
                self.signature.start(q_start, q.shape[2], k.shape[2]),
                self.plan.heads,
                bindings,
                self.signature.names,
            ),
            batch=q.shape[0],
            heads=q.shape[1],
            q_len=q.shape[2],
            k_len=k.shape[2],
            q_start=q_start,
            device=q.device,
        )
        factor = factor_of(scale, q.shape[-1])
        o, lse = attend(q, k, v, *self.signature.flat(call), self.text, factor, call.q_start)
        return (o, lse) if return_lse else o

    statistics = statistics_of_attention
    explain = explain_attention
    plot = plot_attention
    certificate = certify

    def source(
        self,
        kind: str = "forward",
        *,
        d: int = 64,
        dv: int | None = None,
        dtype: torch.dtype = torch.bfloat16,
        target: str | None = None,
        grouped: bool = False,
    ) -> str:
        """The Triton source of a kernel: "forward", "delta", "dq" or "dkv", for head widths d and dv (= d).

        grouped: for several query heads to a key head.
        """
        from attnir.codegen.triton.launch import source

        return source(self.plan, kind, d, dv, dtype, target, grouped)

    def __repr__(self) -> str:
        return f"<Attention {self.pattern}>"

    @never_raises
    def _repr_html_(self) -> str:
        """The pattern with its picture, and who computes it; for notebooks."""
        backend = self.plan.backend or "triton on a GPU, torch tiles on a CPU"
        runs = f'<p style="margin:8px 0 0;opacity:.75">compiled for {backend}</p>'
        return f"<div>{self.pattern._repr_html_() or ''}{runs}</div>"


@overload
def compile(pattern: Graph, *, backend: str | None = None, check: bool = False) -> CompiledGraph: ...


@overload
def compile(
    pattern: Mask | Pattern,
    *,
    score: Score | Iterable[Score] = (),
    normalize: Normalizer | None = None,
    factor: Factor | Iterable[Factor] = (),
    backend: str | None = None,
    check: bool = False,
    config: Mapping[str, Config] | None = None,
    heads: Heads | None = None,
    route: Route | Iterable[Route] = (),
) -> Attention: ...


def compile(
    pattern: Mask | Pattern | Graph,
    *,
    score: Score | Iterable[Score] = (),
    normalize: Normalizer | None = None,
    factor: Factor | Iterable[Factor] = (),
    backend: str | None = None,
    check: bool = False,
    config: Mapping[str, Config] | None = None,
    heads: Heads | None = None,
    route: Route | Iterable[Route] = (),
) -> Attention | CompiledGraph:
    """The attention of a pattern, or of a graph of stages. Shapes stay dynamic; kernels are generated when they are
    first needed.

    score       scores that the pairs get, in their order: an.score(...), an.multiplicity(...)
    normalize   how weights come of scores: an.softmax(sink=...), an.weights(...), or a function of the score; softmax
                where nothing is said
    factor      what weights are multiplied with when they meet values: an.factor(...), an.dropout(...)
    backend     "triton", "torch" or "reference"; by default Triton on a GPU and torch tiles on a CPU
    check       test at every call on a GPU, too, that sorted fields are sorted and that values are not so large that 64
                bits would not hold what the pattern computes of them; it waits for the device
    config      configurations to use instead of the compiler's choice, by kernel: "forward", "dq", "dkv"
    heads       which head of k and which of v each query head has: an.Heads(k=(0, 0, 1, 1), v=(0, 1, 0, 1)); contiguous
                groups where nothing is said
    route       what chooses keys from content, one or several: an.route.topk_blocks(...); its mask is joined to the
                pattern, unless that reads its selection itself

    >>> import attnir as an
    >>> an.compile(an.causal() & an.window(16)) == an.compile(an.causal() & an.window(16))
    True
    """
    routes = tuple(route) if isinstance(route, Iterable) else (route,)
    if isinstance(pattern, Graph):
        check_nothing_beside(score=score, normalize=normalize, factor=factor, heads=heads, route=route)
        if config:
            raise GraphError("the attentions of a graph have the configurations that the compiler chooses")
        return compiled_graph(pattern, lambda a: compile(a.pattern, backend=backend, check=check, heads=a.heads))
    declared = joined(declare(pattern, score=score, normalize=normalize, factor=factor), routes)
    if backend not in (None, *BACKENDS):
        raise BackendError(f"unknown backend {backend!r}; expected one of {', '.join(BACKENDS)}")
    check_is_heads(heads)
    if heads is not None and declared.heads not in (None, len(heads.k)):
        raise HeadsError(f"the pattern has masks for {declared.heads} query heads, the maps are for {len(heads.k)}")
    configs = {} if config is None else config
    maps = f'config maps {", ".join(CONFIGURED)} to configurations, {{"forward": an.Config(128, 64, 8, 3)}}'
    if not isinstance(configs, Mapping):
        raise ConfigError(f"{maps}; it is not {configs!r}")
    for kind, given in configs.items():
        if kind not in CONFIGURED or not isinstance(given, Config):
            raise ConfigError(f"{maps}; not {kind!r} to {given!r}")
        if declared.weights.landmarks not in (None, given.block_k):
            raise ConfigError(
                f"a tile has the {declared.weights.landmarks} keys of a block with a landmark, not {given}"
            )
    plan = Plan(declared, backend, bool(check), tuple(sorted(configs.items())), heads)
    return Attention(declared, plan, plan.text(), declared.signature, routes)
