"""Patterns: masks as the 0/1 matrices they are, rows are queries; their algebra; what a declaration must keep to."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable

import pytest
import torch

from attnir.errors import (
    AttnirError,
    ConditionExpectedError,
    ControlFlowError,
    DeclarationError,
    IntegerExpectedError,
    ParamError,
)
from attnir.evaluate import dense_mask
from attnir.facts import field, param, tensor
from attnir.functions import where
from attnir.limits import DEEPEST, LARGEST, RESERVED
from attnir.masks import Mask, causal, full, mask, window
from attnir.ops import FieldDecl, ParamDecl
from attnir.scores import parse
from attnir.testing.meaning import picture
from attnir.value import Value
from tests.test_bad_input import wrong

DOC = field("doc", sorted=True)
START = field("start", sorted=True)
KIND = field("kind")


def shown(
    m: Mask,
    q_len: int,
    k_len: int | None = None,
    *,
    q_start: int | None = None,
    head: int = 0,
    sample: int = 0,
    **bindings: object,
) -> list[str]:
    """The mask as lines, one per query: `1` live, `.` dead."""
    sizes = {"batch": 2, "heads": 3, "q_len": q_len, "k_len": q_len if k_len is None else k_len}
    call = m.signature.bind(bindings, **sizes, q_start=q_start)
    return picture(dense_mask(m.predicate, call).expand(2, 3, -1, -1)[sample, head])


def test_full() -> None:
    assert shown(full(), 2, 3) == ["111", "111"]


def test_causal() -> None:
    assert shown(causal(), 5) == ["1....", "11...", "111..", "1111.", "11111"]


def test_causal_at_the_end_of_more_keys() -> None:
    assert shown(causal(), 3, 5) == ["111..", "1111.", "11111"]


def test_causal_from_the_beginning() -> None:
    assert shown(causal(), 3, 5, q_start=0) == ["1....", "11...", "111.."]


def test_causal_with_queries_past_the_keys() -> None:
    assert shown(causal(), 4, 2) == ["1.", "11", "11", "11"]


def test_window() -> None:
    assert shown(window(1), 5) == ["11...", "111..", ".111.", "..111", "...11"]


def test_window_to_the_left() -> None:
    assert shown(window(2, 0), 5) == ["1....", "11...", "111..", ".111.", "..111"]


def test_window_of_uneven_sides() -> None:
    assert shown(window(1, 2), 5) == ["111..", "1111.", ".1111", "..111", "...11"]


def test_window_that_excludes_the_query_itself() -> None:
    assert shown(window(2, -1), 5) == [".....", "1....", "11...", ".11..", "..11."]


def test_window_of_keys_to_come() -> None:
    assert shown(window(-2, 3), 5) == ["..11.", "...11", "....1", ".....", "....."]
    assert shown(window(-1, 1), 3) == [".1.", "..1", "..."]


def test_window_of_a_parameter() -> None:
    m = window(param("w"), 0)
    assert shown(m, 4, w=1) == ["1...", "11..", ".11.", "..11"]
    assert shown(m, 4, w=0) == ["1...", ".1..", "..1.", "...1"]
    assert shown(m, 4, w=-1) == ["....", "....", "....", "...."]
    assert shown(m, 4, w=2**30) == shown(causal(), 4)


def test_causal_window_with_sinks() -> None:
    m = causal() & (window(1) | mask(lambda q, k: k < 2))
    assert shown(m, 6) == ["1.....", "11....", "111...", "1111..", "11.11.", "11..11"]


def test_packed_documents() -> None:
    m = causal() & mask(lambda q, k: DOC(q) == DOC(k))
    assert shown(m, 6, doc=torch.tensor([0, 0, 3, 3, 3, 4])) == [
        "1.....",
        "11....",
        "..1...",
        "..11..",
        "..111.",
        ".....1",
    ]


def test_documents_with_sinks_inside_each() -> None:
    m = causal() & mask(lambda q, k: (START(q) == START(k)) & ((q - k < 2) | (k - START(q) < 1)))
    assert shown(m, 7, start=torch.tensor([0, 0, 2, 2, 2, 2, 2])) == [
        "1......",
        "11.....",
        "..1....",
        "..11...",
        "..111..",
        "..1.11.",
        "..1..11",
    ]


def test_documents_of_samples() -> None:
    m = mask(lambda q, k: DOC(q) == DOC(k))
    ids = torch.tensor([[0, 0, 1], [0, 1, 1]])
    assert shown(m, 3, sample=0, doc=ids) == ["11.", "11.", "..1"]
    assert shown(m, 3, sample=1, doc=ids) == ["1..", ".11", ".11"]


def test_a_field_for_queries_and_keys() -> None:
    m = mask(lambda q, k: KIND(q) == KIND(k))
    assert shown(m, 2, 4, kind=(torch.tensor([5, 6]), torch.tensor([6, 5, 6, 7]))) == [".1..", "1.1."]


def test_a_single_field_is_read_at_the_queries_position() -> None:
    m = mask(lambda q, k: KIND(q) == KIND(k))
    assert shown(m, 2, 4, kind=torch.tensor([6, 5, 6, 5])) == ["1.1.", ".1.1"]


def test_blocks_on_the_diagonal() -> None:
    assert shown(mask(lambda q, k: q // 2 == k // 2), 5) == ["11...", "11...", "..11.", "..11.", "....1"]


def test_checkerboard() -> None:
    m = mask(lambda q, k: (q // 2 + k // 2) % 2 == 0)
    assert shown(m, 6) == ["11..11", "11..11", "..11..", "..11..", "11..11", "11..11"]


def test_strided() -> None:
    assert shown(mask(lambda q, k: k % 3 == 1), 2, 6) == [".1..1.", ".1..1."]


def test_negative_numbers_round_down() -> None:
    assert shown(mask(lambda q, k: (k - q) // 2 == -1), 5) == [".....", "1....", "11...", ".11..", "..11."]
    assert shown(mask(lambda q, k: (k - q) % 3 == 1), 5) == [".1..1", "..1..", "1..1.", ".1..1", "..1.."]
    assert shown(mask(lambda q, k: (k - q) % -3 == -1), 4) == ["..1.", "1..1", ".1..", "..1."]


def test_heads() -> None:
    m = mask(lambda q, k, h: abs(q - k) <= h)
    assert shown(m, 4, head=0) == ["1...", ".1..", "..1.", "...1"]
    assert shown(m, 4, head=1) == ["11..", "111.", ".111", "..11"]
    assert shown(m, 4, head=2) == ["111.", "1111", "1111", ".111"]


def test_samples() -> None:
    m = causal() | mask(lambda q, k, b: k < 2 * b)
    assert shown(m, 3, sample=0) == ["1..", "11.", "111"]
    assert shown(m, 3, sample=1) == ["11.", "11.", "111"]


def test_complement() -> None:
    assert shown(~window(1), 5) == ["..111", "...11", "1...1", "11...", "111.."]


def test_band_across_the_diagonal() -> None:
    assert shown(mask(lambda q, k: abs(q + k - 4) <= 1), 5) == ["...11", "..111", ".111.", "111..", "11..."]


def test_choice() -> None:
    m = mask(lambda q, k: k <= where(q % 2 == 0, q, 1))
    assert shown(m, 5) == ["1....", "11...", "111..", "11...", "11111"]


def test_dead_rows_and_nothing() -> None:
    assert shown(causal() & mask(lambda q, k: q % 2 == 1), 4) == ["....", "11..", "....", "1111"]
    assert shown(mask(lambda q, k: (k < q) & (k > q)), 2) == ["..", ".."]


def test_the_algebra_is_that_of_sets() -> None:
    a, b, c = causal(), window(1), mask(lambda q, k: k % 2 == 0)

    def same(x: Mask, y: Mask) -> bool:
        return shown(x, 6) == shown(y, 6)

    for x, y, z in itertools.permutations((a, b, c)):
        assert same(x & y, y & x)
        assert same(x | y, y | x)
        assert same((x & y) & z, x & (y & z))
        assert same(x & (y | z), (x & y) | (x & z))
        assert same(~(x & y), ~x | ~y)
        assert same(x | (x & y), x)
    assert same(a & ~a, ~full())
    assert ~~a == a
    assert a & full() == a


def test_equal_masks_are_equal_values() -> None:
    assert causal() & window(3, 0) == causal() & window(3, 0)
    assert hash(causal()) == hash(mask(lambda q, k: k <= q))
    assert causal() != window(3)
    assert causal() != 3
    assert pickle.loads(pickle.dumps(causal() & window(param("w")))) == causal() & window(param("w"))


def test_what_a_mask_reads() -> None:
    m = causal() & mask(lambda q, k: (DOC(q) == DOC(k)) & (q - k < param("w", low=1)) & (KIND(k) > 0))
    assert m.fields == (FieldDecl("doc", True), FieldDecl("kind"))
    assert m.params == (ParamDecl("w", 1),)


def test_a_mask_shows_its_predicate() -> None:
    assert repr(window(3, 0)) == "<Mask (q - k <= 3) & (k <= q)>"
    assert (repr(DOC), repr(KIND)) == ("<Field doc, sorted>", "<Field kind>")
    assert repr(tensor("n", "b", "h")) == "<Tensor n[b, h]>"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("causal", causal()),
        ("full", full()),
        ("window(3)", window(3)),
        ("window(3, 0)", window(3, 0)),
        ("w = param(); window(w, 0)", window(param("w"), 0)),
        ("causal & window(1024) | (k < 4)", (causal() & window(1024)) | mask(lambda q, k: k < 4)),
        ("~causal", ~causal()),
        ("causal = param(); k < causal", mask(lambda q, k: k < param("causal"))),
        ("window = field(); window(q) == 1", mask(lambda q, k: field("window")(q) == 1)),
    ],
)
def test_short_forms(text: str, expected: Mask) -> None:
    assert parse(text) == expected


def same_name_twice() -> Mask:
    return mask(lambda q, k: field("x")(q) == 1) & mask(lambda q, k: field("x", sorted=True)(k) == 1)


def xor_chain() -> Mask:
    def chain(q: Value, k: Value) -> Value:
        c = q < k
        for i in range(30):
            c = c ^ (q < k + i)
        return c

    return mask(chain)


def doubled() -> Mask:
    def chain(q: Value, k: Value) -> Value:
        for _ in range(60):
            q = q + q
        return q < k

    return mask(chain)


def many_tokens() -> Mask:
    total = mask(lambda q, k: k == 0)
    for i in range(1000):
        total = total | _token(3 * i)
    return total


def _token(i: int) -> Mask:
    return mask(lambda q, k: k == i)


ERRORS: dict[str, tuple[type[AttnirError], list[str], Callable[[], object]]] = {
    "mask and bool": (DeclarationError, ["not with True", "an.mask(lambda"], lambda: causal() & True),  # type: ignore[operator]
    "mask or int": (DeclarationError, ["not with 3"], lambda: causal() | 3),  # type: ignore[operator]
    "mask as a truth": (ControlFlowError, ["`k <= q`", "`&`, `|`, `~`"], lambda: bool(causal())),
    "and of masks": (ControlFlowError, ["no truth value"], lambda: causal() and full()),
    "not of a mask": (ControlFlowError, ["no truth value"], lambda: not causal()),
    "float window": (IntegerExpectedError, ["3.5", "float"], lambda: window(3.5)),  # type: ignore[arg-type]
    "float window right": (IntegerExpectedError, ["0.0"], lambda: window(3, 0.0)),  # type: ignore[arg-type]
    "bool window": (ConditionExpectedError, ["True"], lambda: window(True)),
    "condition window": (ConditionExpectedError, ["`w < 3`"], lambda: window(param("w") < 3)),
    "window without keys": (DeclarationError, ["q - (-1)", "an.causal()", "an.full()"], lambda: window(-1, 0)),
    "window of -1": (DeclarationError, ["none", "q - k <= left", "an.full()"], lambda: window(-1)),
    "window past its end": (DeclarationError, ["q + (-3)"], lambda: window(2, -3)),
    "window of None": (IntegerExpectedError, ["None", "an.causal()"], lambda: window(wrong(None), 0)),
    "string window": (IntegerExpectedError, ["'w'"], lambda: window(wrong("w"))),
    "empty range": (ParamError, ["[3, 1]", "`w`"], lambda: param("w", low=3, high=1)),
    "wide range": (ParamError, ["2**30"], lambda: param("w", high=2**31)),
    "float range": (ParamError, ["`w`", "1.5"], lambda: param("w", low=1.5)),  # type: ignore[arg-type]
    "string range": (ParamError, ["`w`", "'a'"], lambda: param("w", low="a")),  # type: ignore[arg-type]
    "no name": (DeclarationError, ["''"], lambda: field("")),
    "a number as name": (DeclarationError, ["3 cannot name"], lambda: field(3)),  # type: ignore[arg-type]
    "two words": (DeclarationError, ["'two words'"], lambda: param("two words")),
    "not ASCII": (DeclarationError, ["ASCII"], lambda: field("ﬁeld")),  # Python reads it back as `field`
    "one name, two fields": (DeclarationError, ["`x` names two"], same_name_twice),
    "field and parameter": (
        DeclarationError,
        ["`x` names two"],
        lambda: mask(lambda q, k: field("x")(q) < param("x")),
    ),
    "doubled sums": (DeclarationError, [f"{LARGEST}", "operations"], doubled),
    "a chain of xor": (DeclarationError, [f"{LARGEST}"], xor_chain),
    "a thousand tokens": (DeclarationError, [f"{DEEPEST}", "an.field"], many_tokens),
    "a cube": (
        DeclarationError,
        ["`(q - k) * (q - k) * (q - k)`", "64 bits", "at most two", "abs(q - k) <= 2"],
        lambda: mask(lambda q, k: (q - k) ** 3 < 9),
    ),
    "a large constant": (
        DeclarationError,
        ["`q * 1099511627776`", "smaller constants help"],
        lambda: mask(lambda q, k: q * 2**40 < k),
    ),
    "parameters multiplied": (
        DeclarationError,
        ["`q * w * w`", "an.param(name, low="],
        lambda: mask(lambda q, k: q * param("w") * param("w") < k),
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_declarations(case: str) -> None:
    error, parts, declare = ERRORS[case]
    with pytest.raises(AttnirError) as caught:
        declare()
    assert caught.type is error
    assert [part for part in parts if part not in str(caught.value)] == []
    if issubclass(error, DeclarationError):
        assert f"at {__file__}:" in str(caught.value)


@pytest.mark.parametrize("name", sorted(RESERVED | {"lambda", "None", "class"}))
def test_names_with_a_meaning_of_their_own_are_refused(name: str) -> None:
    for declare in (field, param):
        with pytest.raises(DeclarationError, match=f"'{name}' cannot name a field or a parameter"):
            declare(name)


@pytest.mark.parametrize(
    "name", ["start", "stop", "full_start", "done_0", "let", "tiles", "sweep", "later", "param", "x1"]
)
def test_names_that_programs_use_are_free(name: str) -> None:
    f = field(name, sorted=True)
    m = causal() & mask(lambda q, k: f(q) == f(k))
    assert shown(m, 3, **{name: torch.tensor([0, 0, 1])}) == ["1..", "11.", "..1"]
    assert parse(str(m)) == m
