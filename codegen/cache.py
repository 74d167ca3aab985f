"""Generated sources: made once, kept on disk, checked when read, loaded as modules. Certificates are kept beside them.

An entry's name is its kind and the hash of what it follows from; `store.py` seals it, so one that is damaged is noticed
and made again. Only text is stored; what runs is the text that was verified, not what lies on disk a moment later.
A disk that fails costs a warning and the next process's time, and changes no result.
"""

from __future__ import annotations

import contextlib
import hashlib
import linecache
import os
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from attnir.codegen.store import Damaged, cache_folder, read_sealed, seal, write_sealed


class CacheInfo(NamedTuple):
    """How often a kernel's source was generated, loaded from disk, or reused in this process."""

    generated: int
    loaded: int
    reused: int


class KernelCache:
    """The kernels of this process and the folder behind them."""

    def __init__(self) -> None:
        self._modules: dict[str, types.ModuleType] = {}
        self._counts = {"generated": 0, "loaded": 0, "reused": 0}
        self._lock = threading.RLock()
        self._warned: set[str] = set()
        self._listeners: list[Callable[[str], None]] = []

    def info(self) -> CacheInfo:
        return CacheInfo(**self._counts)

    @contextlib.contextmanager
    def noted(self) -> Iterator[set[str]]:
        """The file names of the kernels that are asked for in the meantime, be they new to this process or not."""
        names: set[str] = set()
        listener = names.add
        with self._lock:
            self._listeners.append(listener)
        try:
            yield names
        finally:
            with self._lock:
                self._listeners = [other for other in self._listeners if other is not listener]

    def clear(self) -> None:
        """Forget the kernels of this process and set the counts to zero; the folder stays as it is."""
        with self._lock:
            self._modules.clear()
            self._counts = dict.fromkeys(self._counts, 0)

    def load(self, name: str, structure: str, generate: Callable[[], str]) -> types.ModuleType:
        """The module of the kernel `name` with this structure; `generate` writes its source if nobody has yet."""
        digest = _digest(name, structure)
        with self._lock:
            if digest in self._modules:
                self._counts["reused"] += 1
                return self._noted(digest)
            path = cache_folder() / f"{name}_{digest}.py"
            found = self._read(path)
            source = generate() if found is None else found
            if found is None:
                self._write(path, source)
            self._modules[digest] = _execute(path, source)
            self._counts["generated" if found is None else "loaded"] += 1
            return self._noted(digest)

    def _noted(self, digest: str) -> types.ModuleType:
        """A kernel of this process, told to those who listen."""
        module = self._modules[digest]
        for listener in self._listeners:
            listener(Path(str(module.__file__)).name)
        return module

    def keep(self, name: str, structure: str, text: str) -> None:
        """Keep a text that is no kernel, JSON, under its kind and what it follows from. It is never executed."""
        self._write(_text_path(name, structure), text)

    def find(self, name: str, structure: str) -> str | None:
        """The text that was kept; None where none was, or where it is damaged."""
        return self._read(_text_path(name, structure))

    def _read(self, path: Path) -> str | None:
        try:
            text = read_sealed(path)
        except (Damaged, OSError) as error:
            self._warn(f"attnir: {path.name} in the cache is damaged ({error}); it is made again")
            return None
        if text is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # when an entry was used last, for those who prune; many disks note no reading
        return text

    def _write(self, path: Path, text: str) -> None:
        try:
            write_sealed(path, text)
        except OSError as error:
            # Of the names in the error one is of a temporary file, which would make each warning a new one.
            where = path if isinstance(error, IsADirectoryError) else path.parent
            self._warn(
                f"attnir: kernels and certificates are not kept on disk ({where}: {error.strerror}); "
                "set ATTNIR_CACHE_DIR to a folder of your own"
            )

    def _warn(self, message: str) -> None:
        with self._lock:
            told = message in self._warned
            self._warned.add(message)
        if not told:
            warnings.warn(message, RuntimeWarning, stacklevel=2)


@lru_cache(maxsize=1)
def _generator() -> str:
    """The hash of the code that the sources follow from: what another version wrote is not taken for this one's.

    That is the language and the analysis as well: what a kernel computes in 32 bits rests on every proof.
    """
    package = Path(__file__).parents[1]
    files = [*sorted(package.glob("*.py")), *sorted((package / "codegen").rglob("*.py"))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def _digest(name: str, structure: str) -> str:
    return hashlib.sha256(f"{_generator()}\n{name}\n{structure}".encode()).hexdigest()[:DIGITS]


def _text_path(name: str, structure: str) -> Path:
    return cache_folder() / f"{name}_{_digest(name, structure)}.json"


def _execute(path: Path, source: str) -> types.ModuleType:
    """Run the source as a module. Debuggers and Triton read its lines through linecache, from the verified text."""
    lines = [f"{seal(path.name, source)}\n", *source.splitlines(keepends=True)]
    name = str(path)
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    module = types.ModuleType(path.stem)
    module.__file__ = name
    exec(compile("".join(lines), name, "exec"), module.__dict__)
    return module


DIGITS = 20  # of the hash in an entry's name
CACHE = KernelCache()


def cache_info() -> CacheInfo:
    """How many kernels were generated, loaded from disk, and reused in this process.

    >>> import attnir as an
    >>> an.cache_info()._fields
    ('generated', 'loaded', 'reused')
    """
    return CACHE.info()
