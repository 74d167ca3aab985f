"""The disk cache under attack: processes at once, processes killed, altered entries, disks that are full or read-only.

Whatever happens to the folder, results are right, nothing that was altered runs, and what is wrong is said once.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attnir.codegen import store
from attnir.codegen.cache import KernelCache
from attnir.codegen.entries import entries, prune

ROOT = Path(__file__).parents[2]
SOURCE = '"""A kernel."""\n\nanswer = 42\n' + "# padding\n" * 20

ATTENTION = """
import sys

import torch
import attnir as an

torch.set_num_threads(1)
torch.manual_seed(0)
which = int(sys.argv[1])
q, k, v, do = (torch.randn(1, 2, 40, 16) for _ in range(4))
for pattern in (an.causal(), an.causal() & an.window(3 + which % 4)):
    leaves = [t.clone().requires_grad_() for t in (q, k, v)]
    o = an.compile(pattern, backend="triton")(*leaves)
    want = an.reference(pattern)(*leaves)
    for got, expected in zip((o, *torch.autograd.grad(o, leaves, do)),
                             (want, *torch.autograd.grad(want, leaves, do.double())), strict=True):
        assert (got - expected).abs().max() < 1e-4, pattern
print(*an.cache_info())
"""

KILLED = """
import os
import sys
from attnir.codegen.cache import KernelCache

stop = sys.argv[1]
real = getattr(os, stop)

def stopped(*args):
    print("writing", flush=True)
    sys.stdin.read()

setattr(os, stop, stopped)
KernelCache().load("forward", "s", lambda: sys.argv[2])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@pytest.fixture
def traps(tmp_path: Path) -> Iterator[str]:
    """Code that leaves a file behind where it runs; at the end there is none."""
    trap = tmp_path / "trapped"
    yield f"open({str(trap)!r}, 'w').close()\n"
    assert not trap.exists(), "an altered entry was executed"


def generate() -> str:
    return SOURCE


