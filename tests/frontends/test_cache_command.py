"""`attnir cache`: the entries as text and as JSON, pruned and cleared; other files stay."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from attnir.codegen.cache import KernelCache
from attnir.frontends.cli import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["cache", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def fill(folder: Path) -> None:
    """A kernel of today, one of ten days ago, a certificate, and a stranger."""
    cache = KernelCache()
    for kind in ("forward", "dq"):
        cache.load(kind, "s", lambda: "answer = 42\n")
    cache.keep("certificate", "s", "{}")
    past = time.time() - 10 * 86400
    os.utime(next(folder.glob("dq_*")), (past, past))
    (folder / "notes.txt").write_text("mine")


def test_entries_are_listed_with_their_use(folder: Path) -> None:
    fill(folder)
    code, text = run("list")
    assert code == 0 and re.search(r"^dq_[0-9a-f]{20}\.py +\d+ +10 days ago +dq", text, re.MULTILINE), text
    assert "notes" not in text and re.search(r"^3 entries, \d+ bytes, in ", text, re.MULTILINE)


def test_programs_read_json(folder: Path) -> None:
    fill(folder)
    code, text = run("list", "--json")
    found = json.loads(text)
    assert code == 0 and found["folder"] == str(folder)
    assert [e["kind"] for e in found["entries"]][-1] == "dq"
    assert {e["name"]: e["bytes"] for e in found["entries"]} == {
        p.name: p.stat().st_size for p in folder.iterdir() if p.name != "notes.txt"
    }


def test_the_size_is_said_by_kind(folder: Path) -> None:
    fill(folder)
    code, text = run("size")
    assert code == 0 and [line.split()[:2] for line in text.splitlines()[:3]] == [
        ["certificate", "1"],
        ["dq", "1"],
        ["forward", "1"],
    ]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["prune"], 3),
        (["prune", "--older-than", "9.5"], 2),
        (["prune", "--older-than", "11"], 3),
        (["prune", "--keep-bytes", "0"], 0),
        (["clear"], 0),
    ],
)
def test_entries_are_removed(folder: Path, arguments: list[str], left: int) -> None:
    fill(folder)
    code, text = run(*arguments)
    removed = 3 - left
    assert code == 0 and text.startswith(f"removed {removed} entr{'y' if removed == 1 else 'ies'}, ")
    assert len(list(folder.iterdir())) == left + 1 and (folder / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_not_there_is_empty(folder: Path) -> None:
    for command in (["list"], ["size"], ["prune"], ["clear"]):
        code, text = run(*command)
        assert code == 0 and "0 entries, 0 bytes" in text and str(folder) in text
    assert not folder.exists()


def test_what_cannot_be_removed_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder)

    def failing(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", failing)
    code, text = run("clear")
    assert code == 2 and "Permission denied" in text and "Traceback" not in text
