"""Tracing: a lambda means the same on symbols as on integers, and what Python would do behind its back is an error."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import attnir as an
from attnir.errors import (
    AttnirError,
    ConditionExpectedError,
    ControlFlowError,
    DeclarationError,
    DivisorError,
    IntegerExpectedError,
    UnknownNameError,
)
from attnir.facts import field, param
from attnir.masks import causal, mask, window
from attnir.testing.meaning import meaning

Lambda = Callable[..., Any]

MEANINGS: list[Lambda] = [
    lambda q, k: q >= k,
    lambda q, k: (q > k) & (k < 4),
    lambda q, k: (q == k) | (k != 2) & (q <= 5),
    lambda q, k: (q < 3) ^ (k < 3),
    lambda q, k: abs(q - k) <= 2,
    lambda q, k: -q + 5 > 3 - k,
    lambda q, k: 2 * q - k * 3 < +k,
    lambda q, k: 7 - q == k,
    lambda q, k: (q - k) // 3 >= -1,
    lambda q, k: (q - k) // -3 >= -1,
    lambda q, k: (q - k) % 3 == 1,
    lambda q, k: (q - k) % -4 < -1,
    lambda q, k: 17 // (k + 1) > 17 % (q + 1),
    lambda q, k: (q - k) ** 2 <= 9,
    lambda q, k: (q % 3) ** 4 - (q % 3) ** 0 < k,
    lambda q, k: sum([q, k, 1]) % 2 == 0,
    lambda q, k: True & (q < k),
    lambda q, k: False | (q < k),
    lambda k, q: q - k <= 2,
    lambda q, k, h, b: q - k <= h - b,
    lambda h: h >= 1,
    lambda: True,
]


@pytest.mark.parametrize("function", MEANINGS, ids=lambda f: inspect.getsource(f).strip())
def test_a_lambda_means_the_same_on_symbols_and_on_integers(function: Lambda) -> None:
    predicate = mask(function).predicate
    names = list(inspect.signature(function).parameters)
    for q in range(7):
        for k in range(7):
            tokens = {"q": q, "k": k, "b": 1, "h": 3}
            assert meaning(predicate, tokens) == function(**{n: tokens[n] for n in names})


def test_choices_and_extremes() -> None:
    predicate = mask(lambda q, k: an.where(q < 3, k, 5 - k) + an.minimum(q, 4) <= an.maximum(k, 3)).predicate
    for q in range(7):
        for k in range(7):
            expected = (k if q < 3 else 5 - k) + min(q, 4) <= max(k, 3)
            assert meaning(predicate, {"q": q, "k": k}) == expected


def test_integers_of_other_libraries_are_integers() -> None:
    plain = mask(lambda q, k: (q + 3 < k) & (k <= 7))
    assert plain == mask(lambda q, k: (q + np.int64(3) < k) & (k <= np.int32(7)))
    assert plain == mask(lambda q, k: (q + torch.tensor(3) < k) & (k <= torch.tensor(7)))
    assert mask(lambda q, k: 3 <= q) == mask(lambda q, k: np.int64(3) <= q)


def test_arguments_may_be_keywords_or_positional() -> None:
    def starred(q: Any, /, *, k: Any) -> Any:
        return k <= q

    assert mask(starred) == causal()


def test_a_lambda_is_called_once() -> None:
    calls = []
    mask(lambda q, k: calls.append(1) or q >= k)  # type: ignore[func-returns-value]
    assert calls == [1]


DOC = field("doc")
IDS = torch.arange(8)
W = param("w")
SIZE = an.tensor("size", "h")

# Each lambda is one line, which the message must show. (error, what the message says, lambda)
ERRORS: list[tuple[type[DeclarationError], list[str], Lambda]] = [
    (ControlFlowError, ["`q < k`", "&", "an.where"], lambda q, k: q < k and k < 3),
    (ControlFlowError, ["`q < k`", "|"], lambda q, k: q < k or k < 3),
    (ControlFlowError, ["`q < k`", "~"], lambda q, k: not q < k),
    (ControlFlowError, ["`q < k`", "an.where"], lambda q, k: k if q < k else q),
    (ControlFlowError, ["`q`"], lambda q, k: k < 3 if q else k < 4),
    (ControlFlowError, ["in"], lambda q, k: q in (0, 1)),
    (ControlFlowError, ["`min`", "an.minimum"], lambda q, k: min(q, k) < 3),
    (ControlFlowError, ["`max`", "an.maximum"], lambda q, k: max(q, k) < 3),
    (ControlFlowError, ["chained"], lambda q, k: 0 <= k <= q),
    (ControlFlowError, ["`k`"], lambda q, k: any([k, q])),
    (ControlFlowError, ["combine masks with `&`"], lambda q, k: causal() and window(3)),
    (IntegerExpectedError, ["`q + 1.5` is a real number", "integer"], lambda q, k: q + 1.5 < k),
    (IntegerExpectedError, ["not 2.0 of type float"], lambda q, k: q < 2.0),
    (IntegerExpectedError, ["`/`", "`//`"], lambda q, k: q / 2 < k),
    (IntegerExpectedError, ["`/`", "`//`"], lambda q, k: 2 / (q + 1) < k),
    (IntegerExpectedError, ["'a' of type str"], lambda q, k: q < "a"),
    (IntegerExpectedError, ["None"], lambda q, k: q + None < k),
    (IntegerExpectedError, ["ndarray"], lambda q, k: np.arange(3) < q),
    (IntegerExpectedError, ["exponent", "0 to 4"], lambda q, k: q**-1 < k),
    (IntegerExpectedError, ["exponent", "0 to 4"], lambda q, k: q**k < k),
    (IntegerExpectedError, ["71 bits"], lambda q, k: q < 2**70),
    (IntegerExpectedError, ["16610 bits"], lambda q, k: q < 10**5000),
    (IntegerExpectedError, ["no number yet"], lambda q, k: int(q) < 3),
    (IntegerExpectedError, ["no number yet"], lambda q, k: [1, 2][q] < 3),
    (IntegerExpectedError, ["no number yet"], lambda q, k: k < sum(range(q))),
    (IntegerExpectedError, ["no number yet"], lambda q, k: round(float(q)) < 3),
    (ConditionExpectedError, ["`q < k` is a condition"], lambda q, k: (q < k) + 1 < 3),
    (ConditionExpectedError, ["`q < k` is a condition"], lambda q, k: (q < k) == (k < 3)),
    (ConditionExpectedError, ["True is a condition"], lambda q, k: q + True < 3),
    (ConditionExpectedError, ["not `q`", "compare it first"], lambda q, k: q & (k < 3)),
    (ConditionExpectedError, ["not `1`"], lambda q, k: (k < 3) | 1),
    (ConditionExpectedError, ["not `q`"], lambda q, k: ~q),
    (ConditionExpectedError, ["not `k - q`"], lambda q, k: an.where(k - q, q, k) < 3),
    (ConditionExpectedError, ["returns the integer `q - k`"], lambda q, k: q - k),
    (ConditionExpectedError, ["returns None"], lambda q, k: None),
    (ConditionExpectedError, ["returns 1 of type int"], lambda q, k: 1),
    (ConditionExpectedError, ["Mask"], lambda q, k: (q < k) & causal()),
    (DeclarationError, ["masks combine with masks, not with q < k"], lambda q, k: causal() & (q < k)),
    (UnknownNameError, ["nowhere"], lambda q, k: q < nowhere),  # type: ignore[name-defined]  # noqa: F821
    (UnknownNameError, ["`q` has no coordinate `y`"], lambda q, k: q.y < k.y),
    (UnknownNameError, ["`q - k` has no coordinate `shape`"], lambda q, k: (q - k).shape < 3),
    (UnknownNameError, ["among q, k, b, h", "`query`"], lambda query, k: query < k),
    (UnknownNameError, ["among q, k, b, h", "`w`"], lambda q, k, w=3: q - k < w),
    (UnknownNameError, ["among q, k, b, h", "`*args`"], lambda *args: args[0] < 3),
    (UnknownNameError, ["among q, k, b, h", "`*more`"], lambda q, **more: q < 3),
    (DivisorError, ["`k` can be zero", "an.maximum(k, 1)"], lambda q, k: q % k == 0),
    (DivisorError, ["`0` is zero"], lambda q, k: q // 0 == 1),
    (DivisorError, ["`w` can be zero", 'an.param("w", low=1)'], lambda q, k: q // W == k // W),
    (DivisorError, ["`w * 2`", "an.maximum(w * 2, 1)"], lambda q, k: q // (2 * W) == k),
    (DivisorError, ["`doc(k)`", "an.maximum(doc(k), 1)"], lambda q, k: q % DOC(k) == 0),
    (DivisorError, ["`size[h]`", "an.maximum(size[h], 1)"], lambda q, k, h: q // SIZE[h] == k),
    (DivisorError, ["`h - 3`", "an.maximum(h - 3, 1)"], lambda q, k, h: 5 // (h - 3) == 0),
    (DeclarationError, ["`doc`", "doc(q) or doc(k)", "`q + 1`"], lambda q, k: DOC(q + 1) == 2),
    (DeclarationError, ["`doc`", "doc(q) or doc(k)", "`3`"], lambda q, k: DOC(3) == 2),
    (DeclarationError, ["`doc`", "not at `h`"], lambda q, k, h: DOC(h) == 2),
    (DeclarationError, ["shifts are not part of the language", "`q`", "q * 64"], lambda q, k: q << 1 < k),
    (DeclarationError, ["shifts are not part of the language", "q // 64"], lambda q, k: 1 >> q < k),
    (ConditionExpectedError, ["not `q`", "q & 63 is q % 64"], lambda q, k: (q & 63) == 0),
    (ConditionExpectedError, ["not `q`", "no operations on bits"], lambda q, k: q ^ k < 4),
    (DeclarationError, ["not part of the language", "`q`", 'an.field("ids")'], lambda q, k: IDS[q] == IDS[k]),
    (DeclarationError, ["`q // 2`", "an.field"], lambda q, k: IDS.view(2, 4)[q // 2, k // 2] == 1),
    (IntegerExpectedError, ["an.field"], lambda q, k: [1, 2][q] == 1),
    (IntegerExpectedError, ["not Value", "write abs"], lambda q, k: torch.abs(q - k) < 4),
    (IntegerExpectedError, ["Value", "write abs"], lambda q, k: np.abs(q - k) < 4),
    (IntegerExpectedError, ["Token", "an.where"], lambda q, k: torch.where(q < 4, q, k) < 4),
    (IntegerExpectedError, ["`&`, `|`, `~` for conditions"], lambda q, k: torch.logical_and(q < 4, k < 4)),
    (UnknownNameError, ["rename q_idx to q, kv_idx to k"], lambda b, h, q_idx, kv_idx: q_idx >= kv_idx),
    (DeclarationError, ["not part of the language"], lambda q, k: 2**q < k),
    (DeclarationError, ["not part of the language"], lambda q, k: q[0] < k),
    (DeclarationError, ["not part of the language"], lambda q, k: divmod(q, 2) < (k, 1)),
    (DeclarationError, ["not part of the language"], lambda q, k: [x for x in q] == []),
    (DeclarationError, ["not part of the language"], lambda q, k: len(q) < 3),
    (DeclarationError, ["not part of the language"], lambda q, k: q(k) < 3),
    (DeclarationError, ["not part of the language"], lambda q, k: q @ k < 3),
]


@pytest.mark.parametrize("error, parts, function", ERRORS, ids=[f"{e[0].__name__}-{e[1][0]}" for e in ERRORS])
def test_what_the_language_lacks(error: type[DeclarationError], parts: list[str], function: Lambda) -> None:
    with pytest.raises(AttnirError) as caught:
        mask(function)
    assert caught.type is error
    message = str(caught.value)
    problem = message.rpartition("\n")[0]  # without the user's line, which may say the same
    assert [part for part in parts if part not in problem] == []
    assert f"{__file__}:{function.__code__.co_firstlineno}: " in message  # the user's line ...
    assert "lambda" in message.splitlines()[-1]  # ... and its text


def test_the_message_names_the_line_inside_a_function() -> None:
    def pattern(q: Any, k: Any) -> Any:
        near = abs(q - k) < 4
        return near and k <= q  # the culprit

    with pytest.raises(ControlFlowError, match="return near and k <= q  # the culprit"):
        mask(pattern)


def test_the_message_names_the_line_of_a_helper() -> None:
    def close(q: Any, k: Any) -> Any:
        return q - k < 0.5  # deep inside

    with pytest.raises(IntegerExpectedError, match="# deep inside"):
        mask(lambda q, k: close(q, k))


@pytest.mark.parametrize("given", [3, None, "k <= q", torch.ones(3)])
def test_only_functions_are_traced(given: object) -> None:
    with pytest.raises(DeclarationError, match="a function of q and k"):
        mask(given)  # type: ignore[arg-type]


def test_errors_of_the_user_stay_their_own() -> None:
    def broken(q: Any, k: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        mask(broken)


def test_errors_of_functions_that_know_nothing_of_symbols_stay_their_own() -> None:
    with pytest.raises(TypeError, match="can only concatenate") as caught:
        mask(lambda q, k: [] + 1)  # type: ignore[operator]
    assert not isinstance(caught.value, AttnirError)


def test_an_array_that_is_indexed_leads_to_fields() -> None:
    with pytest.raises(IndexError) as caught:
        mask(lambda q, k: np.arange(8)[q] == 2)
    assert "an.field" in "".join(caught.value.__notes__)


def test_a_symbolic_value_is_no_dictionary_key() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        mask(lambda q, k: {q: 1}[q] < 3)


@pytest.mark.parametrize("error, builtin", [(IntegerExpectedError, TypeError), (ControlFlowError, TypeError)])
def test_errors_are_also_the_builtin_ones(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)
    assert issubclass(DivisorError, ZeroDivisionError)
    assert issubclass(UnknownNameError, NameError)


def test_where_chooses_between_conditions_too() -> None:
    chosen = mask(lambda q, k: an.where(q % 2 == 0, k == q, k < q)).predicate
    assert chosen is mask(lambda q, k: ((q % 2 == 0) & (k == q)) | (~(q % 2 == 0) & (k < q))).predicate
