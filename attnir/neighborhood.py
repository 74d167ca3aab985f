"""Neighbourhood attention on grids: every query sees a window of keys around it, one window along each axis.

Definition and names: "Neighborhood Attention Transformer", "Dilated Neighborhood Attention Transformer", "Faster
Neighborhood Attention" and "Generalized Neighborhood Attention" (SHI-Labs/NATTEN).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce

from attnir import expr as ex
from attnir.bounds import bounds, decide
from attnir.errors import DeclarationError
from attnir.expr import Expr, maximum, minimum
from attnir.masks import Mask
from attnir.ops import Op
from attnir.space import Region, Space
from attnir.value import Value, fail, integer_argument

PerAxis = int | Value | tuple[int | Value, ...]


def neighborhood(
    grid: Space,
    kernel: PerAxis,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    causal: Collection[str] | bool = (),
) -> Mask:
    """Every query sees a window of `kernel` keys along each axis of the grid.

    grid      an.grid(...), or an.concat(...) with one grid in it, whose tokens see each other by this rule
    kernel    the window's keys along each axis; at the edges the window shifts inward, so it keeps its size
    stride    how many neighbouring queries share the window of the one in their middle (GNA); at most the kernel
    dilation  every dilation-th token belongs to one group; a query sees keys of its own group alone
    causal    names of axes along which a query sees no key after it (True: all); such a window ends at the query and
              is cut off at the edge

    Each number is for all axes, or a tuple of one each in the order of the grid. kernel * dilation is at most the axis.
    Where that depends on parameters, a call is held to it.

    >>> import attnir as an
    >>> line = an.grid(x=7)
    >>> print(an.compile(an.neighborhood(line, 3)).pattern)
    q, k = grid(x=7); (min(max(q - 1, 0), 4) <= k) & (k < min(max(q - 1, 0), 4) + 3)

    Raises DeclarationError for windows that do not fit, and a call ParamError. Source: SHI-Labs/NATTEN.
    """
    region = _grid_of(grid)
    axes = [a.name for a in region.axes]
    ordered = _causal_axes(causal, axes)
    given = {"kernel": kernel, "stride": stride, "dilation": dilation}
    sizes = [_per_axis(name, value, axes) for name, value in given.items()]
    q, k = grid.coordinates(ex.Q), grid.coordinates(ex.K)
    inside = grid.contains(ex.Q, region) & grid.contains(ex.K, region)
    fits: list[Expr] = []
    for axis, w, s, d in zip(region.axes, *sizes, strict=True):
        fits += _fits(axis.name, axis.size, w, s, d)
        inside = inside & _window(q[axis.name], k[axis.name], axis.size, w, s, d, axis.name in ordered)
    return Mask(inside, (grid, grid), conditions=tuple(dict.fromkeys(fits)))


def _grid_of(space: object) -> Region:
    if not isinstance(space, Space):
        fail(DeclarationError, f"a neighbourhood lies on an.grid(...) or an.concat(...), not on {space!r}")
    grids = [r for r in space.regions if not r.plain]
    if len(grids) != 1:
        fail(DeclarationError, f"a neighbourhood lies on one grid; {space} has {len(grids)}")
    return grids[0]


def _causal_axes(given: object, axes: list[str]) -> set[str]:
    if isinstance(given, bool):
        return set(axes) if given else set()
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Collection) else None
    if names is None or any(n not in axes for n in names):
        unknown = [n for n in names or [] if n not in axes]
        shown = unknown[0] if unknown and isinstance(unknown[0], str) else given
        wanted = f'names of the axes {", ".join(axes)}, causal=("{axes[0]}",)'
        fail(DeclarationError, f"causal is True, False, or {wanted}; not {shown!r}")
    return set(names)


def _per_axis(name: str, given: object, axes: list[str]) -> list[Expr]:
    values = given if isinstance(given, tuple | list) else (given,) * len(axes)
    if len(values) != len(axes):
        fail(DeclarationError, f"{name} has {len(values)} values for the {len(axes)} axes {', '.join(axes)}")
    found = [integer_argument(v) for v in values]
    for e in found:
        if e.op not in (Op.CONST, Op.PARAM) or bounds(e).low < 1:
            fail(DeclarationError, f"{name} is an integer from 1, or a parameter from 1, not {e}")
    return found


def _fits(axis: str, size: Expr, w: Expr, s: Expr, d: Expr) -> list[Expr]:
    """What a call is held to, so that the window fits. One that is known not to fit is refused."""
    span = ex.mul(w, d)
    found = {
        s <= w: f"along {axis} the stride {s} is larger than the kernel {w}; some keys would be lost",
        span <= size: f"along {axis} a kernel of {w} at dilation {d} spans {span} tokens, but there are {size}",
    }
    verdicts = {condition: decide(condition) for condition in found}
    for condition, verdict in verdicts.items():
        if verdict is False:
            fail(DeclarationError, found[condition])
    return [condition for condition, verdict in verdicts.items() if verdict is None]


def _window(q: Expr, k: Expr, length: Expr, w: Expr, s: Expr, d: Expr, causal: bool) -> Expr:
    """Whether key k lies in the window of query q along an axis: a clamped run of slots, of one residue class."""
    u, t, group = q // d, k // d, ex.eq(q % d, k % d)
    slots = (length - q % d + d - 1) // d  # of the query's class
    leader = minimum(u // s * s + (s - 1 if causal else s // 2), slots - 1) if not ex.is_int(s, 1) else u
    if causal:
        return reduce(ex.and_, (group, maximum(leader - w + 1, 0) <= t, t <= u))
    first = minimum(maximum(leader - w // 2, 0), slots - w)
    return reduce(ex.and_, (group, first <= t, t < first + w))
