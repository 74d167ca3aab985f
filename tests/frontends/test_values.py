"""Values on a command line: fields by position and from files, tensors by sample and head, parameters; and bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import attnir as an
from attnir.frontends.values import Given, values_of

DOCS = an.compile(an.parse("doc = field(sorted=True); w = param(); causal & (doc(q) == doc(k)) & window(w, 0)"))
LENGTHS = an.compile(an.parse("n = tensor(b); m = tensor(b, h); causal & (k < n[b]) & (k >= m[b, h])"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i // 3", [0, 0, 0, 1, 1, 1, 2]),
        ("i", [0, 1, 2, 3, 4, 5, 6]),
        ("7", [7] * 7),
        ("i < 2", [1, 1, 0, 0, 0, 0, 0]),
        ("where(i < 2, 5, -(i % 2))", [5, 5, 0, -1, 0, -1, 0]),
        ("(i >= 2) & ~(i == 4)", [0, 0, 1, 1, 0, 1, 1]),
    ],
)
def test_an_expression_is_evaluated_at_each_position(text: str, expected: list[int]) -> None:
    found = values_of(text, torch.arange(7))
    assert found.tolist() == expected and found.dtype is torch.int64


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_file_gives_the_same_counts_as_its_expression(tmp_path: Path, suffix: str) -> None:
    values, path = torch.arange(64) // 10, tmp_path / f"ids{suffix}"
    if suffix == ".npy":
        np.save(path, values.numpy())
    else:
        torch.save(values, path)
    from_file = Given(["w=20"], [f"doc={path}"]).bind(DOCS, 64)
    by_position = Given(["w=20"], ["doc=i // 10"]).bind(DOCS, 64)
    pairs = [DOCS.explain(64, **given).live_pairs for given in (from_file, by_position)]
    assert pairs == [DOCS.explain(64, doc=values, w=20).live_pairs] * 2


@pytest.mark.parametrize(("keys", "q_start", "first"), [(None, None, 0), (64, None, 48), (64, 5, 5), (8, None, 0)])
def test_queries_have_the_values_of_their_positions(keys: int | None, q_start: int | None, first: int) -> None:
    queries, at_keys = Given(["w=1"], ["doc=i"]).bind(DOCS, 16, keys, q_start)["doc"]
    assert queries.tolist() == list(range(first, first + 16))
    assert at_keys.tolist() == list(range(16 if keys is None else keys))


def test_tensors_have_rows_for_samples_and_columns_for_heads() -> None:
    given = Given((), (), ["n=5, 9", "m=0,1,2;3,4,5"]).bind(LENGTHS, 16)
    assert given["n"].tolist() == [5, 9] and given["m"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert LENGTHS.explain(16, batch=2, heads=3, **given).live_pairs > 0


def test_real_numbers_and_tensors(tmp_path: Path) -> None:
    attention = an.compile(an.causal(), score=[an.alibi(), an.softcap(an.param("cap", dtype=float))])
    np.save(tmp_path / "s.npy", np.array([0.5, 0.25], dtype=np.float32))
    for text in ("slopes=0.5,0.25", f"slopes={tmp_path}/s.npy"):
        given = Given(["cap=3"], (), [text]).bind(attention, 16)
        slopes = given["slopes"]
        assert given["cap"] == 3 and isinstance(slopes, torch.Tensor) and slopes.tolist() == [0.5, 0.25]
    shaped = Given(["cap=2.5"], (), ["slopes=2x1"]).bind(attention, 16)["slopes"]
    assert isinstance(shaped, torch.Tensor) and shaped.shape == (2, 1) and shaped.dtype is torch.float32
    with pytest.raises(an.AttnirError, match=r"--tensor slopes=0\.5,0\.25"):
        Given(["cap=1.0"]).bind(attention, 16)
    with pytest.raises(an.AttnirError, match=r"--set cap=1\.5"):
        Given([], (), ["slopes=1.0,2.0"]).bind(attention, 16)


@pytest.mark.parametrize(
    ("params", "fields", "words"),
    [
        (["w"], ["doc=i"], "--set takes name=value, not 'w'"),
        (["=3"], ["doc=i"], "--set takes name=value"),
        (["w=x"], ["doc=i"], "--set takes name=number, not w=x"),
        (["w=1"], [], '--field "doc=i // 300"'),
        ([], ["doc=i"], "--set w=16"),
        (["w=1"], ["doc="], "--field takes name=value, not 'doc='"),
        (["w=1"], ["doc=i +"], "not an expression"),
        (["w=1"], ["doc=j"], "unknown name `j`"),
        (["w=1"], ["doc=0.5 * i"], "a real number"),
        (["w=1"], ["doc=i * i * i"], "can leave 64 bits"),
        (["w=1"], ["doc=__import__('os')"], "unknown name `__import__`"),
        (["w=1"], ["doc=nothing.npy"], "cannot be read from nothing.npy: .*No such file"),
        (["w=1"], ["doc=nothing.pt"], "cannot be read from nothing.pt: .*No such file"),
    ],
)
def test_bad_values_are_said_in_words(params: list[str], fields: list[str], words: str) -> None:
    with pytest.raises(an.AttnirError, match=words):
        Given(params, fields).bind(DOCS, 64)


@pytest.mark.parametrize("text", ["n=1,x", "m=1,2;3"])
def test_bad_tensors_are_said_in_words(text: str) -> None:
    with pytest.raises(an.AttnirError, match="--tensor takes name=1,2,3"):
        Given((), (), [text]).bind(LENGTHS, 16)


class Planted:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.trap), "w")


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_no_file_is_run(tmp_path: Path, suffix: str) -> None:
    path, trap = tmp_path / f"ids{suffix}", tmp_path / "trapped"
    if suffix == ".npy":
        np.save(path, np.array([Planted(trap)], dtype=object), allow_pickle=True)
    else:
        torch.save(Planted(trap), path)
    with pytest.raises(an.AttnirError, match="cannot be read from"):
        Given(["w=1"], [f"doc={path}"]).bind(DOCS, 1)
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_file_of_something_else_is_said_in_words(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ids{suffix}"
    path.write_bytes(b"these are no integers")
    with pytest.raises(an.AttnirError, match="cannot be read from"):
        Given(["w=1"], [f"doc={path}"]).bind(DOCS, 8)
    torch.save({"ids": torch.arange(8)}, tmp_path / "dictionary.pt")
    with pytest.raises(an.AttnirError, match="holds dict, not the tensor that `doc` takes"):
        Given(["w=1"], [f"doc={tmp_path / 'dictionary.pt'}"]).bind(DOCS, 8)