def said(action: Callable[[], object]) -> list[str]:
    """The warnings of an action, each as often as it is shown."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        action()
    return [str(w.message) for w in found]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::RuntimeWarning", **more}


@pytest.mark.slow
def test_processes_that_compile_at_once_agree_with_the_reference(folder: Path) -> None:
    """Eight processes, four patterns, and one that all of them have; forward and backward."""
    command = [sys.executable, "-c", ATTENTION]
    given = environment(TRITON_INTERPRET="1")
    pipe = subprocess.PIPE
    started = [subprocess.Popen([*command, str(i)], env=given, stdout=pipe, stderr=pipe, text=True) for i in range(8)]
    done = [p.communicate(timeout=500) for p in started]
    assert [p.returncode for p in started] == [0] * 8, done
    counts = [tuple(map(int, out.split())) for out, _ in done]
    kernels = {sum(count[:2]) for count in counts}
    assert len(kernels) == 1, "every process loads or generates the same number of kernels"
    made = [p.name for p in folder.iterdir()]
    assert not any(name.endswith(".tmp") for name in made) and len(made) == len(entries())
    again = subprocess.run([*command, "0"], env=given, capture_output=True, text=True, check=True)
    assert again.stdout.split()[:2] == ["0", str(kernels.pop())], "the next process generates nothing"


@pytest.mark.parametrize("stop", ["fsync", "replace"])
def test_a_process_that_is_killed_while_it_writes_leaves_a_file_that_is_ignored_and_pruned(
    folder: Path, stop: str
) -> None:
    command = [sys.executable, "-c", KILLED, stop, SOURCE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
    (left,) = folder.iterdir()
    assert left.suffix == ".tmp" and [e.kind for e in entries()] == ["leftover"]
    assert said(lambda: KernelCache().load("forward", "s", generate)) == []
    assert prune() == (), "somebody may still be writing it"
    past = time.time() - 7200
    os.utime(left, (past, past))
    assert [e.name for e in prune()] == [left.name]
    assert [e.kind for e in entries()] == ["forward"]


def written(folder: Path) -> tuple[Path, bytes]:
    KernelCache().load("forward", "s", generate)
    (entry,) = folder.iterdir()
    return entry, entry.read_bytes()


def check_repaired(entry: Path, whole: bytes) -> None:
    """A process makes the entry again, says so once, and leaves it as it was; the next one has nothing to say."""
    cache = KernelCache()
    messages = said(lambda: [cache.load("forward", "s", generate) for _ in range(3)])
    assert len(messages) == 1 and entry.name in messages[0] and "made again" in messages[0], messages
    assert cache.info() == (1, 0, 2) and entry.read_bytes() == whole
    assert said(lambda: KernelCache().load("forward", "s", generate)) == []
    assert [p.name for p in entry.parent.iterdir()] == [entry.name]


def test_every_byte_counts(folder: Path, traps: str) -> None:
    """A byte is altered at every place of the header, and at many of the body; the text is cut at every length."""
    entry, whole = written(folder)
    header = whole.index(b"\n") + 1
    places = [*range(header), *range(header, len(whole), 7), len(whole) - 1]
    for i in places:
        entry.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(store.Damaged):
            store.read_sealed(entry)
    for i in range(len(whole)):
        entry.write_bytes(whole[:i])
        with pytest.raises(store.Damaged):
            store.read_sealed(entry)
    entry.write_bytes(whole)
    assert store.read_sealed(entry) == SOURCE


ALTERED: dict[str, Callable[[bytes, bytes], bytes]] = {
    "header": lambda whole, trap: trap + whole,
    "header replaced": lambda whole, trap: trap + whole.partition(b"\n")[2],
    "body": lambda whole, trap: whole.replace(b"answer", trap + b"answer"),
    "appended": lambda whole, trap: whole + trap,
    "only code": lambda whole, trap: trap,
    "carriage return": lambda whole, trap: whole.replace(b"\n", b"\r" + trap + b"\n", 1),
    "zero byte": lambda whole, trap: whole[:-5] + b"\0" + trap,
    "no text": lambda whole, trap: b"\xff\xfe" + trap,
    "empty": lambda whole, trap: b"",
    "huge": lambda whole, trap: whole + trap + b"#" * store.MOST_BYTES,
}


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_entry_is_told_once_made_again_and_never_run(folder: Path, traps: str, how: str) -> None:
    entry, whole = written(folder)
    entry.write_bytes(ALTERED[how](whole, traps.encode()))
    check_repaired(entry, whole)


def test_what_is_too_long_is_not_read(folder: Path) -> None:
    entry, whole = written(folder)
    assert store.read_own(entry, len(whole)) == whole
    with pytest.raises(store.Damaged, match="more than"):
        store.read_own(entry, len(whole) - 1)


def test_an_entry_under_another_name_is_not_taken(folder: Path, traps: str) -> None:
    """The seal holds the name: a file that is sound in itself, but of another kernel, is damage as well."""
    entry, whole = written(folder)
    other = KernelCache().load("forward", "other", lambda: traps.replace("open", "lambda: open")).__file__
    os.replace(str(other), entry)
    check_repaired(entry, whole)


def test_a_link_is_not_followed_but_replaced(folder: Path, tmp_path: Path, traps: str) -> None:
    entry, whole = written(folder)
    target = tmp_path / "elsewhere.py"
    for content in (whole, traps.encode()):
        target.write_bytes(content)
        entry.unlink()
        entry.symlink_to(target)
        check_repaired(entry, whole)
        assert not entry.is_symlink() and target.read_bytes() == content


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    entry, whole = written(folder)
    entry.unlink()
    os.mkfifo(entry)
    check_repaired(entry, whole)


def test_a_folder_in_the_place_of_an_entry_stays_and_costs_two_warnings(folder: Path) -> None:
    entry, _ = written(folder)
    entry.unlink()
    (entry / "inside").mkdir(parents=True)
    cache = KernelCache()
    messages = said(lambda: [cache.load("forward", "s", generate) for _ in range(2)])
    assert len(messages) == 2 and "it is no file" in messages[0] and str(entry) in messages[1], messages
    assert cache.info() == (1, 0, 1)
    assert (entry / "inside").is_dir() and [p.name for p in folder.iterdir()] == [entry.name]


def test_an_entry_that_others_can_write_is_not_taken(folder: Path) -> None:
    entry, whole = written(folder)
    entry.chmod(0o666)
    check_repaired(entry, whole)
    assert entry.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("of", ["entry", "folder"])
def test_what_belongs_to_another_user_is_not_taken(folder: Path, traps: str, of: str) -> None:
    entry, whole = written(folder)
    if of == "entry":
        os.chown(entry, 12345, 12345)
        check_repaired(entry, whole)
        return
    os.chown(folder, 12345, 12345)
    entry.write_text(traps)
    cache = KernelCache()
    (message,) = said(lambda: [cache.load(kind, "s", generate) for kind in ("forward", "dq")])
    assert "written by others" in message and cache.info() == (2, 0, 0)


FAILING = {
    "read-only": ("mkstemp", errno.EROFS),
    "no permission": ("mkstemp", errno.EACCES),
    "no inode": ("mkstemp", errno.ENOSPC),
    "full in write": ("write", errno.ENOSPC),
    "full in fsync": ("fsync", errno.ENOSPC),
    "over quota": ("replace", errno.EDQUOT),
    "full in replace": ("replace", errno.ENOSPC),
    "broken in replace": ("replace", errno.EIO),
}


def fail(monkeypatch: pytest.MonkeyPatch, step: str, code: int) -> None:
    """Let a step of writing fail as a disk does, the name of the file included."""

    def failing(*args: object, **_: object) -> object:
        raise OSError(code, os.strerror(code), f"temporary-{time.perf_counter_ns()}")

    class Full:
        """A file on a full disk: it takes nothing."""

        def __init__(self, handle: int, _: str) -> None:
            self.handle = handle

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.handle)

        write = failing

    if step == "write":
        monkeypatch.setattr(os, "fdopen", Full)
    else:
        monkeypatch.setattr(tempfile if step == "mkstemp" else os, step, failing)


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("damaged", [False, True], ids=["new", "damaged"])
def test_a_disk_that_fails_is_told_once_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, traps: str, how: str, damaged: bool
) -> None:
    step, code = FAILING[how]
    folder.mkdir(mode=0o700)
    if damaged:
        entry, _ = written(folder)
        entry.write_text(traps)
    before = [p.name for p in folder.iterdir()]
    cache = KernelCache()
    with monkeypatch.context() as broken:
        fail(broken, step, code)
        messages = said(lambda: [cache.load(kind, "s", generate) for kind in ("forward", "dq", "dkv", "forward")])
        more = said(lambda: cache.keep("certificate", "s", "{}"))
    assert more == [] and len(messages) == 1 + damaged
    assert os.strerror(code) in messages[-1] and str(folder) in messages[-1]
    assert cache.info() == (3, 0, 1) and [p.name for p in folder.iterdir()] == before
    later = KernelCache()
    assert len(said(lambda: later.load("forward", "s", generate))) == damaged, "once the disk works, it is repaired"
    assert said(lambda: KernelCache().load("forward", "s", generate)) == []


def test_an_entry_that_cannot_be_read_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, whole = written(folder)
    real = os.open

    def failing(path: str, *args: object, **given: object) -> int:
        if str(path) == str(entry):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, *args, **given)

    cache = KernelCache()
    with monkeypatch.context() as broken:
        broken.setattr(os, "open", failing)
        (message,) = said(lambda: cache.load("forward", "s", generate))
    assert "made again" in message and entry.read_bytes() == whole


def test_a_real_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(disk)], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    try:
        monkeypatch.setenv("ATTNIR_CACHE_DIR", str(disk / "kernels"))
        cache = KernelCache()
        large = SOURCE + "#" * 40_000 + "\n"
        messages = said(lambda: [cache.load(kind, "s", lambda: large) for kind in ("forward", "dq", "dkv")])
        assert len(messages) == 1 and os.strerror(errno.ENOSPC) in messages[0]
        assert cache.info() == (3, 0, 0) and [e.kind for e in entries()] == ["forward"]
        assert len(list((disk / "kernels").iterdir())) == 1
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, capture_output=True)
        cache = KernelCache()
        (message,) = said(lambda: [cache.load(kind, "s", lambda: large) for kind in ("forward", "dq", "dkv")])
        assert os.strerror(errno.EROFS) in message and cache.info() == (2, 1, 0)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_threads_that_want_one_kernel_generate_it_once(folder: Path) -> None:
    cache, made, modules = KernelCache(), [], []

    def slowly() -> str:
        made.append(threading.get_ident())
        time.sleep(0.05)
        return SOURCE

    threads = [threading.Thread(target=lambda: modules.append(cache.load("forward", "s", slowly))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(made) == 1 and len(modules) == 8 and len({id(m) for m in modules}) == 1 and cache.info() == (1, 0, 7)


def test_a_generator_that_fails_leaves_nothing_and_may_be_asked_again(folder: Path) -> None:
    cache = KernelCache()
    with pytest.raises(ZeroDivisionError):
        cache.load("forward", "s", lambda: str(1 // 0))
    assert cache.info() == (0, 0, 0) and not folder.exists()
    assert cache.load("forward", "s", generate).answer == 42


def test_a_user_without_a_home_has_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ATTNIR_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert store.cache_folder() == tmp_path / f"attnir-{os.getuid()}"
    KernelCache().load("forward", "s", generate)
    assert len(entries()) == 1


def test_a_text_that_is_too_long_is_not_kept(folder: Path) -> None:
    cache = KernelCache()
    (message,) = said(lambda: cache.keep("certificate", "s", "#" * store.MOST_BYTES))
    assert "not kept" in message and not folder.exists() and cache.find("certificate", "s") is None
