"""Tracing a graph: a function of q, k, v and what else a call gives is called once, with edges in their place.

The functions here are what it is written in. Those that only move tokens compute when they are given tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from attnir.branches import combine as combined
from attnir.branches import merge as merged
from attnir.errors import GraphError
from attnir.factors import Factor
from attnir.graph import choosing, moving, summaries
from attnir.graph.attending import Attend
from attnir.graph.edges import Given, Kind, Part, Tokens
from attnir.graph.epilogue import Epilogue
from attnir.graph.graph import Graph
from attnir.graph.inputs import Input
from attnir.graph.joining import Combine, Merge
from attnir.graph.nesting import nested, without_idle
from attnir.graph.tracer import Edge, Tracer, apply, called, tracer_of
from attnir.heads import Heads, check_is_heads
from attnir.masks import Mask
from attnir.normalizers import Normalizer
from attnir.routed import joined
from attnir.routing import Route
from attnir.scores import Pattern, Score
from attnir.scores import pattern as declare

SIZES = ("self", "q_start", "q_len", "k_len", "heads", "kv_heads", "batch", "d", "dv", "dtype", "target", "backend")


KNOWN: dict[str, Kind] = {"q": Tokens("q"), "k": Tokens("k"), "v": Tokens("k")}


def graph(function: Callable[..., Any], **axes: str) -> Graph:
    """The graph of a function of q, k, v and what else a call gives, by name.

    q [B, Hq, Sq, D] are tokens on the axis "q", k [B, Hk, Sk, D] and v [B, Hv, Sk, Dv] on "k"; `axes` says on which
    one others are, `seeds="m"`. What is neither, such as a gate, a matrix or a field, is checked where it is used. The
    function is written in `an.attend`, `an.summarise`, `an.choose`, `an.gather`, `an.scatter`, `an.merge`,
    `an.combine`, `an.epilogue` and the like, and gives one of their results, or a tuple of them.

    >>> import attnir as an, torch
    >>> def two_scales(q, k, v, gate):
    ...     near = an.attend(an.window(8, 0), q, k, v)
    ...     far = an.attend(an.mask(lambda q, k: 8 * k + 7 <= q), q, an.summarise(k, 8), an.summarise(v, 8))
    ...     return an.combine([(gate, near), (1.0, far)])
    >>> attn = an.compile(an.graph(two_scales))
    >>> q = k = v = torch.randn(1, 2, 100, 16)
    >>> attn(q, k, v, gate=torch.rand(1, 2, 100)).shape
    torch.Size([1, 2, 100, 16])

    Raises GraphError where a stage cannot take what it is given.
    """
    if not callable(function):
        raise GraphError(f"a graph is traced from a function of q, k and v, not {function!r}")
    tracer = Tracer()
    names = _arguments(function)
    if unknown := sorted(set(axes) - set(names)):
        raise GraphError(f"`{unknown[0]}` is on the axis {axes[unknown[0]]!r}, but the function has no such argument")
    kinds = {name: Tokens(axes[name]) if name in axes else KNOWN.get(name, Given()) for name in names}
    found = function(*(tracer.add(Input(name, kinds[name]), ()) for name in names))
    results = found if isinstance(found, tuple) else (found,)
    for r in results:
        if not isinstance(r, Edge):
            raise GraphError(f"a graph gives what its stages give, not {r!r}")
    nodes, outputs = without_idle(tracer.nodes, [r.number for r in results], tracer.of_graphs)
    return Graph(nodes, outputs, not isinstance(found, tuple))


def _arguments(function: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments, which a call gives."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        raise GraphError(f"a graph is traced from a function of q, k and v, not {function!r}") from None
    for name, p in parameters.items():
        if p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) or p.default is not p.empty:
            raise GraphError(f"`{name}`: what a call gives are plain arguments, without stars or defaults")
        if name in SIZES:
            raise GraphError(f"calls of a graph, or its explain, have a `{name}`; name the argument otherwise")
    return list(parameters)


def attend(
    pattern: Mask | Pattern | Graph,
    q: Edge,
    k: Edge,
    v: Edge,
    *,
    score: Score | Iterable[Score] = (),
    normalize: Normalizer | None = None,
    factor: Factor | Iterable[Factor] = (),
    route: Route | Iterable[Route] = (),
    heads: Heads | None = None,
    scale: float | None = None,
    return_lse: bool = False,
    **bindings: Any,
) -> Any:
    """The attention of a pattern in a graph: o, or the part (o, lse) with `return_lse`, said as for `an.compile`.

    bindings are what the pattern's fields, tensors and selections are bound to: results of stages, or a pair (for
    queries, for keys). What is not bound is an input of the graph, by its name. Queries on the axis "q" have the
    positions of the call, unless their keys are on it as well; all others begin at 0.

    In the place of a pattern another graph gives what it gives: its stages stand among the others. bindings are its
    other inputs, and lists that take the place of those of its routes; a route is called otherwise, `picks_2`, where
    another has its name.

    >>> import attnir as an, torch
    >>> moba = an.catalog.build("moba", chunk=16, k=2)
    >>> def near_and_far(q, k, v):
    ...     return an.combine([(0.5, an.attend(an.window(8, 0), q, k, v)), (0.5, an.attend(moba, q, k, v))])
    >>> q = k = v = torch.randn(1, 2, 100, 16)
    >>> an.compile(an.graph(near_and_far))(q, k, v).shape
    torch.Size([1, 2, 100, 16])
    """
    tracer = tracer_of("attend", q, k, v)
    if isinstance(pattern, Graph):
        said = scale is not None or heads is not None or return_lse or route != ()
        if said or any(x not in ((), None) for x in (score, normalize, factor)):
            raise GraphError(
                "a graph says what its attentions are: their scores, routes, heads and scale, and its results"
            )
        return nested(pattern, tracer, (q, k, v), bindings)
    check_is_heads(heads)
    if isinstance(scale, bool) or not (scale is None or isinstance(scale, int | float)):
        raise GraphError(f"scale is a number, or None for D ** -0.5; not {scale!r}")
    routes = tuple(route) if isinstance(route, Iterable) else (route,)
    declared = joined(declare(pattern, score=score, normalize=normalize, factor=factor), routes)
    for r in routes:
        if r.name not in bindings:
            bindings[r.name] = choose(r, q, k, heads)
    read = declared.signature.names
    if unknown := sorted(set(bindings) - set(read)):
        scores = [r for r in routes if unknown[0] in r.score.names]
        more = f"; bind it to the choice, {scores[0].name}=an.choose(route, q, k, {unknown[0]}=...)" if scores else ""
        raise GraphError(
            f"`{unknown[0]}` is bound, but the pattern reads {', '.join(read) or 'nothing'}: {declared}{more}"
        )
    values = {name: bindings[name] if name in bindings else tracer.given(name) for name in read}
    pairs = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
    for name, pair in pairs.items():
        if len(pair) > 2 or not all(isinstance(x, Edge) for x in pair):
            raise GraphError(f"`{name}` is bound to what a stage gives, or a pair of that, not {values[name]!r}")
    names = tuple((name, len(pair)) for name, pair in pairs.items())
    stage = Attend(declared, names, scale, heads)
    found = tracer.add(stage, tuple(x.number for x in (q, k, v, *(x for pair in pairs.values() for x in pair))))
    if isinstance(found.kind, Part):
        return found if return_lse else found[0]
    if return_lse:
        raise GraphError("weights that are not divided by their sum have no lse; leave return_lse out")
    return found


def summarise(x: Any, block: int, how: str = "mean") -> Any:
    """One token for each block of x [B, H, S, D]: [B, H, ceil(S / block), D], its "mean", "max" or "sum".

    Differentiable. The last block has the tokens that there are.

    >>> import attnir as an, torch
    >>> an.summarise(torch.arange(5.0).view(1, 1, 5, 1), 2).flatten().tolist()
    [0.5, 2.5, 4.0]
    """
    return apply(summaries.Summarise(block, how), x)


def project(x: Any, matrix: Any, onto: str = "m") -> Any:
    """matrix [m, S] or [H, m, S] times x [B, H, S, D]: m tokens that are sums of all, [B, H, m, D].

    onto is the axis that they are on, in a graph: keys and values that stand for each other are on one axis.
    """
    if onto in ("q", "k"):
        raise GraphError(f"{onto!r} is the axis of tokens of the call; name another one")
    return apply(summaries.Project(onto), x, matrix)


def repeat(x: Any, block: int, like: Any) -> Any:
    """What stands for a block, tokens or a part of blocks, for each token of `like`: [B, H, S, D]."""
    return apply(summaries.Repeat(block), x, like)


def choose(route: Route, q: Any, k: Any, heads: Heads | None = None, **scores: Any) -> Any:
    """The lists of a route for q [B, Hq, Sq, D] and k [B, Hk, Sk, D]; a call may give others, by the route's name.

    What its scores read is an input of the graph by its name, or is bound to what a stage gives. heads are head maps,
    as for `an.compile`.
    """
    if not isinstance(route, Route):
        raise GraphError(f"lists are those of a route, an.route.topk_blocks(block=64, k=8), not {route!r}")
    tracer = tracer_of("choose", q, k)
    if unknown := sorted(set(scores) - set(route.score.names)):
        raise GraphError(f"`{unknown[0]}` is bound, but the route reads {', '.join(route.score.names) or 'nothing'}")
    named = [scores[name] if name in scores else tracer.given(name) for name in route.score.names]
    return apply(choosing.Choose(route, heads), q, k, *named)


def clusters(x: Any, centroids: Any, tokens: int, like: Any = None) -> Any:
    """For each centroid, [C, D] or [H, C, D], as many tokens of x [B, H, S, D]: those with the largest products.

    Lists [B, H, C, tokens], ascending, of as many heads as `like` or the centroids have where those are more; of equal
    products the lower token wins. No gradient.
    """
    return apply(choosing.Clusters(called(centroids, "centroids"), tokens), x, centroids, x if like is None else like)


def hash_buckets(x: Any, directions: Any, like: Any = None) -> Any:
    """The hash bucket of each token of x [B, H, S, D]: argmax of [x R, -x R], for directions R [D, n] or [H, D, n].

    Facts of folded tokens, [B * H, S]; `like` has as many heads as they are to be for. No gradient.
    """
    return apply(choosing.Buckets(), x, directions, x if like is None else like)


def pack(bits: Any, like: Any, most: int | None = None) -> Any:
    """The tokens of `like` [B, H, S, D] whose bits, [B, H, S] or [B, S], are set: a list of each head, ascending.

    Lists [B, H, 1, places], with S places where `most` is not said; those behind are not kept.
    """
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise GraphError(f"a number of places from 1 on are packed, not {most!r}")
    return apply(choosing.Pack(most), bits, like)


def gather(x: Any, lists: Any) -> Any:
    """The tokens of x [B, H, S, D] in lists [B, H, n, places], each list as a sample: [B * H * n, 1, places, D].

    Where a list has -1, or a member again, stands any token: `an.places` is -1 there, and a mask has to leave it out.
    """
    return apply(moving.Gather(), x, lists)


def places(lists: Any, like: Any) -> Any:
    """The positions of what lists gather, facts [B * H * n, places], -1 where nothing is; `like` has the heads."""
    return apply(moving.Places(), lists, like)


def positions(x: Any, like: Any) -> Any:
    """The positions of folded tokens, facts of x [B, H, S, D] for each head of `like`: [B * H, S]."""
    return apply(moving.Positions(), x, like)


def scatter(x: Any, lists: Any, like: Any, how: str = "set", eps: float = 0.0) -> Any:
    """What was computed of gathered tokens, [B * H * n, 1, places, D], where they stood in `like`: [B, H, S, D].

    Of a token that stands in several lists the first one counts ("set"), or their "sum", or "mean", whose divisor is
    the count plus `eps`; or the part (o, lse) is that of one softmax over the keys of all ("merge"). A token in no list
    gets 0.
    """
    return apply(moving.Scatter(how, eps), x, lists, like)


def fold(x: Any, like: Any = None) -> Any:
    """x [B, H, S, D] with each head as a sample, [B * H, 1, S, D], so that facts may differ from head to head.

    `like` has as many heads as it is to be for: those of k for the query heads, fold(k, like=q).
    """
    return apply(moving.Fold(), x, x if like is None else like)


def unfold(x: Any, like: Any) -> Any:
    """What was computed of folded tokens, [B * H, 1, S, D] or a part, with the heads of `like`: [B, H, S, D]."""
    return apply(moving.Unfold(), x, like)


def epilogue(function: Callable[..., Any], *values: Any, gives: Kind | None = None) -> Any:
    """A function of tensors. Its result is of the kind of the first one, or of `gives`, such as an.Tokens("q").

    Where it has an argument `q_start` it is given that of the call, the first position of the queries.
    """
    if not callable(function):
        raise GraphError(f"an epilogue is a function of tensors, not {function!r}")
    if gives is not None and not isinstance(gives, Kind):
        raise GraphError(f"what an epilogue gives is an.Tokens('q'), an.Rows('q') and the like, not {gives!r}")
    if not isinstance(function, Hashable):
        raise GraphError(f"an epilogue can be hashed, so that equal graphs are equal; {function!r} cannot")
    return apply(Epilogue(function, gives), *values)


def merge(parts: Iterable[Any]) -> Any:
    """(o, lse) of one softmax over the keys of all parts, each (o [B, H, Sq, Dv], lse [B, H, Sq]) of keys of its own.

    Differentiable in every o and lse. o is computed in float32 at least, and has the dtype of the parts. A part without
    a live key in a row, whose lse is -inf there, weighs nothing; where all are, o is 0 and lse -inf. A sink belongs to
    one of the parts, as each that has it counts it.

    >>> import attnir as an, torch
    >>> q = k = v = torch.randn(1, 2, 50, 16)
    >>> near, far = an.compile(an.window(8, 0)), an.compile(an.mask(lambda q, k: q - k > 8))
    >>> o, lse = an.merge([near(q, k, v, return_lse=True), far(q, k, v, return_lse=True)])
    >>> torch.allclose(o, an.compile(an.causal())(q, k, v), atol=1e-5)
    True

    Raises ShapeError for no parts, for what is no pair, and for parts of different shapes; DtypeError for parts of
    different dtypes, and for what is no tensor.
    """
    given = list(parts)
    return apply(Merge(), *given) if any(isinstance(x, Edge) for x in given) else merged(given)


def combine(branches: Iterable[tuple[Any, Any]]) -> Any:
    """The sum of attentions, each (weight, o [B, H, Sq, Dv]).

    Weights are numbers, or tensors [B, H, Sq] or of what broadcasts to it. Differentiable in every weight and o; summed
    in float32 at least, and then in the dtype of the attentions.

    >>> import attnir as an, torch
    >>> q = k = v = torch.randn(1, 2, 50, 16)
    >>> near, wide = an.compile(an.window(8, 0)), an.compile(an.causal())
    >>> gate = torch.randn(1, 2, 50).sigmoid()
    >>> an.combine([(gate, near(q, k, v)), (1 - gate, wide(q, k, v))]).shape
    torch.Size([1, 2, 50, 16])

    Raises ShapeError for no branches, what is no pair, branches of different shapes and weights that do not fit;
    DtypeError for branches of different dtypes, for what is no tensor, and for a weight that is no number either.
    """
    given = list(branches)
    if not any(isinstance(x, Edge) for pair in given for x in (pair if isinstance(pair, tuple | list) else (pair,))):
        return combined(given)
    for pair in given:
        w, o = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, None)
        if not isinstance(o, Edge) or isinstance(w, bool) or not isinstance(w, Edge | int | float):
            raise GraphError(f"a branch is (weight, attention), its weight a number or what a stage gives; not {pair}")
    weights = tuple(None if isinstance(w, Edge) else float(w) for w, _ in given)
    return apply(Combine(weights), *(x for pair in given for x in pair if isinstance(x, Edge)))
