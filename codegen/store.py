"""Sealed texts on disk: a file whose first line is the hash of its name and of the rest, and the folder of such files.

A text that was cut, altered or renamed by accident is told from what was written, and only a file of the user's own is
read: no link, no folder, no pipe. Writes are atomic, so a reader sees a whole text or none, and a process that is
killed leaves a temporary file at most. The folder belongs to the user alone: `ATTNIR_CACHE_DIR`, or `attnir` in the
user's cache folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
from pathlib import Path

MOST_BYTES = 16 * 2**20  # of a text; what is longer is none of ours, and is not read into memory
TEMPORARY = ".tmp"


class Damaged(Exception):
    """A file that is not what was written; says what is wrong with it."""


def cache_folder() -> Path:
    """Where sealed texts are kept: `ATTNIR_CACHE_DIR`, or `attnir` in the user's cache folder."""
    if given := os.environ.get("ATTNIR_CACHE_DIR"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnir"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / f"attnir-{os.getuid()}"


def seal(name: str, text: str) -> str:
    """The first line of the file `name` that holds a text; a comment in Python."""
    digest = hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()
    return f"# attnir, sha256 {digest}"


def read_sealed(path: Path) -> str | None:
    """The text that a file holds; None where there is no file, or where others could have put it there.

    Raises Damaged for a file that is not what `write_sealed` wrote, OSError where it cannot be read.
    """
    try:
        if not is_private(path.parent):
            return None
        content = read_own(path, MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        head, _, text = content.decode().partition("\n")
    except UnicodeDecodeError:
        raise Damaged("it is no text") from None
    if head != seal(path.name, text):
        raise Damaged("it is not what was written")
    return text


def write_sealed(path: Path, text: str) -> None:
    """Keep a text in a file, whole or not at all; the folder is made where it is missing.

    Raises OSError, and leaves no temporary file, where that fails.
    """
    content = f"{seal(path.name, text)}\n{text}".encode()
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"{len(content):,} bytes are more than {MOST_BYTES:,}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(path.parent):
        raise PermissionError(errno.EACCES, "the folder can be written by others; chmod 700 it")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)  # a full disk or a lost server shows here, before the name is given
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_own(path: Path, most: int) -> bytes:
    """The content of a regular file of this user's.

    Raises Damaged for anything else at this path, and for more bytes than `most`; OSError where it cannot be read.
    """
    with open(path, "rb", opener=_open_own) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Damaged(f"it has more than {most:,} bytes")
    return content


def _open_own(path: str, flags: int) -> int:
    """Open a regular file of this user's. A link is not followed, and a pipe without a writer is not waited for."""
    try:
        handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Damaged("it is a link") from None
        raise
    status = os.fstat(handle)
    problem = "it is no file" if not stat.S_ISREG(status.st_mode) else "" if _mine(status) else "it is another user's"
    if problem:
        os.close(handle)
        raise Damaged(problem)
    return handle


def is_private(folder: Path) -> bool:
    """Whether nobody else can put a file into the folder."""
    return _mine(folder.stat())


def _mine(status: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and nobody else can write it."""
    if os.name != "posix":
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
