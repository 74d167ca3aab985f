"""Verifying: what passes is reported, what fails is shown as a script that repeats it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch import Tensor

import attnir as an
from attnir.codegen import dispatch
from attnir.errors import BackendError, VerificationError
from attnir.testing import Executor


def lose_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a bug: where there are more than four keys, the last one is not seen."""
    plain = dispatch.forward

    def forward(plan: object, call: object, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        o, lse = plain(plan, call, q, k, v, scale)
        return (o + 0.1 * v[:, :1, -1:], lse) if k.shape[2] > 4 else (o, lse)

    monkeypatch.setattr(dispatch, "forward", forward)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_report_says_what_was_checked(backend: str) -> None:
    kind = an.field("kind")
    report = an.verify(an.window(8) & an.mask(lambda q, k: kind(q) == kind(k)), backend=backend, cases=4, seed=5)
    assert report.cases == 4 and report.seed == 5 and report.backend.startswith(backend)
    assert report.checks["walks"] == 4
    assert report.checks["numbers"] == 4 or (
        backend == "triton" and report.checks["numbers"]
    )  # the interpreter is slow
    assert all(line in str(report) for line in ("kind = field()", "4 calls", "walks 4"))


def test_scores_are_verified_as_well() -> None:
    faded = an.score(lambda s, q, k: s - 0.05 * (q - k))
    assert an.verify(an.causal(), score=faded, cases=3).pattern == "k <= q; score = s - (q - k) * 0.05"


def test_what_fails_is_shown_by_a_script_that_passes_without_the_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_a_key(monkeypatch)
    with pytest.raises(VerificationError, match="This script shows it") as caught:
        an.verify(an.causal(), cases=40)
    script = str(caught.value).partition("This script shows it:\n\n")[2]
    assert "k_len=5" in script and len(script.splitlines()) < 20
    with pytest.raises(AssertionError):
        exec(compile(script, "script", "exec"), {})
    (tmp_path / "script.py").write_text(script)
    subprocess.run([sys.executable, str(tmp_path / "script.py")], check=True, timeout=120)


def test_a_bug_that_is_no_number_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> tuple[Tensor, Tensor]:
        raise RuntimeError("out of tiles")

    monkeypatch.setattr(dispatch, "forward", broken)
    with pytest.raises(VerificationError, match="RuntimeError: out of tiles"):
        an.verify(an.causal(), cases=2)


def test_the_reference_is_what_others_are_verified_against() -> None:
    with pytest.raises(BackendError, match="torch or triton, against the reference"):
        an.verify(an.causal(), backend="reference")


def test_a_grid_too_large_for_all_pairs_is_tried_in_parts() -> None:
    """Its boxes are not: where a call gives only some of the queries, runs of tokens are walked."""
    video = an.neighborhood(an.grid(t=8, y=24, x=32), (3, 5, 5))
    report = an.verify(video, cases=2)
    assert report.checks["numbers"] == 2


def test_calls_of_which_no_kernel_is_tried_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Executor, "affords", lambda *_: False)
    with pytest.raises(VerificationError, match="no kernel was tried: each of 2 calls"):
        an.verify(an.causal(), cases=2)
