"""The disk cache: shared by processes, private to the user, repaired when damaged, never run unverified."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from attnir.codegen.cache import KernelCache

SOURCE = "answer = 42\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def generate() -> str:
    return SOURCE


def never() -> str:
    raise AssertionError("generated again")


def test_a_source_is_generated_once_loaded_by_the_next_process_and_reused(folder: Path) -> None:
    first, second = KernelCache(), KernelCache()
    assert first.load("forward", "s", generate).answer == 42
    assert first.load("forward", "s", never).answer == 42
    assert second.load("forward", "s", never).answer == 42
    assert (first.info(), second.info()) == ((1, 0, 1), (0, 1, 0))
    assert first.load("forward", "other", lambda: "answer = 43\n").answer == 43
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"answer = 666\n", b"\xff\xfe", "cut", "altered"])
def test_a_damaged_entry_is_reported_rebuilt_and_never_run(folder: Path, damage: bytes | str) -> None:
    KernelCache().load("forward", "s", generate)
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    if isinstance(damage, str):
        damage = whole[:-4] if damage == "cut" else whole.replace(b"42", b"66")
    entry.write_bytes(damage)
    cache = KernelCache()
    with pytest.warns(RuntimeWarning, match="made again"):
        assert cache.load("forward", "s", generate).answer == 42
    assert cache.info() == (1, 0, 0)
    assert entry.read_bytes() == whole


def test_the_folder_is_private_and_a_shared_one_is_not_used(folder: Path) -> None:
    KernelCache().load("forward", "s", generate)
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    (entry,) = folder.iterdir()
    entry.write_text("raise SystemExit('planted')\n")
    with pytest.warns(RuntimeWarning, match="written by others"):
        assert KernelCache().load("forward", "s", generate).answer == 42


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    cache = KernelCache()
    with pytest.warns(RuntimeWarning, match="not kept on disk"):
        assert cache.load("forward", "s", generate).answer == 42
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.load("forward", "s", never).answer == 42


def test_many_processes_generate_the_same_kernel_at_once(folder: Path) -> None:
    script = (
        "from attnir.codegen.cache import KernelCache\n"
        "for i in range(30):\n"
        "    m = KernelCache().load('forward', str(i), lambda: f'answer = {i}\\n' + '# padding\\n' * 5000)\n"
        "    assert m.answer == i\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    processes = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(4)]
    assert [p.wait(120) for p in processes] == [0] * 4
    assert len(list(folder.iterdir())) == 30, "no temporary file is left"


def test_a_certificate_is_kept_beside_the_kernels_sealed_like_them_and_never_run(folder: Path) -> None:
    text = '{"seed": 1}\nraise SystemExit("run")\n'
    assert KernelCache().find("certificate", "s") is None
    KernelCache().keep("certificate", "s", text)
    assert KernelCache().find("certificate", "s") == text
    assert KernelCache().find("certificate", "other") is None and KernelCache().find("other", "s") is None
    (entry,) = folder.iterdir()
    assert entry.name.startswith("certificate_") and entry.suffix == ".json"
    assert KernelCache().info() == (0, 0, 0)
    entry.write_bytes(entry.read_bytes().replace(b"1", b"2"))
    cache = KernelCache()
    with pytest.warns(RuntimeWarning, match="made again"):
        assert cache.find("certificate", "s") is None
    cache.keep("certificate", "s", text)
    assert cache.find("certificate", "s") == text


def test_the_kernels_that_are_asked_for_are_noted_new_or_not(folder: Path) -> None:
    cache = KernelCache()
    cache.load("forward", "s", generate)
    with cache.noted() as both, cache.noted():
        with cache.noted() as one:
            cache.load("forward", "s", generate)
        cache.load("dq", "s", generate)
    cache.load("dkv", "s", generate)
    assert {name.partition("_")[0] for name in one} == {"forward"}
    assert {name.partition("_")[0] for name in both} == {"forward", "dq"}
    assert both < {p.name for p in folder.iterdir()}
