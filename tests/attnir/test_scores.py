"""Scores: what they say, how they print and read, what they mean, their derivatives, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import attnir as an
from attnir import real
from attnir.arrange import arrange
from attnir.call import Call
from attnir.errors import AttnirError, ConditionExpectedError, DeclarationError, IntegerExpectedError, TextError
from attnir.errors import UnknownNameError as Unknown
from attnir.evaluate import dense_mask, dense_score
from attnir.expr import Expr
from attnir.program_text import read_program
from attnir.scores import Pattern, Score
from attnir.testing.expressions import calls, predicates, scores
from attnir.testing.meaning import meaning, pairs
from attnir.traverse import substitute
from attnir.walk import pair_map
from tests.test_bad_input import wrong

DOC, N = an.field("doc"), an.field("n")
SOFT = an.score(lambda s, q, k: an.where(DOC(q) == DOC(k), s, s - 4.0))

TINY, HUGE = an.score(lambda s: -1e12), an.score(lambda s: s * 1e12)

PRINTED: dict[str, Score] = {
    "s": an.score(lambda s: s),
    "s * 0.5 + 1.0": an.score(lambda s: 0.5 * s + 1),
    "s - 1.0": an.score(lambda s: s + -1.0),
    "(s - 1.0) * 2.0": an.score(lambda s: (s - 1.0) * 2.0),
    "-(s + 1.0)": an.score(lambda s: -(s + 1.0)),
    "0.25": an.score(lambda s: 0.25),
    "float(q - k)": an.score(lambda s, q, k: q - k),
    "float(k % 3)": an.score(lambda k: k % 3),
    "1.0": an.score(lambda s: 1),
    "s - (q - k) * 0.125": an.score(lambda s, q, k: s - (q - k) * 0.125),
    "where(k < 4, s + log(k + 1), 0.0)": an.score(lambda s, k: an.where(k < 4, s + an.log(k + 1), 0.0)),
    "s * (h + 1)": an.score(lambda s, h: s * (h + 1)),
    "s * 1e-05": an.score(lambda s: 1e-5 * s),
}


@pytest.mark.parametrize("text", PRINTED)
def test_a_score_prints_as_declared_and_reads_back(text: str) -> None:
    pattern = an.pattern(an.causal(), score=PRINTED[text])
    assert str(pattern) == ("k <= q" if text == "s" else f"k <= q; score = {text}")
    assert an.pattern(an.parse(str(pattern))) == pattern


def test_declarations_of_mask_and_score_stand_together() -> None:
    page = an.concat(text=5, image=an.grid(y=5, x=7))
    near = an.mask(lambda q, k: (abs(q.y - k.y) < 2) | k.in_("text"), grid=page)
    fades = an.score(lambda s, q, k: an.where(DOC(q) == DOC(k), s, s - 0.5 * abs(q.x - k.x)), grid=page)
    pattern = an.pattern(near, score=[fades, an.multiplicity(lambda k: N(k))])
    assert str(pattern).startswith("doc = field(); n = field(); q, k = concat(text=5, image=grid(y=5, x=7)); ")
    assert "k.x" in str(pattern).split("score = ")[1]
    assert an.parse(str(pattern)) == pattern
    assert [f.name for f in pattern.fields] == ["doc", "n"]


def test_scores_change_what_the_one_before_gave() -> None:
    halved, shifted = an.score(lambda s: 0.5 * s), an.score(lambda s: s + 1.0)
    assert an.pattern(an.full(), score=[halved, shifted]).score is real.add(
        real.mul(real.SCORE, real.real(0.5)), real.ONE
    )
    assert str(an.pattern(an.full(), score=[shifted, halved])) == "True; score = (s + 1.0) * 0.5"
    once = an.pattern(an.pattern(an.full(), score=halved), score=shifted)
    assert once == an.pattern(an.full(), score=[halved, shifted])
    assert an.compile(an.full(), score=[halved, shifted]) == an.compile(once)


@pytest.mark.parametrize("after", ["-s", "s + s", "s * s", "where(k < 3, s, -s)", "s - s", "s * 2.0 + s"])
@pytest.mark.parametrize("before", ["q - k", "(q - k) * 3", "q * k", "2", "float(k)"])
def test_scores_of_integers_stay_real(before: str, after: str) -> None:
    first, second = (an.parse(f"True; score = {text}") for text in (before, after))
    assert isinstance(first, Pattern) and isinstance(second, Pattern)
    both = an.pattern(an.full(), score=[Score(first.score), Score(second.score)])
    assert an.pattern(an.parse(str(both))) == both


def test_a_pattern_on_fewer_pairs() -> None:
    soft = an.pattern(an.full(), score=SOFT)
    assert soft & an.causal() == an.pattern(an.causal(), score=SOFT)
    with pytest.raises(DeclarationError, match="masks combine with masks"):
        soft & wrong(soft)
    with pytest.raises(DeclarationError, match=r"an\.pattern\(mask, score=\.\.\.\)"):
        an.causal() & wrong(an.softcap(3.0))


def test_what_has_a_pattern_is_none() -> None:
    with pytest.raises(DeclarationError, match=r"not <Attention k <= q>; it has its own: `\.pattern`"):
        an.pattern(wrong(an.compile(an.causal())))
    with pytest.raises(DeclarationError, match="not a Graph; declare one"):
        an.pattern(wrong(an.catalog.build("nsa")))


def test_a_pattern_without_scores_is_its_mask() -> None:
    pattern = an.pattern(an.causal())
    assert an.compile(pattern) == an.compile(an.causal())
    assert str(pattern) == str(an.causal()) and an.parse(str(pattern)) == an.causal()


COUNTS: dict[str, tuple[Any, Callable[[int, int], int]]] = {
    "2": (2, lambda q, k: 2),
    "0": (0, lambda q, k: 0),
    "where": (lambda q, k: an.where(k < 3, 2, 1), lambda q, k: 2 if k < 3 else 1),
    "two": (
        lambda q, k: an.where(q // 4 == k // 4, 1, 0) + an.where(k % 4 < 1, 1, 0),
        lambda q, k: (q // 4 == k // 4) + (k % 4 < 1),
    ),
    "nested": (
        lambda q, k: an.where(k < 6, an.where(k < 2, 0, 3), an.where(q > 7, -1, 1)),
        lambda q, k: (0 if k < 2 else 3) if k < 6 else -1 if q > 7 else 1,
    ),
    "arithmetic": (lambda q, k: (q - k) // 3, lambda q, k: (q - k) // 3),
    "many": (
        lambda q, k: sum((an.where(k == i, i, 0) for i in range(11)), start=an.where(q == 0, 1, 0)),
        lambda q, k: (q == 0) + k * (k < 11),
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_multiplicity_counts_keys_and_hides_those_that_count_not_at_all(name: str) -> None:
    declared, plain = COUNTS[name]
    pattern = an.pattern(an.full(), score=an.multiplicity(declared))
    call = pattern.signature.bind({}, batch=1, heads=1, q_len=12, k_len=12)
    expected = torch.tensor([[plain(q, k) for k in range(12)] for q in range(12)])
    assert torch.equal(dense_mask(pattern.predicate, call)[0, 0], expected > 0)
    changed = dense_score(pattern.score, call)(torch.zeros(1, 1, 12, 12, dtype=torch.float64))[0, 0]
    torch.testing.assert_close(changed, expected.clamp(min=1).double().log())


def test_counted_conditions_are_solved_as_conditions() -> None:
    two = an.multiplicity(lambda q, k: an.where(q // 4 == k // 4, 1, 0) + an.where(k < 8, 1, 0))
    assert str(an.pattern(an.full(), score=two)).split("; ")[0] == "(q // 4 == k // 4) | (k < 8)"
    assert an.compile(an.causal(), score=two).explain(4096, tile=(64, 64)).tiles.empty > 1900


def test_a_key_that_counts_three_times_is_a_key_that_stands_there_three_times() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, 7, 8), torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8)
    n = torch.tensor([1, 3, 0, 2, 1])
    o, lse = an.reference(an.full(), score=an.multiplicity(lambda k: N(k)))(
        q, k, v, n=(n[:1].expand(7), n), return_lse=True
    )
    again = [t.repeat_interleave(n, 2) for t in (k, v)]
    plain, plain_lse = an.reference(an.full())(q, *again, return_lse=True)
    torch.testing.assert_close(o, plain)
    torch.testing.assert_close(lse, plain_lse)


def test_a_logit_of_zero_stays_in_the_denominator() -> None:
    q, k = torch.full((1, 1, 1, 4), 3.0), torch.full((1, 1, 2, 4), 5.0)
    v = torch.tensor([[1.0], [2.0]]).view(1, 1, 2, 1)
    erased = an.score(lambda s, k: an.where(k == 1, 0.0, s))
    weight = math.exp(30.0) / (math.exp(30.0) + 1)
    o = an.reference(an.full(), score=erased)(q, k, v)
    assert math.isclose(o.item(), weight + 2 * (1 - weight), rel_tol=1e-12)


@st.composite
def pairs_of(draw: st.DrawFn) -> tuple[Expr, Expr, Call]:
    predicate, score = draw(predicates), draw(scores)
    return predicate, score, draw(calls(predicate, score, longest=6))


@given(pairs_of())
def test_random_scores_mean_what_they_say(drawn: tuple[Expr, Expr, Call]) -> None:
    _, score, call = drawn
    s = torch.linspace(-3, 3, call.batch * call.heads * call.q_len * call.k_len, dtype=torch.float64)
    s = s.view(call.batch, call.heads, call.q_len, call.k_len)
    found = dense_score(score, call)(s).flatten().tolist()
    expected = [
        meaning(score, {**at, "s": value}, call) for at, value in zip(pairs(call), s.flatten().tolist(), strict=True)
    ]
    assert all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(found, expected, strict=True))


@given(pairs_of())
def test_random_scores_read_back(drawn: tuple[Expr, Expr, Call]) -> None:
    predicate, score, _ = drawn
    pattern = Pattern(an.Mask(predicate), score)
    assert an.pattern(an.parse(str(pattern))) == pattern
    for launch in arrange(predicate, (None, None), (8, 8), False, score).taken.launches:
        for program in launch:
            assert read_program(str(program)) == program


def test_scalars_of_a_program_stand_aside_for_what_the_score_reads() -> None:
    stop = an.param("stop", low=0)
    pattern = an.pattern(an.causal() & an.window(9, 0), score=an.score(lambda s, k: an.where(k < stop, s, 0.0)))
    ((program,),) = arrange(pattern.predicate, pattern.spaces, (8, 8), False, pattern.score).taken.launches
    assert "stop_" in dict(program.lets) and "stop" not in dict(program.lets)
    assert read_program(str(program)) == program
    call = pattern.signature.bind({"stop": 5}, batch=1, heads=1, q_len=30, k_len=30)
    assert torch.equal(pair_map((program,), call).live, dense_mask(pattern.predicate, call).long())


@given(pairs_of())
def test_the_slope_is_the_derivative(drawn: tuple[Expr, Expr, Call]) -> None:
    _, score, call = drawn
    s = torch.randn(call.batch, call.heads, call.q_len, call.k_len, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad((dense_score(score, call)(s) + 0.0 * s).sum(), s)
    torch.testing.assert_close(dense_score(real.slope(score), call)(s), expected)


@pytest.mark.parametrize("text", PRINTED)
def test_the_reference_passes_gradcheck(text: str) -> None:
    torch.manual_seed(0)
    leaves = [torch.randn(1, 2, n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 5, 5)]
    dense = an.reference(an.causal(), score=PRINTED[text])
    assert torch.autograd.gradcheck(lambda *t: dense(*t, return_lse=True), leaves)


def test_a_product_of_scores_has_a_slope() -> None:
    squared = an.score(lambda s: s * s * 0.5).value
    assert str(real.slope(squared)) == "(s + s) * 0.5"
    assert real.slope(substitute(squared, {real.SCORE: real.real(2.0)})) is real.ZERO


DECLARED: list[tuple[type[AttnirError], str, Callable[[], object]]] = [
    (DeclarationError, "returns the condition `k <= q`", lambda: an.score(lambda q, k: k <= q)),
    (DeclarationError, "returns None", lambda: an.score(lambda s: None)),
    (DeclarationError, "finite and at most 1e12, not inf", lambda: an.score(lambda s: s - math.inf)),
    (DeclarationError, "finite and at most 1e12, not nan", lambda: an.score(lambda s: s * math.nan)),
    (DeclarationError, "to hide pairs, use a mask", lambda: an.score(lambda s: s - 1e30)),
    (DeclarationError, "at most 1e12 in a score, not", lambda: an.score(lambda s: s - 2**50)),
    (DeclarationError, "at most 1e12 in a score, not", lambda: an.score(lambda s, k: an.where(k < 3, s, 2**41))),
    (DeclarationError, "-1e+24, lies beyond 1e+12", lambda: an.pattern(an.full(), score=[TINY, HUGE])),
    (DeclarationError, "lies beyond", lambda: an.pattern(an.full(), score=[HUGE] * 4)),
    (DeclarationError, "operations", lambda: an.pattern(an.full(), score=[an.score(lambda s: s * s * 0.5)] * 14)),
    (IntegerExpectedError, "`s` is a real number", lambda: an.score(lambda s, k: s // 2)),
    (IntegerExpectedError, "returns the real number `k * 0.5`", lambda: an.multiplicity(lambda k: 0.5 * k)),
    (IntegerExpectedError, "returns the condition `k <= q`", lambda: an.multiplicity(lambda q, k: k <= q)),
    (IntegerExpectedError, "returns 1.5 of type float", lambda: an.multiplicity(wrong(1.5))),
    (ConditionExpectedError, "`q < k` is a condition", lambda: an.score(lambda s, q, k: s + (q < k))),
    (Unknown, "a score's arguments are among s, q, k, b, h; `x`", lambda: an.score(lambda s, x: s)),
    (Unknown, "a multiplicity's arguments are among q, k, b, h; `s`", lambda: an.multiplicity(lambda s: 1)),
    (DeclarationError, "a score is declared by a function", lambda: an.score(wrong(0.5))),
    (DeclarationError, "what an.score(lambda s, q, k: ...) gives, not", lambda: an.compile(an.full(), score=wrong(3))),
    (DeclarationError, "gives, not <Mask", lambda: an.compile(an.full(), score=wrong([an.causal()]))),
    (DeclarationError, "a pattern is a mask", lambda: an.pattern(wrong(SOFT))),
    (
        DeclarationError,
        "`doc` names two different",
        lambda: an.pattern(an.mask(lambda q, k: an.field("doc", sorted=True)(q) == 1), score=SOFT),
    ),
    (DeclarationError, "a meaning of its own", lambda: an.field("s")),
    (
        DeclarationError,
        "arrange the queries differently",
        lambda: an.pattern(
            an.neighborhood(an.grid(y=4, x=4), 3),
            score=an.score(lambda s, q: s + q.y, grid=an.grid(y=2, x=8)),
        ),
    ),
]


@pytest.mark.parametrize(("kind", "words", "declare"), DECLARED, ids=[words for _, words, _ in DECLARED])
def test_what_is_no_score_is_refused(kind: type[AttnirError], words: str, declare: Callable[[], object]) -> None:
    with pytest.raises(AttnirError) as caught:
        declare()
    assert type(caught.value) is kind
    assert words in str(caught.value).rpartition("\n")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("causal; score = k <= q", "a score is a number"),
        ("causal; score = s + x", "unknown name `x`"),
        ("causal; score = s / 0", "the divisor is zero"),
        ("causal; score = s / (1 - 1)", "the divisor is zero"),
        ("t = tensor(n, dtype=float); causal; score = s + t[k, q]", "`t` has 1 axes, 2 integers given"),
        ("t = tensor(n, dtype=float); causal; score = s + t[s]", "an integer is needed here"),
        ("t = tensor(n, dtype=float); t[k] < 3", "an integer is needed here, not the real number"),
        ("causal; score = s - 1e400", "to hide pairs, use a mask"),
        ("s <= q", "unknown name `s`"),
        ("0.5", "`0.5` is a real number"),
        ("k < 0.5", "not the real number `0.5`"),
        ("score = s", "not an expression"),
    ],
)
def test_text_that_is_no_score_is_refused(text: str, words: str) -> None:
    with pytest.raises(TextError) as caught:
        an.parse(text)
    assert words in str(caught.value)


def test_a_field_of_the_score_is_asked_for() -> None:
    q = torch.randn(1, 1, 4, 8)
    with pytest.raises(an.AttnirError, match="the pattern reads `doc`"):
        an.compile(an.causal(), score=SOFT)(q, q, q)
    assert "doc" in str(an.compile(an.causal(), score=SOFT).explain(64, doc=torch.zeros(64, dtype=torch.int64)))


def test_a_score_leaves_conditions_as_they_are() -> None:
    before = an.compile(an.causal()).explain(512, tile=(64, 64))
    after = an.compile(an.causal(), score=an.score(lambda s: s * 2.0)).explain(512, tile=(64, 64))
    assert (before.live_pairs, before.tiles) == (after.live_pairs, after.tiles)
