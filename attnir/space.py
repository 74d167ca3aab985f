"""Spaces: how the tokens of one side are arranged, as named regions of one sequence, each a grid with named axes.

A coordinate is arithmetic on the position: on a grid of H x W tokens that begins at position p, `q.y` is
`(q - p) // W` and `q.x` is `(q - p) % W`. A space gives such expressions their names, where a lambda reads them and
where a pattern is printed; to everything after it a coordinate is an expression like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import NoReturn

from attnir import expr as ex
from attnir.bounds import bounds
from attnir.errors import DeclarationError, UnknownNameError
from attnir.expr import TRUE, ZERO, Expr
from attnir.limits import axis_problem
from attnir.ops import POSITION_LIMIT, Op
from attnir.value import Value, fail, integer_argument

MOST_AXES = 4


@dataclass(frozen=True, slots=True)
class Axis:
    """A named axis of a grid. `size` is a constant, or a parameter."""

    name: str
    size: Expr


@dataclass(frozen=True, slots=True)
class Region:
    """A run of tokens on a grid, row-major, the last axis fastest. A plain run has one axis, of the region's name."""

    name: str  # empty: the region is all there is, a grid on its own
    axes: tuple[Axis, ...]

    @property
    def length(self) -> Expr:
        return reduce(ex.mul, (a.size for a in self.axes))

    @property
    def plain(self) -> bool:
        return len(self.axes) == 1 and self.axes[0].name == self.name

    def stride(self, index: int) -> Expr:
        """How many tokens lie between neighbours along an axis."""
        return reduce(ex.mul, (a.size for a in self.axes[index + 1 :]), ex.const(1))

    def __str__(self) -> str:
        if self.plain:
            return f"{self.name}={self.axes[0].size}"
        grid = f"grid({', '.join(f'{a.name}={a.size}' for a in self.axes)})"
        return f"{self.name}={grid}" if self.name else grid


@dataclass(frozen=True, slots=True)
class Space:
    """What `an.grid` and `an.concat` give: the regions of a sequence, in order, from position 0.

    >>> print(concat(text=256, image=grid(y=64, x=64)))
    concat(text=256, image=grid(y=64, x=64))
    """

    regions: tuple[Region, ...]
    length: Expr = field(init=False, repr=False, compare=False)  # how many tokens there are; held, as calls read it

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", reduce(ex.add, (r.length for r in self.regions)))

    def start(self, region: Region) -> Expr:
        """The position of a region's first token."""
        return reduce(ex.add, (r.length for r in self.regions[: self.regions.index(region)]), ZERO)

    def region(self, name: object) -> Region | None:
        return next((r for r in self.regions if r.name == name), None)

    def contains(self, token: Expr, region: Region) -> Expr:
        """Whether a token lies in a region."""
        start = self.start(region)
        after = TRUE if region is self.regions[0] else start <= token
        return after if region is self.regions[-1] else after & (token < ex.add(start, region.length))

    def coordinates(self, token: Expr) -> dict[str, Expr]:
        """Every coordinate of a token, by name; one that belongs to another region than the token's has no meaning."""
        found = {}
        for region in self.regions:
            inside = ex.sub(token, self.start(region))
            for i, axis in enumerate(region.axes):
                value = ex.floordiv(inside, region.stride(i))
                found[axis.name] = value if i == 0 else ex.mod(value, axis.size)
        return found

    def __repr__(self) -> str:
        return f"<Space {self}>"

    def __str__(self) -> str:
        regions = ", ".join(map(str, self.regions))
        return regions if len(self.regions) == 1 and not self.regions[0].name else f"concat({regions})"


Spaces = tuple[Space | None, Space | None]  # of the queries, of the keys; None: positions alone
NO_SPACES: Spaces = (None, None)


class Token(Value):
    """A token inside a lambda: its position, its coordinates `q.y`, and in which region it lies, `q.in_("text")`."""

    __slots__ = ("space",)

    def __init__(self, expr: Expr, space: Space | None) -> None:
        super().__init__(expr)
        self.space = space

    def __getattr__(self, name: str) -> Value:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.space is None:
            if name == "in_":
                fail(
                    UnknownNameError, f"`{self.expr}` lies in no regions; name them: an.mask(..., grid=an.concat(...))"
                )
            fail(
                UnknownNameError,
                f"`{self.expr}` has no coordinate `{name}`; a token without a grid is its position: "
                "give the lambda one, with its mask, score or mean: grid=an.grid(...)",
            )
        found = self.space.coordinates(self.expr)
        if name not in found:
            fail(UnknownNameError, f"`{self.expr}` has no coordinate `{name}`; it has {', '.join(found)}")
        return Value(found[name])

    def in_(self, *region: str) -> Value:
        """Whether the token lies in a region of its space."""
        if self.space is None:
            return self.__getattr__("in_")
        if len(region) != 1:
            given = f"`{self.expr}.in_` takes the name of one region, not {len(region)}"
            fail(DeclarationError, f'{given}; a token in one of several: q.in_("text") | q.in_("image")')
        (name,) = region
        found = self.space.region(name)
        if found is None or not found.name:
            names = ", ".join(repr(r.name) for r in self.space.regions if r.name)
            fail(UnknownNameError, f"there is no region {name!r}; there {f'are {names}' if names else 'are none'}")
        return Value(self.space.contains(self.expr, found))


