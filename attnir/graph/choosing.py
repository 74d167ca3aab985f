"""What is chosen from content: lists of a route, of the nearest centroids, of bits; and hash buckets. No gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnir.errors import DtypeError, GraphError, RouteError, ShapeError
from attnir.graph.edges import CALL, HEAD, Facts, Given, Kind, Lists, Rows, Tokens
from attnir.graph.moving import ALL, spread_heads
from attnir.graph.stage import Setting, Stage, Value, expect, wrong
from attnir.heads import Heads
from attnir.inputs import exact
from attnir.ops import POSITION_LIMIT
from attnir.routing import Route
from attnir.signature import selection
from attnir.unit_scores import Random


@dataclass(frozen=True, slots=True)
class Choose(Stage):
    """The lists of a route. Those that a call gives by its name take their place."""

    route: Route
    heads: Heads | None = None  # which key head each query head has; contiguous groups where nothing is said

    @property
    def text(self) -> str:
        return f"choose({self.route.text})"

    def kind(self, *given: Kind) -> Kind:
        q, k = (expect(self, x, Tokens) for x in given[:2])
        if (q.per, k.per) != (CALL, CALL):
            wrong(self, "tokens with the samples of the call", f"{q} and {k}")
        return Lists(_units(q, self.route.queries), _units(k, self.route.keys))

    def run(self, setting: Setting, *given: Value) -> Value:
        q, k, *named = given
        if setting.typical:
            q, k, named = (*(torch.zeros(*t.shape[:3], 1, device="cpu") for t in (q, k)), [])
        route = replace(self.route, score=Random(0)) if setting.typical else self.route
        scores = dict(zip(route.score.names, named, strict=True))
        return self._shaped(route.lists(q, k, q_start=setting.of_queries, maps=self.heads, **scores))

    def checked(self, lists: object, q: Tensor, k: Tensor) -> Tensor:
        """Lists that a call gives, for these tokens; what is no unit of keys is none. Raises SelectionError."""
        decl, device = self.route.selection, torch.device("cpu") if q.is_meta else q.device
        selection(decl, lists, q.shape[0], q.shape[1], device)
        assert isinstance(lists, Tensor)
        members = -(-k.shape[2] // self.route.keys)
        return self._shaped(torch.where(lists < members, lists.long(), -1))

    def _shaped(self, lists: Tensor) -> Tensor:
        """Lists with one place at least; one list of each head, where all queries have the same."""
        lists = _one_place(lists)
        if self.route.queries != POSITION_LIMIT:
            return lists
        return lists[..., :1, :] if lists.shape[-2] else torch.nn.functional.pad(lists, (0, 0, 0, 1), value=-1)

    def flops(self, given: tuple[Value, ...], found: Value) -> int:
        q, k = given[:2]
        units = [-(-n // size) for n, size in ((q.shape[2], self.route.queries), (k.shape[2], self.route.keys))]
        pairs: int = q.shape[0] * q.shape[1] * units[0] * units[1]
        return 2 * pairs * int(q.shape[3])


@dataclass(frozen=True, slots=True)
class Clusters(Stage):
    """For each centroid, [C, D] or [H, C, D], the tokens with the largest products, in ascending order."""

    name: str
    tokens: int

    def __post_init__(self) -> None:
        if not isinstance(self.tokens, int) or isinstance(self.tokens, bool) or self.tokens < 1:
            raise GraphError(f"a cluster has a number of tokens from 1 on, not {self.tokens!r}")

    @property
    def text(self) -> str:
        return f"clusters({self.tokens} tokens each)"

    def kind(self, *given: Kind) -> Kind:
        x, centroids, _ = given
        x = expect(self, x, Tokens)
        if not isinstance(centroids, Given) or x.per != CALL:
            wrong(self, "tokens of the call and centroids that it gives", f"{x} and {centroids}")
        return Lists(self.name, x.axis)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, centroids, like = given
        if setting.typical:
            x, centroids = (torch.zeros(t.shape, device="cpu") for t in (x, centroids))
        lists = nearest(x, centroids, self.tokens, self.name)
        return spread_heads(lists, max(lists.shape[1], like.shape[1]))

    def flops(self, given: tuple[Value, ...], found: Value) -> int:
        x, centroids, _ = given
        return 2 * int(x.numel() * centroids.shape[-2])


@dataclass(frozen=True, slots=True)
class Pack(Stage):
    """The tokens whose bits are set, in their order, of every head: one list, of at most so many places."""

    most: int | None

    @property
    def text(self) -> str:
        return "pack" if self.most is None else f"pack(most={self.most})"

    def kind(self, *given: Kind) -> Kind:
        bits, like = given
        like = expect(self, like, Tokens)
        if not isinstance(bits, Given) and not (isinstance(bits, Rows) and bits.axis == like.axis):
            wrong(self, f"bits of tokens {like.axis}", bits)
        return Lists(ALL, like.axis)

    def run(self, setting: Setting, *given: Value) -> Value:
        bits, like = given
        if setting.typical:
            bits = torch.arange(like.shape[2], device="cpu").expand(*like.shape[:3]) % 2 == 0
        return packed(bits, like, self.most)


@dataclass(frozen=True, slots=True)
class Buckets(Stage):
    """The hash bucket of every token of every head: the direction, of R [D, n] and -R, that it points to most."""

    @property
    def text(self) -> str:
        return "hash_buckets"

    def kind(self, *given: Kind) -> Kind:
        x, directions, _ = given
        x = expect(self, x, Tokens)
        if not isinstance(directions, Given) or x.per != CALL:
            wrong(self, "tokens of the call and directions that it gives", f"{x} and {directions}")
        return Facts(x.axis, HEAD)

    def run(self, setting: Setting, *given: Value) -> Value:
        x, directions, like = given
        if setting.typical:
            g, shape = torch.Generator().manual_seed(0), (like.shape[0] * like.shape[1], x.shape[2])
            return torch.randint(2 * directions.shape[-1], shape, generator=g, device="cpu")
        return spread_heads(bucket(x, directions), like.shape[1]).flatten(0, 1)

    def flops(self, given: tuple[Value, ...], found: Value) -> int:
        x, directions, _ = given
        return 2 * int(x.numel() * directions.shape[-1])


def nearest(x: Tensor, centroids: Tensor, tokens: int, name: str = "centroids") -> Tensor:
    """For each centroid the tokens of x [B, H, S, D] with the largest products, int32 [B, H, C, tokens], ascending.

    Centroids may be those of more heads than x has, of each group's. Of equal products the lower token wins. Where
    there are fewer tokens all are taken, and -1 fills the places.
    """
    fits = isinstance(centroids, Tensor) and centroids.dim() in (2, 3) and centroids.shape[-1] == x.shape[3]
    if not fits or (centroids.dim() == 3 and centroids.shape[0] != 1 and centroids.shape[0] % x.shape[1]):
        shown = list(centroids.shape) if isinstance(centroids, Tensor) else type(centroids).__name__
        raise RouteError(f"`{name}` are centroids [C, {x.shape[3]}] or [{x.shape[1]}, C, {x.shape[3]}], not {shown}")
    with torch.no_grad(), exact(x.device):
        x = spread_heads(x, max(x.shape[1], centroids.shape[0] if centroids.dim() == 3 else 1))
        scores = centroids.float() @ x.float().transpose(-1, -2)
        order = scores.sort(stable=True, dim=-1, descending=True).indices[..., :tokens].sort(-1).values
        return torch.nn.functional.pad(order, (0, tokens - order.shape[-1]), value=-1).int()


def csr(offsets: Tensor, indices: Tensor, *values: Tensor, most: int | None = None) -> Tensor | tuple[Tensor, ...]:
    """Lists of a graph in compressed form: the neighbours of node n are indices[offsets[n] : offsets[n + 1]].

    offsets [nodes + 1] and indices [edges] are integers, values [edges] what edges have, such as a bias. Gives lists
    int32 [nodes, places], -1 where there is none, and the values beside them, 0 there; differentiable in the values.
    There are `most` places, and what is beyond is left out; where it is not said as many as a node has at most, which
    waits for the device.

    >>> import torch
    >>> lists, bias = csr(torch.tensor([0, 2, 2, 3]), torch.tensor([1, 2, 0]), torch.tensor([0.5, 0.25, 1.0]))
    >>> lists.tolist(), bias.tolist()
    ([[1, 2], [-1, -1], [0, -1]], [[0.5, 0.25], [0.0, 0.0], [1.0, 0.0]])
    """
    for t in (offsets, indices, *values):
        if not isinstance(t, Tensor):
            raise DtypeError(f"offsets, indices and values of a graph are tensors, not {type(t).__name__}")
    if (
        offsets.dim() != 1
        or indices.dim() != 1
        or offsets.shape[0] < 1
        or any(v.shape != indices.shape for v in values)
    ):
        shown = ", ".join(str(list(t.shape)) for t in (offsets, indices, *values))
        raise ShapeError(f"a graph has offsets [nodes + 1], indices [edges] and values [edges], not {shown}")
    if offsets.is_floating_point() or indices.is_floating_point() or torch.bool in (offsets.dtype, indices.dtype):
        raise DtypeError(f"offsets and indices are integers, not {offsets.dtype} and {indices.dtype}")
    if offsets.device.type == "cpu" and not torch.compiler.is_compiling():  # elsewhere it would wait for the device
        ends = [int(offsets[0]), int(offsets[-1])]
        if ends != [0, len(indices)] or bool((offsets[1:] < offsets[:-1]).any()):
            raise ShapeError(f"offsets never fall, from 0 to the number of edges, {len(indices)}; not from {ends}")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise ShapeError(f"lists have a number of places from 1 on, not {most!r}")
    count = offsets[1:] - offsets[:-1]
    width = int(count.max()) if most is None and len(count) else most or 0
    at = offsets[:-1, None] + torch.arange(max(1, width), device=offsets.device)
    there = at < offsets[1:, None]
    at = torch.where(
        there & (at >= 0) & (at < len(indices)), at, len(indices)
    )  # behind the last edge, where one is added that is none
    lists = torch.nn.functional.pad(indices, (0, 1), value=-1)[at].int()
    beside = [torch.nn.functional.pad(v, (0, 1))[at] for v in values]
    return (lists, *beside) if beside else lists


def packed(bits: Tensor, like: Tensor, most: int | None = None) -> Tensor:
    """The places of bits [B, H, S], or [B, S], that are set, ascending and then -1: int32 [B, H, 1, places].

    Bits may be those of more heads than `like` has.
    """
    shape = like.shape[:3]
    wide = bits[:, None] if isinstance(bits, Tensor) and bits.dim() == 2 else bits
    if not isinstance(wide, Tensor) or wide.dim() != 3 or wide.shape[2] != shape[2] or wide.shape[0] != shape[0]:
        shown = list(bits.shape) if isinstance(bits, Tensor) else type(bits).__name__
        raise ShapeError(f"bits are [{shape[0]}, {shape[1]}, {shape[2]}], or [{shape[0]}, {shape[2]}], not {shown}")
    bits = spread_heads(wide, max(wide.shape[1], shape[1])) > 0
    order = (~bits).sort(stable=True, dim=-1).indices
    places = torch.where(bits.gather(-1, order), order, -1)[:, :, None]
    return _one_place(places[..., : shape[2] if most is None else most].int())


def bucket(x: Tensor, directions: Tensor) -> Tensor:
    """argmax of [x R, -x R] for x [B, H, S, D] and R [D, n]: int64 [B, H, S]. Of equal ones the first.

    Directions of more heads, or of fewer, are those of groups: the result is of the larger number.
    """
    fits = isinstance(directions, Tensor) and directions.dim() in (2, 3) and directions.shape[-2] == x.shape[3]
    of, heads = directions.shape[0] if fits and directions.dim() == 3 else 1, x.shape[1]
    if not fits or not directions.numel() or (max(of, heads) % min(of, heads)):
        shown = list(directions.shape) if isinstance(directions, Tensor) else type(directions).__name__
        raise RouteError(f"directions are [{x.shape[3]}, n] or [{x.shape[1]}, {x.shape[3]}, n], not {shown}")
    with torch.no_grad(), exact(x.device):
        x, directions = spread_heads(x, max(of, heads)), directions.float()
        if of > 1:
            directions = spread_heads(directions[None], max(of, heads))
        along = x.float() @ directions
        return torch.cat([along, -along], -1).max(-1).indices


def _one_place(lists: Tensor) -> Tensor:
    """Lists with one place at least."""
    return lists if lists.shape[-1] else torch.nn.functional.pad(lists, (0, 1), value=-1)


def _units(x: Tokens, size: int) -> str:
    if size == 1:
        return x.axis
    return ALL if size == POSITION_LIMIT else f"{x.axis} // {size}"
