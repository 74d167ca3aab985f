"""Certificates: kept for a plan, with the kernels that ran, and worth nothing once the libraries are others."""

from __future__ import annotations

from pathlib import Path

import pytest

import attnir as an
from attnir import certificate
from attnir.certificate import kept_certificate
from attnir.codegen.cache import CACHE
from attnir.errors import BackendError, VerificationError
from attnir.verify import Report

PATTERN = an.causal() & an.window(5)
REPORT = Report("k <= q", "triton on cpu", 0, 1, {"keys": 1}, {("float32", "o"): 1e-7})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def test_a_certificate_is_kept_for_its_plan_and_shown() -> None:
    attention = an.compile(PATTERN, backend="torch")
    assert kept_certificate(attention.plan) is None
    made = attention.certificate(cases=1)
    assert made.cases == made.checks["keys"] == 1 and made.kernels == ()
    assert kept_certificate(attention.plan) == made
    assert made.summary in str(attention.explain(64))
    assert kept_certificate(an.compile(an.causal(), backend="torch").plan) is None


def test_kernels_are_named_that_the_process_had_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        CACHE.load("forward", "of a test", lambda: "answer = 42\n")

    def verified(*_: object) -> Report:
        load()
        return REPORT

    load()
    monkeypatch.setattr(certificate, "verified", verified)
    (name,) = an.compile(PATTERN).certificate().kernels
    assert name.startswith("forward_") and name.endswith(".py")


def test_other_libraries_need_another_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    attention = an.compile(PATTERN, backend="torch")
    made = attention.certificate(cases=1)
    assert set(made.versions) >= {"python", "attnir", "torch", "triton"}
    monkeypatch.setattr(certificate, "_versions", lambda: {**made.versions, "triton": "99"})
    assert kept_certificate(attention.plan) is None
    assert "none kept" in str(attention.explain(64))


def test_what_was_not_checked_has_no_certificate() -> None:
    attention = an.compile(PATTERN, backend="torch")
    with pytest.raises(VerificationError, match="nothing was checked"):
        attention.certificate(cases=0)
    assert kept_certificate(attention.plan) is None
    with pytest.raises(BackendError, match="what others are checked against"):
        an.compile(PATTERN, backend="reference").certificate()
