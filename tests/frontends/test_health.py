"""The doctor: what is well, what is missing, what is broken, and whether attention can run at all."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from attnir.frontends import health
from attnir.frontends.cli import app
from attnir.frontends.health import BROKEN, MISSING, OK, Finding


def test_the_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    least, below = (".".join(map(str, v)) for v in health.PYTHON)
    assert project["requires-python"] == f">={least},<{below}"
    wanted = {line.partition(">=")[0]: line.partition(";")[0] for line in project["dependencies"]}
    assert wanted["torch"] == f"torch>={'.'.join(map(str, health.TORCH[0]))}"
    least, below = (".".join(map(str, v)) for v in health.TRITON)
    assert wanted["triton"] == f"triton>={least},<{below}"


def test_a_version_is_in_range_or_broken_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"there": "3.9.1", "old": "3.5.9", "new": "3.10.0", "odd": "3.6.0+git"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    states = {n: health._version(n, *health.TRITON, "advice").state for n in (*versions, "none")}
    assert states == {"there": OK, "old": BROKEN, "new": BROKEN, "odd": OK, "none": MISSING}


def test_tiles_that_are_wrong_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert health._tiles().state == OK
    true = health.an.reference
    monkeypatch.setattr(health.an, "reference", lambda p: lambda q, k, v: 1.01 * true(p)(q, k, v))
    found = health._tiles()
    assert found.state == BROKEN and found.needed and "is wrong by" in found.words


def test_a_kernel_that_fails_or_hangs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TINY", "raise SystemExit('no device {device}')")
    found = health._tiny("interpreter", "cpu", "1")
    assert found == Finding("interpreter", BROKEN, "a tiny kernel fails: no device cpu")
    monkeypatch.setattr(health, "TINY", "import os; os.abort()")
    assert "the process ended with -6" in health._tiny("interpreter", "cpu", "1").words
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    monkeypatch.setattr(health, "TINY", "import time; time.sleep(60)")
    assert "more than 0.2 seconds" in health._tiny("interpreter", "cpu", "1").words


def test_one_kernel_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(health, "entries", lambda: [SimpleNamespace(size=1200)])
    assert health._cache().words == f"{tmp_path}, 1 entry, 1,200 bytes"


def test_a_cache_that_cannot_be_written_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "kernels"))
    assert health._cache() == Finding("cache", OK, f"{tmp_path / 'kernels'}, 0 entries, 0 bytes")
    assert list((tmp_path / "kernels").iterdir()) == []
    (tmp_path / "kernels").chmod(0o777)
    assert "can be written by others" in health._cache().words
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    found = health._cache()
    assert found.state == BROKEN and not found.needed and "ATTNIR_CACHE_DIR" in found.words


def test_tools_that_do_not_start_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnir.codegen.triton import tools

    assert health._tools(True).state == OK and health._tools(False).state == MISSING

    def failing(*command: str) -> str:
        raise subprocess.CalledProcessError(127, command)

    monkeypatch.setattr(tools, "run_tool", failing)
    assert health._tools(True).state == BROKEN


@pytest.mark.parametrize(("policy", "gpu", "state"), [("PASSIVE", False, OK), ("", False, MISSING), ("", True, OK)])
def test_how_threads_wait(monkeypatch: pytest.MonkeyPatch, policy: str, gpu: bool, state: str) -> None:
    monkeypatch.setitem(os.environ, "OMP_WAIT_POLICY", policy)
    assert health._waiting(gpu).state == state


def test_what_is_missing_says_what_to_do() -> None:
    found = health._optional("no_such_package", "pictures", "pip install it")
    assert found.state == MISSING and not found.needed and "pip install it" in found.words


@pytest.mark.parametrize(
    ("found", "code", "last"),
    [
        ([Finding("torch", OK, "2.11", True), Finding("triton", MISSING, "pip")], 0, "attention runs here"),
        ([Finding("torch", OK, "2.11", True), Finding("cache", BROKEN, "chmod")], 0, "attention runs here"),
        ([Finding("torch", BROKEN, "1.0", True), Finding("GPU", OK, "yes")], 1, "no attention runs here: see torch"),
    ],
)
def test_the_exit_code_says_whether_attention_runs(
    monkeypatch: pytest.MonkeyPatch, found: list[Finding], code: int, last: str
) -> None:
    monkeypatch.setattr("attnir.frontends.commands.doctor.checks", lambda: found)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code and result.output.splitlines()[-1] == last
