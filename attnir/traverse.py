"""Going through expressions: their nodes, what they read, and copies in which parts are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from attnir.expr import Expr, build, node
from attnir.ops import TABLES, FieldDecl, Op, ParamDecl, Searched, SelectionDecl, TensorDecl

DECLARED = (FieldDecl, TensorDecl, SelectionDecl, ParamDecl, Searched)


def nodes(*roots: Expr, definitions: bool = True) -> Iterator[Expr]:
    """Every distinct node below the roots, arguments before the nodes that use them.

    definitions: also those that only define a row table, and are not evaluated where it is read.
    """
    seen: set[Expr] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        e, ready = stack.pop()
        if e in seen:
            continue
        if ready:
            seen.add(e)
            yield e
        else:
            stack.append((e, True))
            below = e.args if definitions or e.op not in TABLES else e.args[1:]
            stack.extend((a, False) for a in reversed(below))


def rebuild(e: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """Replace nodes bottom-up: `change` gets each node with its arguments already rebuilt; None keeps it."""
    done: dict[Expr, Expr] = {}
    for n in nodes(e):
        args = tuple(done[a] for a in n.args)
        new = n if args == n.args else build(n.op, args, n.value)
        changed = change(new)
        done[n] = new if changed is None else changed
    return done[e]


def substitute(e: Expr, mapping: dict[Expr, Expr]) -> Expr:
    """Replace leaves (or whole subexpressions) of `e`, all at once."""
    done: dict[Expr, Expr] = {}
    for n in nodes(e):
        args = tuple(done[a] for a in n.args)
        done[n] = mapping[n] if n in mapping else (n if args == n.args else build(n.op, args, n.value))
    return done[e]


def at_position(e: Expr, token: Expr, position: Expr) -> Expr:
    """The value of `e`, an expression of `token`, for the token at `position`; row tables are read there."""
    done: dict[Expr, Expr] = {token: position}
    for n in nodes(e):
        if n.op in TABLES:
            done[n] = node(n.op, (n.args[0], done[n.args[1]]), n.value)
        elif n is not token:
            args = tuple(done[a] for a in n.args)
            done[n] = n if args == n.args else build(n.op, args, n.value)
    return done[e]


def contains(e: Expr, leaf: Expr) -> bool:
    return any(n is leaf for n in nodes(e))


@lru_cache(maxsize=4096)
def _declared(roots: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The nodes below the roots that stand for something declared: what is asked of them is asked again and again."""
    return tuple(n for n in nodes(*roots) if isinstance(n.value, DECLARED))


def fields_of(*roots: Expr) -> tuple[FieldDecl, ...]:
    """The fields read below the roots, by name."""
    values = {n.value for n in _declared(roots)}
    found = {v.field if isinstance(v, Searched) else v for v in values if isinstance(v, FieldDecl | Searched)}
    return tuple(sorted(found, key=lambda d: d.name))


def tensors_of(*roots: Expr) -> tuple[TensorDecl, ...]:
    """The tensors of integers over samples and heads read below the roots, by name."""
    return _tensors(Op.ENTRY, roots)


def selections_of(*roots: Expr) -> tuple[SelectionDecl, ...]:
    """The selections read below the roots, by name."""
    found = {n.value for n in _declared(roots) if isinstance(n.value, SelectionDecl)}
    return tuple(sorted(found, key=lambda d: d.name))


def reals_of(*roots: Expr) -> tuple[TensorDecl, ...]:
    """The real tensors read below the roots, by name."""
    return _tensors(Op.READ, roots)


def _tensors(op: Op, roots: tuple[Expr, ...]) -> tuple[TensorDecl, ...]:
    found = {n.value for n in _declared(roots) if n.op is op and isinstance(n.value, TensorDecl)}
    return tuple(sorted(found, key=lambda d: d.name))


def params_of(*roots: Expr) -> tuple[ParamDecl, ...]:
    """The integer parameters read below the roots, by name."""
    return _params(Op.PARAM, roots)


def numbers_of(*roots: Expr) -> tuple[ParamDecl, ...]:
    """The real parameters read below the roots, by name."""
    return _params(Op.NUMBER, roots)


def _params(op: Op, roots: tuple[Expr, ...]) -> tuple[ParamDecl, ...]:
    found = {n.value for n in _declared(roots) if n.op is op and isinstance(n.value, ParamDecl)}
    return tuple(sorted(found, key=lambda d: d.name))


def declared_in(*roots: Expr) -> list[FieldDecl | TensorDecl | SelectionDecl | ParamDecl]:
    """The fields, tensors, selections and parameters below the roots."""
    tensors, params = (*tensors_of(*roots), *reals_of(*roots)), (*params_of(*roots), *numbers_of(*roots))
    return [*fields_of(*roots), *tensors, *selections_of(*roots), *params]


def names_of(*roots: Expr) -> set[str]:
    """Their names."""
    return {d.name for d in declared_in(*roots)}


def reads(e: Expr) -> frozenset[str]:
    """The names of the symbols that `e` depends on.

    >>> from attnir.expr import sym
    >>> sorted(reads(sym("q") - sym("k") < 3))
    ['k', 'q']
    """
    return frozenset(str(n.value) for n in nodes(e) if n.op is Op.SYM)


def unit_size(index: Expr, token: Expr) -> int | None:
    """How many consecutive tokens have one index: n of `token // n`, 1 of the token; None of anything else."""
    if index is token:
        return 1
    whole = index.op is Op.FLOORDIV and index.args[0] is token and index.args[1].op is Op.CONST
    return index.args[1].const if whole else None
