"""Lists of single queries, turned round: for each unit of keys, the queries that chose it. A pass over graphs.

Where every query has a list of its own, a tile of queries has to visit the union of their lists, which is nearly
everything. So the queries of a key head stand once for each place of their lists, and what they chose there is their
label; keys have the number of their unit. Queries see the keys of their label, which is a program over tokens in the
order of their labels (`labels.py`): a tile has queries that chose the same units. The parts of one query, one for each
place, share one softmax: they are merged by their lse. What costs is that queries are read once for each place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from attnir import expr as ex
from attnir.expr import Expr
from attnir.graph.attending import Attend
from attnir.graph.by_place import ByHead, Chosen, Merged, Spread, Start, Times, UnitOf
from attnir.graph.choosing import Choose
from attnir.graph.epilogue import Epilogue
from attnir.graph.graph import Graph, Node
from attnir.graph.stage import Stage
from attnir.ops import POSITION_LIMIT, FieldDecl, Op, ParamDecl, SelectionDecl
from attnir.scores import Pattern
from attnir.traverse import nodes, reads, selections_of, substitute, tensors_of, unit_size

SHORTEST = 16  # keys of a unit, below which its tile would be mostly empty
MOST = 32  # places, beyond which queries would be read too often


def by_unit(graph: Graph) -> Graph:
    """The same graph, in which attention by lists of single queries is attention by units of keys."""
    found: list[Node] = []
    number: dict[int, int] = {}
    place: dict[tuple[Stage, tuple[int, ...], int], int] = {}

    def add(stage: Stage, *args: int) -> int:
        key = (stage, args, len(found) if isinstance(stage, Epilogue) else 0)  # of which each may be another
        if key not in place:
            place[key] = len(found)
            found.append(Node.of(stage, args, found))
        return place[key]

    for i, node in enumerate(graph.nodes):
        args = tuple(number[a] for a in node.args)
        listed = _listed(graph, node)
        number[i] = add(node.stage, *args) if listed is None else _turned(listed, args, add)
    return Graph(tuple(found), tuple(number[i] for i in graph.outputs), graph.alone)


@dataclass(frozen=True, slots=True)
class _Listed:
    """An attention by lists of single queries: the lists' name, `rank > 0` of them, and how many keys a unit has."""

    stage: Attend
    name: str
    listed: Expr
    keys: int


def _listed(graph: Graph, node: Node) -> _Listed | None:
    """What is to be turned round; None where nothing is, or the turned form would not be the same."""
    stage = node.stage
    if not isinstance(stage, Attend) or stage.heads is not None:
        return None
    weights = stage.pattern.weights
    if not weights.is_softmax or weights.sink is not None or weights.landmarks is not None:
        return None
    for e in nodes(stage.pattern.predicate):
        if e.op is not Op.GT or e.args[0].op is not Op.RANK or e.args[1] is not ex.const(0):
            continue
        (at, unit, *_), chosen = e.args[0].args, e.args[0].value
        size = unit_size(unit, ex.K) or 0
        if isinstance(chosen, SelectionDecl) and at is ex.Q and size >= SHORTEST:
            (lists,) = dict(stage.bound(node.args))[chosen.name]
            if _few(graph.nodes[lists].stage) and _alone(stage.pattern, e):
                return _Listed(stage, chosen.name, e, size)
    return None


def _few(lists: Stage) -> bool:
    """Whether lists have few places, whatever the call."""
    return isinstance(lists, Choose) and lists.route.width is not None and lists.route.width <= MOST


def _alone(pattern: Pattern, listed: Expr) -> bool:
    """Whether only listed pairs are live, and all else is of positions, parameters and the score alone."""
    if any(pattern.spaces) or substitute(pattern.predicate, {listed: ex.FALSE}) is not ex.FALSE:
        return False
    for root in pattern.roots:
        e = substitute(root, {listed: ex.TRUE})
        if selections_of(e) or tensors_of(e) or not reads(e) <= {"q", "k"}:
            return False
        if any(n.op in (Op.FIELD, Op.READ) for n in nodes(e)):
            return False
    return True


def _turned(listed: _Listed, args: tuple[int, ...], add: Callable[..., int]) -> int:
    """The stages in the place of an attention."""
    stage, pattern, (q, k, v) = listed.stage, listed.stage.pattern, args[:3]
    bound = dict(stage.bound(args))
    (lists,) = bound.pop(listed.name)
    unit, times = FieldDecl(f"unit_of_{listed.name}"), ParamDecl(f"places_of_{listed.name}", low=1, high=POSITION_LIMIT)
    start = ParamDecl(f"start_of_{listed.name}", low=0, high=POSITION_LIMIT)
    position = ex.add(ex.floordiv(ex.Q, ex.param(times)), ex.param(start))
    same = ex.compare(Op.EQ, ex.field(unit, ex.Q), ex.field(unit, ex.K))
    change = {listed.listed: same, ex.Q: position}
    mask = replace(pattern.mask, predicate=substitute(pattern.predicate, change))
    weights = replace(pattern.weights, factor=substitute(pattern.weights.factor, change))
    turned = replace(pattern, mask=mask, score=substitute(pattern.score, change), weights=weights)
    bound[unit.name] = add(Chosen(), q, k, v, lists), add(UnitOf(listed.keys), k)
    if times.name in turned.signature.names:
        bound |= {times.name: (add(Times(), q, k, v, lists),), start.name: (add(Start(), q, k),)}
    names = tuple((name, len(bound[name])) for name in turned.signature.names)
    given = (i for name, _ in names for i in bound[name])
    queries, keys, values = add(Spread(), q, k, v, lists), add(ByHead(), k, k, v), add(ByHead(), v, k, v)
    return add(Merged(), add(Attend(turned, names, stage.scale, None), queries, keys, values, *given), q, k, v, lists)
