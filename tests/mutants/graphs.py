"""Mutants of routes and graphs: what is chosen, how queries are turned round, how tokens are moved and put together."""

from tests.mutants.mutant import Mutant


def _graph(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "graph", f"attnir.{module}", old, new, test)


MUTANTS = (
    _graph(
        "lists begin with that of the first query",
        "graph.by_place",
        "value=-1)[:, :, start : start + q.shape[2]]",
        "value=-1)[:, :, : q.shape[2]]",
    ),
    _graph(
        "queries by place stand at 0",
        "graph.by_unit",
        "ex.add(ex.floordiv(ex.Q, ex.param(times)), ex.param(start))",
        "ex.add(ex.floordiv(ex.Q, ex.param(times)), ex.mul(0, ex.param(start)))",
    ),
    _graph(
        "heads of a group stand before their queries",
        "graph.by_place",
        "of_heads = q.unflatten(1, (_heads(k, v), -1)).transpose(2, 3)",
        "of_heads = q.reshape(len(q), _heads(k, v), q.shape[2], -1, q.shape[3])",
    ),
    _graph(
        "what else a pattern says is forgotten by units",
        "graph.by_unit",
        "substitute(pattern.predicate, {listed: ex.FALSE}) is not ex.FALSE",
        "False",
    ),
    _graph(
        "a sink belongs to every place",
        "graph.by_unit",
        "not weights.is_softmax or weights.sink is not None or",
        "not weights.is_softmax or",
    ),
    _graph(
        "a part weighs by its size, not its exp",
        "branches",
        "weight = torch.where(alive, lse - total, -torch.inf).exp()",
        "weight = torch.where(alive, lse - total, -torch.inf).exp().sqrt()",
    ),
    _graph(
        "a member that is gathered twice counts twice",
        "selections",
        "again[..., 1:] = ordered[..., 1:] == ordered[..., :-1]",
        "again[..., 1:] = False",
    ),
    _graph(
        "eps of a mean is left out",
        "graph.moving",
        "torch.where(count > 0, count + eps, 1.0)",
        "torch.where(count > 0, count, 1.0)",
        "tests/attnir/catalog/test_graphs.py::test_routing_transformer",
    ),
    _graph(
        "the last block is as long as the others",
        "graph.summaries",
        "(length - first).clamp(max=block)",
        "(length - first).clamp(max=block, min=block)",
        "tests/test_graph.py::test_summaries_of_every_block",
    ),
    _graph(
        "units compete in their rows alone",
        "routing",
        '{"row": 0, "block": 0, "head": 1, "overall": 2}[self.scope]',
        '{"row": 0, "block": 0, "head": 0, "overall": 0}[self.scope]',
        "tests/attnir/catalog/test_graphs.py::test_mra",
    ),
    _graph(
        "keys and values of a graph in a graph change places",
        "graph.nesting",
        "dict(zip(inputs, tokens, strict=False))",
        "dict(zip(inputs, (tokens[0], *tokens[:0:-1]), strict=False))",
    ),
    _graph(
        "a later unit may be chosen",
        "routing",
        "unseen = (member + 1) * units.keys - 1 > low[:, None]",
        "unseen = member * units.keys > low[:, None]",
    ),
)
