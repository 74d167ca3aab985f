"""From a tile program and a call to the torch target's schedule: concrete spans of keys for each tile of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from torch import Tensor

from attnir.blocks import BlockList
from attnir.call import Call
from attnir.codegen.lists import block_list
from attnir.codegen.plan import Plan
from attnir.codegen.torch.distance import by_distance
from attnir.codegen.torch.floats import floated
from attnir.codegen.torch.gather import gather
from attnir.codegen.torch.operands import compute_dtype
from attnir.codegen.torch.schedule import Change, Group, Landmarks, Learned, Schedule, Span, Visit
from attnir.codegen.torch.target import default_tile
from attnir.codegen.torch.units import LOG2E, Scaled, cheap, scaled
from attnir.dense import of_rows
from attnir.evaluate import entry_of_pairs, of_pairs
from attnir.expr import Expr
from attnir.heads import Heads
from attnir.labels import TOKEN, in_order
from attnir.program import Programs, Status, TileProgram
from attnir.real import ONE, SCORE, derivative, is_unbounded, slope, tensors_read
from attnir.separate import bias_of
from attnir.traverse import reads
from attnir.walk import runs

TileRuns = list[tuple[int, int, bool]]  # (first column tile, one past the last, full), in ascending order


def schedule(
    plan: Plan,
    call: Call,
    q: Tensor,
    v: Tensor,
    reals: Sequence[str] = (),
    maps: Heads | None = None,
    *,
    natural: bool = False,
) -> Schedule:
    """The spans that each tile of queries visits, for every sample and head; equal ones share a group.

    reals: the real tensors whose gradients are asked for. maps: those of heads, where k and v need some. natural:
    whether scores are wanted in natural units.
    """
    pattern, weights = plan.pattern, plan.pattern.weights
    tile = default_tile(pattern)
    groups: list[Group] = []
    for programs in plan.launches(tile):
        if len(programs) == 1 and programs[0].of_runs:
            placed = in_order(call, programs[0].label)
            for shape, at, tiles in _tile_runs(programs[0], placed):
                batches, heads = _members(call, shape, at)
                visits = tuple(_visits(tiles, tile, call))
                groups += [
                    Group(samples, heads, visits, *orders)
                    for samples, *orders in _orders(placed, batches, programs[0].label)
                ]
        else:
            groups += _gathered(programs, call)
    bias = bias_of(pattern.score) if weights.is_softmax else None
    changed = None
    if weights.is_softmax and bias is None and pattern.score is not SCORE:
        turned = slope(pattern.score)
        whole = bool(tensors_read(pattern.score))  # whose derivatives take s as it is
        plain = Scaled(1.0, cheap(pattern.score), cheap(turned))
        changed = plain if natural else scaled(pattern.score, turned, whole=whole)
    return Schedule(
        tuple(groups),
        lambda samples, heads, rows, cols: of_pairs(plan.predicate, call, samples, heads, rows, cols),
        by_distance=by_distance(plan.predicate),
        by_member=bool(reads(plan.predicate) & {"b", "h"}) or call.fields_differ,
        score=None if changed is None else _change(changed.score, SCORE, call),
        factor_of_s=changed.factor if changed is not None else LOG2E if weights.is_softmax else 1.0,
        bias=None if bias is None else _change(cheap(bias), SCORE, call),
        bias_by_distance=bias is not None and by_distance(bias),
        slope=_change(slope(pattern.weighed) if changed is None else changed.slope, ONE, call),
        unbounded=is_unbounded(pattern.weighed),
        learned=tuple(_learned(pattern.weighed, call, reals)),
        weight=None if weights.is_softmax else _change(pattern.weighed, None, call),
        divided=weights.divided,
        factor=_change(weights.factor, ONE, call),
        unbounded_factor=is_unbounded(weights.factor),
        learned_factor=tuple(_learned(weights.factor, call, reals)),
        sink=None if weights.sink is None else of_rows(weights.sink, call, compute_dtype(q.dtype)),
        maps=maps,
        landmarks=None if weights.landmarks is None else Landmarks(weights.landmarks, call.q_start),
    )


def _learned(e: Expr, call: Call, names: Sequence[str]) -> Iterator[Learned]:
    for name, n in tensors_read(e):
        if name in names:
            yield Learned(name, _change(derivative(e, n), ONE, call), partial(entry_of_pairs, n, call))


def _change(e: Expr, neutral: Expr | None, call: Call) -> Change | None:
    """An expression as a function of pairs and their scores; None where it changes nothing."""
    if e is neutral:
        return None
    e = floated(e, call)
    return lambda samples, heads, rows, cols, s: of_pairs(e, call, samples, heads, rows, cols, s).to(s.dtype)


def _orders(placed: Call, batches: slice, label: Expr | None) -> Iterator[tuple[slice, Tensor | None, Tensor | None]]:
    """(samples, indices of the queries, indices of the keys) in the order of a label; None: in their own order."""
    if label is None:
        yield batches, None, None
        return
    tokens = placed.fields[TOKEN.name]
    queries, keys = tokens.queries.long() - placed.q_start, tokens.keys.long()
    if len(queries) == len(keys) == 1:
        yield batches, queries[0], keys[0]
        return
    for b in range(batches.start, batches.stop):
        yield slice(b, b + 1), queries[b % len(queries)], keys[b % len(keys)]


def _gathered(programs: Programs, call: Call) -> Iterator[Group]:
    """The groups of a launch whose tokens are gathered."""
    found = gather(programs, call)
    for b in range(found.shape[0]):
        for h in range(found.shape[1]):
            batches, heads = _members(call, found.shape, (b, h))
            yield Group(batches, heads, *found.visits(b, h))


def _members(call: Call, shape: tuple[int, int], at: tuple[int, int]) -> tuple[slice, slice]:
    """The samples and heads that share the tiles computed at index `at` of [B or 1, H or 1]."""
    totals = (call.batch, call.heads)
    batches, heads = (slice(0, n) if s == 1 else slice(i, i + 1) for n, s, i in zip(totals, shape, at, strict=True))
    return batches, heads


def _visits(tiles: Iterable[TileRuns], tile: tuple[int, int], call: Call) -> Iterator[Visit]:
    for index, found in enumerate(tiles):
        spans = tuple(Span(a * tile[1], min(b * tile[1], call.k_len), full) for a, b, full in _joined(found))
        yield Visit(index * tile[0], min((index + 1) * tile[0], call.q_len), spans)


def _joined(found: TileRuns) -> TileRuns:
    """Adjacent runs of one status as one."""
    joined: TileRuns = []
    for start, stop, full in sorted(found):
        if stop <= start:
            continue
        if joined and joined[-1][1:] == (start, full):
            joined[-1] = (joined[-1][0], stop, full)
        else:
            joined.append((start, stop, full))
    return joined


def _tile_runs(program: TileProgram, call: Call) -> Iterator[tuple[tuple[int, int], tuple[int, int], list[TileRuns]]]:
    """([B or 1, H or 1], index in it, runs of every row tile)."""
    if program.listed:
        yield from _listed_runs(block_list(program, call))
        return
    found = [(r.start[0].tolist(), r.stop[0].tolist(), r.status is Status.FULL) for r in runs(program, call)]
    if not found:
        yield (1, 1), (0, 0), [[] for _ in range(0, call.q_len, program.tile[0])]
        return
    sizes = [(len(start), len(start[0])) for start, _, _ in found]
    shape = (max(b for b, _ in sizes), max(h for _, h in sizes))
    for b in range(shape[0]):
        for h in range(shape[1]):
            columns = [
                zip(_pick(start, b, h), _pick(stop, b, h), [full] * len(start[0][0]), strict=True)
                for start, stop, full in found
            ]
            yield shape, (b, h), [list(tile) for tile in zip(*columns, strict=True)]


def _pick(table: list[list[list[int]]], b: int, h: int) -> list[int]:
    """The row of a [B or 1, H or 1, tiles] table."""
    per_head = table[b if len(table) > 1 else 0]
    return per_head[h if len(per_head) > 1 else 0]


def _listed_runs(blocks: BlockList) -> Iterator[tuple[tuple[int, int], tuple[int, int], list[TileRuns]]]:
    batch, heads, rows = blocks.shape
    tiles: dict[int, TileRuns] = defaultdict(list)
    for (offsets, indices), full in ((blocks.full, True), (blocks.partial, False)):
        bounds, columns = offsets.tolist(), indices.tolist()
        for row in range(len(bounds) - 1):
            tiles[row] += [(c, c + 1, full) for c in columns[bounds[row] : bounds[row + 1]]]
    for b in range(batch):
        for h in range(heads):
            first = (b * heads + h) * rows
            yield (batch, heads), (b, h), [tiles[first + r] for r in range(rows)]
