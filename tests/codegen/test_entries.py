"""The entries of the cache's folder: what is one and what is not, what they say, and which of them are pruned."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

import attnir as an
from attnir.codegen.cache import KernelCache
from attnir.codegen.entries import DAY, clear, entries, prune

FOREIGN = ("notes.txt", "forward.py", "forward_0.py", "forward_0123456789abcdef012g.py", "my_0123456789abcdef0123.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def fill(folder: Path) -> list[str]:
    """Three kernels and a certificate, each a day older than the one before, and strangers; the entries' names."""
    cache = KernelCache()
    for kind in ("forward", "dq", "dkv"):
        cache.load(kind, "s", lambda: f"answer = {'1' * 1000}\n")
    cache.keep("certificate", "s", '{"seed": 1}' + " " * 1000)
    names = sorted((p.name for p in folder.iterdir()), key=lambda name: (name.startswith("c"), name))
    for days, name in enumerate(names):
        past = time.time() - days * DAY
        os.utime(folder / name, (past, past))
    for name in FOREIGN:
        (folder / name).write_text("mine")
    (folder / "delta_0123456789abcdef0123.py").mkdir()
    (folder / "delta_1123456789abcdef0123.py").symlink_to(folder / "notes.txt")
    return names


def strangers(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {e.name for e in entries()}


def test_entries_are_told_by_their_names_and_come_in_the_order_of_their_use(folder: Path) -> None:
    assert entries() == ()
    names = fill(folder)
    assert [e.name for e in entries()] == names
    assert [e.kind for e in entries()] == [name.partition("_")[0] for name in names]
    assert all(e.size == (folder / e.name).stat().st_size > 1000 for e in entries())
    assert strangers(folder) >= set(FOREIGN)


def test_a_kernel_that_is_loaded_counts_as_used(folder: Path) -> None:
    fill(folder)
    assert entries()[0].kind != "forward"
    KernelCache().load("forward", "s", str)
    assert entries()[0].kind == "forward"


def test_a_kernel_says_what_it_is_for(folder: Path) -> None:
    source = an.compile(an.causal()).source("forward", d=32, dtype=torch.float16)
    KernelCache().load("forward", "s", lambda: source)
    KernelCache().keep("certificate", "s", "{}")
    assert {e.kind: e.about() for e in entries()} == {
        "forward": "fp16, D = 32, Dv = 32; where k <= q",
        "certificate": "",
    }


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, 4),
        ({"older_than": 1.5}, 2),
        ({"older_than": 0}, 0),
        ({"keep_bytes": 0}, 0),
        ({"keep_bytes": 2500}, 2),
        ({"keep_bytes": 10**6}, 4),
        ({"older_than": 2.5, "keep_bytes": 1500}, 1),
    ],
)
def test_what_is_pruned_is_what_was_used_least_lately(folder: Path, limits: dict[str, float], left: int) -> None:
    names = fill(folder)
    before = strangers(folder)
    assert [e.name for e in prune(**limits)] == names[left:]
    assert [e.name for e in entries()] == names[:left] and strangers(folder) == before


def test_all_is_cleared_and_strangers_stay(folder: Path) -> None:
    names = fill(folder)
    before = strangers(folder)
    assert [e.name for e in clear()] == names
    assert entries() == () and strangers(folder) == before


def test_leftovers_of_killed_processes_are_pruned_when_nobody_can_be_writing_them(folder: Path) -> None:
    fill(folder)
    old, young = (folder / f"forward_0123456789abcdef0123{end}.tmp" for end in ("ab12_xyz", "ab12_xyy"))
    for leftover in (old, young):
        leftover.write_text("half of a ker")
    os.utime(old, (time.time() - 7200,) * 2)
    assert {e.name for e in entries() if e.kind == "leftover"} == {old.name, young.name}
    assert [e.name for e in prune(keep_bytes=10**6)] == [old.name]
    assert [e.name for e in prune(keep_bytes=0) if e.kind == "leftover"] == []
    assert young.name in {e.name for e in clear()} and not young.exists()
