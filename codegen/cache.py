"""Generated sources: made once, kept on disk, checked when read, loaded as modules.

A source's name is the hash of the kernel's structure; its first line is the hash of the rest, so a file that is cut
or altered by accident is noticed and made again. Only text is stored; what runs is the text that was verified, not
what lies on disk a moment later. Writes are atomic, so processes that generate the same kernel at once do not
disturb each other. The folder belongs to the user alone: `ATTNIR_CACHE_DIR`, or `attnir` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import stat
import tempfile
import threading
import types
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


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

    def info(self) -> CacheInfo:
        return CacheInfo(**self._counts)

    def clear(self) -> None:
        """Forget the kernels of this process and set the counts to zero; the folder stays as it is."""
        with self._lock:
            self._modules.clear()
            self._counts = dict.fromkeys(self._counts, 0)

    def load(self, name: str, structure: str, generate: Callable[[], str]) -> types.ModuleType:
        """The module of the kernel `name` with this structure; `generate` writes its source if nobody has yet."""
        digest = hashlib.sha256(f"{_generator()}\n{name}\n{structure}".encode()).hexdigest()
        with self._lock:
            if digest in self._modules:
                self._counts["reused"] += 1
                return self._modules[digest]
            path = cache_folder() / f"{name}_{digest[:20]}.py"
            source = self._read(path)
            self._counts["generated" if source is None else "loaded"] += 1
            if source is None:
                source = generate()
                self._write(path, source)
            module = self._modules[digest] = _execute(path, source)
            return module

    def _read(self, path: Path) -> str | None:
        try:
            if not _private(path.parent):
                return None
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            self._warn(f"attnir: the cached kernel {path.name} cannot be read ({error}); it is made again")
            return None
        head, _, source = text.partition("\n")
        if head == _seal(source):
            return source
        self._warn(f"attnir: the cached kernel {path.name} is damaged; it is made again")
        return None

    def _write(self, path: Path, source: str) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _private(path.parent):
                self._warn(
                    f"attnir: {path.parent} can be written by others, so kernels are not kept there; chmod 700 it"
                )
                return
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(f"{_seal(source)}\n{source}")
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            self._warn(f"attnir: kernels are not kept on disk ({error}); set ATTNIR_CACHE_DIR to a folder of your own")

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, RuntimeWarning, stacklevel=2)


@lru_cache(maxsize=1)
def _generator() -> str:
    """The hash of the code that the sources follow from: what another version wrote is not taken for this one's.

    That is all of the package: what a kernel computes in 32 bits, or divides plainly, rests on every proof.
    """
    package = Path(__file__).parents[1]
    files = [*sorted(package.glob("*.py")), *sorted((package / "codegen").rglob("*.py"))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def _seal(source: str) -> str:
    return f"# attnir kernel, sha256 {hashlib.sha256(source.encode()).hexdigest()}"


def cache_folder() -> Path:
    """Where generated sources are kept."""
    if given := os.environ.get("ATTNIR_CACHE_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnir"


def _private(folder: Path) -> bool:
    """Whether nobody else can put a file into the folder."""
    if os.name != "posix":
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _execute(path: Path, source: str) -> types.ModuleType:
    """Run the source as a module. Debuggers and Triton read its lines through linecache, from the verified text."""
    lines = [f"{_seal(source)}\n", *source.splitlines(keepends=True)]
    name = str(path)
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    module = types.ModuleType(path.stem)
    module.__file__ = name
    exec(compile("".join(lines), name, "exec"), module.__dict__)
    return module


CACHE = KernelCache()


def cache_info() -> CacheInfo:
    """How many kernels were generated, loaded from disk, and reused in this process.

    >>> import attnir as an
    >>> an.cache_info()._fields
    ('generated', 'loaded', 'reused')
    """
    return CACHE.info()