def grid(**axes: int | Value) -> Space:
    """Tokens on a grid of one to four named axes, in row-major order: the last axis is the fastest.

    Sizes are integers from 1, or parameters from 1: `an.param("frames", low=1)`. In predicates a token has the
    coordinates `q.y`, `k.t`, ...: integers that start at 0.

    >>> import attnir as an
    >>> image = an.grid(y=64, x=64)
    >>> print(an.mask(lambda q, k: (q.y - k.y) ** 2 + (q.x - k.x) ** 2 < 64, grid=image))
    q, k = grid(y=64, x=64); (q.y - k.y) * (q.y - k.y) + (q.x - k.x) * (q.x - k.x) < 64

    Raises DeclarationError for sizes below 1, more than four axes and names that cannot be read back.
    """
    if not 1 <= len(axes) <= MOST_AXES:
        fail(DeclarationError, f"a grid has 1 to {MOST_AXES} axes, not {len(axes)}: an.grid(y=64, x=64)")
    return checked(Space((Region("", tuple(Axis(_name(n), _size(n, s)) for n, s in axes.items())),)))


def concat(**regions: int | Value | Space) -> Space:
    """Named regions of one sequence, in order: each a number of tokens, or a grid.

    In predicates `q.in_("text")` says that a token lies in a region, `q.text` is its index in a plain one, and the axes
    of a grid are coordinates.

    >>> import attnir as an
    >>> page = an.concat(text=256, image=an.grid(y=64, x=64))
    >>> print(an.mask(lambda q, k: k.in_("text") | (abs(q.y - k.y) < 4), grid=page))
    q, k = concat(text=256, image=grid(y=64, x=64)); (k < 256) | (abs(q.y - k.y) < 4)

    Raises DeclarationError for sizes below 1, no region, nested regions, and an axis that two regions have.
    """
    if not regions:
        fail(DeclarationError, "no region given: an.concat(text=256, image=an.grid(y=64, x=64))")
    return checked(Space(tuple(_region(_name(name), given) for name, given in regions.items())))


def _region(name: str, given: object) -> Region:
    if not isinstance(given, Space):
        return Region(name, (Axis(name, _size(name, given)),))
    if len(given.regions) > 1 or given.regions[0].name:
        fail(DeclarationError, f"the region `{name}` is itself in regions; name them all in one an.concat")
    return Region(name, given.regions[0].axes)


def checked(space: Space) -> Space:
    """The space, if no name stands for two things and its positions fit."""
    names = [a.name for r in space.regions for a in r.axes]
    if twice := [n for n in names if names.count(n) > 1]:
        fail(DeclarationError, f"the axis `{twice[0]}` is there twice in {space}; a coordinate needs one meaning")
    if space.length.op is Op.CONST and space.length.const > POSITION_LIMIT:
        fail(DeclarationError, f"{space} has {space.length.const} tokens; at most 2**28 are taken")
    return space


def _name(name: str) -> str:
    if problem := axis_problem(name):
        fail(DeclarationError, problem)
    return name


def _size(name: str, given: object) -> Expr:
    size = integer_argument(given)
    if size.op is Op.CONST and size.const < 1:
        fail(DeclarationError, f"`{name}` has {size.const} tokens; an axis or a region has at least 1")
    if size.op not in (Op.CONST, Op.PARAM):
        fail(DeclarationError, f"the size of `{name}` is an integer or a parameter, not `{size}`")
    if bounds(size).low < 1:
        fail(
            DeclarationError,
            f"the size of `{name}` can be zero: an.param({size}, low=1)".replace(f"({size}", f'("{size}"'),
        )
    return size


def spaces_of(given: object) -> Spaces:
    """The spaces (of queries, of keys) that a user gave: none, one for both sides, or a pair."""
    pair = given if isinstance(given, tuple) else (given, given)
    if len(pair) != 2 or not all(s is None or isinstance(s, Space) for s in pair):
        _no_space(given)
    return pair


def _no_space(given: object) -> NoReturn:
    fail(DeclarationError, f"a grid is what an.grid or an.concat gives, or a pair of them for q and k, not {given!r}")
