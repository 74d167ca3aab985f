"""Source text, line by line, with indentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

WIDTH = 120


class Writer:
    """Collects the lines of a generated function.

    >>> w = Writer()
    >>> with w.block("for i in range(3):"):
    ...     w.line("total += i")
    >>> print(w.text(), end="")
    for i in range(3):
        total += i
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def line(self, text: str = "") -> None:
        """One line; a long one is continued on the next, inside parentheses."""
        indent = "    " * self._depth
        while len(indent) + len(text) > WIDTH and (cut := _last_break(text, WIDTH - len(indent))):
            self._lines.append(indent + text[:cut].rstrip())
            text, indent = text[cut:], "    " * (self._depth + 2)
        self._lines.append(indent + text if text else "")

    def let(self, name: str, value: str) -> None:
        long = 4 * self._depth + len(name) + len(value) + 3 > WIDTH
        self.line(f"{name} = ({value})" if long and value.startswith("(") else f"{name} = {value}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """The lines written inside stand below `head`, indented."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _last_break(text: str, limit: int) -> int:
    """Where to break a line: behind a comma or a connective, in few parentheses but in some; 0 for nowhere."""
    if text.startswith("#"):
        return 0
    depths, best = _depths(text), 0
    for i in range(limit - 1):
        if text[i : i + 2] in (", ", "& ", "| ") and depths[i] > 0 and (not best or depths[i] <= depths[best - 2]):
            best = i + 2
    return best


def _depths(text: str) -> list[int]:
    """How many parentheses are open at each place; inside brackets, none."""
    found, open_, brackets = [], 0, 0
    for c in text:
        open_ += (c == "(") - (c == ")")
        brackets += (c == "[") - (c == "]")
        found.append(0 if brackets else open_)
    return found
