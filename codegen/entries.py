"""What the cache's folder holds: its entries by their names, how large they are, when they were used last; and pruning.

A file is an entry by its name, as the cache gives it; every other file is somebody else's, and stays. What a process
that was killed left half written is an entry as well, of the kind "leftover".
"""

from __future__ import annotations

import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from attnir.codegen.cache import DIGITS
from attnir.codegen.store import TEMPORARY, Damaged, cache_folder, read_own
from attnir.codegen.targets import KINDS, LIKE

DAY = 24 * 3600.0
WRITING = 3600.0  # seconds in which a temporary file may still be somebody's who writes
LEFTOVER = "leftover"

_KINDS = "|".join((*KINDS, *LIKE))
_KERNEL = rf"({_KINDS})_[0-9a-f]{{{DIGITS}}}"
_NAME = re.compile(rf"(?:{_KERNEL}\.py|(certificate)_[0-9a-f]{{{DIGITS}}}\.json)")
_TEMPORARY = re.compile(rf"(?:{_KINDS}|certificate)_[0-9a-f]{{{DIGITS}}}\w+{re.escape(TEMPORARY)}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache.

    kind   that of a kernel, "forward", "dq", "dkv", "delta", ...; "certificate" or "leftover"
    size   in bytes
    used   when it was written or loaded last, in seconds since 1970
    """

    path: Path
    kind: str
    size: int
    used: float

    @property
    def name(self) -> str:
        return self.path.name

    def about(self) -> str:
        """What its header says: dtype, widths and the predicate of a kernel; empty for what has no header."""
        try:
            text = read_own(self.path, self.size).decode()
        except (OSError, Damaged, UnicodeDecodeError):
            return ""
        said = re.findall(r"^(\w+, D = \d+, Dv = \d+)|^(where .+)$", text.partition('\n"""\n')[0], re.MULTILINE)
        return "; ".join(dict.fromkeys(facts or where for facts, where in said))


def entries() -> tuple[Entry, ...]:
    """The entries of the folder, those used last first; empty where there is no folder.

    Raises OSError where the folder cannot be read.
    """
    try:
        found = [e for path in cache_folder().iterdir() if (e := _entry(path))]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(found, key=lambda e: (-e.used, e.name)))


def _entry(path: Path) -> Entry | None:
    match = _NAME.fullmatch(path.name)
    if match is None and not _TEMPORARY.fullmatch(path.name):
        return None
    try:
        status = path.lstat()
    except FileNotFoundError:  # another process pruned it
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(path, (match[1] or match[2]) if match else LEFTOVER, status.st_size, status.st_mtime)


def prune(*, older_than: float | None = None, keep_bytes: int | None = None) -> tuple[Entry, ...]:
    """Remove entries not used for `older_than` days, and of the others those used least lately, to keep `keep_bytes`.

    Leftovers of killed processes go in any case, an hour after they were written. Returns what was removed. Kernels
    that running processes have loaded stay theirs.

    Raises OSError where a file cannot be removed.
    """
    now, seen, removed = time.time(), 0, []
    for entry in entries():
        idle = now - entry.used
        old = idle > WRITING if entry.kind == LEFTOVER else older_than is not None and idle > older_than * DAY
        seen += 0 if old else entry.size
        if old or (keep_bytes is not None and seen > keep_bytes and entry.kind != LEFTOVER):
            entry.path.unlink(missing_ok=True)
            removed.append(entry)
    return tuple(removed)


def clear() -> tuple[Entry, ...]:
    """Remove every entry, and return them. Raises OSError where a file cannot be removed."""
    removed = entries()
    for entry in removed:
        entry.path.unlink(missing_ok=True)
    return removed
