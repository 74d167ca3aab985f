"""Certificates: kept beside the kernels, shown by explain, gone where they say nothing any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import attnir as an
from attnir import certificate as module
from attnir.certificate import kept_certificate
from attnir.codegen import cache
from attnir.errors import BackendError, VerificationError
from attnir.testing.properties import PROPERTIES

PATTERN = an.causal() & an.window(11)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNIR_CACHE_DIR", str(tmp_path))
    return tmp_path


def proof_line(attention: an.Attention) -> str:
    return next(line for line in str(attention.explain(64)).splitlines() if line.startswith("proof"))


def test_a_certificate_is_kept_and_shown(folder: Path) -> None:
    attention = an.compile(PATTERN, backend="torch")
    assert "none kept" in proof_line(attention) and attention.explain(64).certificate is None
    made = attention.certificate(cases=3, seed=2)
    assert made.cases == 3 and made.seed == 2 and made.checks["walks"] == 3 and made.versions["python"]
    assert set(made.checks) <= PROPERTIES.keys() and all(0 <= e < 1e-3 for e in made.errors.values())
    assert kept_certificate(attention.plan) == made == an.compile(PATTERN, backend="torch").explain(64).certificate
    assert made.summary in proof_line(attention) and made.summary in str(made)
    (path,) = folder.glob("certificate_*.json")
    assert json.loads(path.read_text().partition("\n")[2])["pattern"] == str(attention.pattern)


def test_it_names_the_kernels_that_ran_with_the_attentions_own_tiles(folder: Path) -> None:
    tiles = {"forward": an.Config(32, 16, 4, 1)}
    made = an.compile(PATTERN, backend="triton", config=tiles).certificate(cases=1)
    assert any(name.startswith("forward_") for name in made.kernels)
    assert any((folder / name).exists() for name in made.kernels)  # others were there before
    source = next((folder / name).read_text() for name in made.kernels if name.startswith("forward_"))
    assert "tiles of 32 q by 16 k" in source


def test_another_attention_has_none(folder: Path) -> None:
    an.compile(PATTERN, backend="torch").certificate(cases=1)
    assert kept_certificate(an.compile(an.causal(), backend="torch").plan) is None
    assert kept_certificate(an.compile(PATTERN, backend="triton").plan) is None


def test_one_of_other_libraries_says_nothing_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = an.compile(PATTERN, backend="torch")
    attention.certificate(cases=1)
    monkeypatch.setattr(module, "_versions", lambda: {"python": "3.99"})
    assert kept_certificate(attention.plan) is None


def test_a_damaged_one_is_reported_and_not_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE", cache.KernelCache())
    attention = an.compile(PATTERN, backend="torch")
    attention.certificate(cases=1)
    (path,) = folder.glob("certificate_*.json")
    path.write_text(path.read_text().replace('"cases": 1', '"cases": 1000'))
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert "none kept" in proof_line(attention)
    attention.certificate(cases=1)
    assert "all passed" in proof_line(attention)


def test_what_fails_gets_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise VerificationError("a key is lost")

    monkeypatch.setattr(module, "verified", fails)
    attention = an.compile(PATTERN, backend="torch")
    with pytest.raises(VerificationError):
        attention.certificate()
    assert list(folder.glob("certificate_*")) == []


def test_the_reference_needs_none() -> None:
    with pytest.raises(BackendError, match="what others are checked against"):
        an.compile(PATTERN, backend="reference").certificate()
