"""Source text, line by line, with indentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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
        self._lines.append("    " * self._depth + text if text else "")

    def lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.line(text)

    def let(self, name: str, value: str) -> None:
        self.line(f"{name} = {value}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """The lines written inside stand below `head`, indented."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"
