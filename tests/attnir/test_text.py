"""Texts: what is printed reads back to the same node, and what cannot be read says where and why, and runs nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import attnir as an
from attnir import expr as ex
from attnir.cover import cover
from attnir.errors import InvalidProgram, TextError
from attnir.expr import Expr, K, Q
from attnir.limits import predicate_problem
from attnir.ops import Op, ParamDecl
from attnir.pattern_text import read_predicate
from attnir.printing import format_predicate
from attnir.program_text import read_program
from attnir.scores import parse
from attnir.testing import expressions as some
from attnir.testing.meaning import meaning
from tests.patterns import PATTERNS
from tests.test_bad_input import wrong

W = ex.param(ParamDecl("w"))


@given(some.predicates)
@settings(max_examples=300)
def test_predicates_read_back_to_the_same_node(p: Expr) -> None:
    assert read_predicate(format_predicate(p)) is p


@given(some.integers)
@settings(max_examples=200)
def test_integers_read_back_to_the_same_node(e: Expr) -> None:
    p = ex.compare(Op.LE, e, K * 3 - 7)
    assume(not predicate_problem(p))
    assert read_predicate(format_predicate(p)) is p


@given(st.data())
@settings(max_examples=150)
def test_programs_read_back_to_equal_programs(data: st.DataObject) -> None:
    program = cover(data.draw(some.predicates), data.draw(some.tiles), transposed=data.draw(st.booleans()))
    assert read_program(str(program)) == program


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns_and_their_programs_read_back(name: str, transposed: bool) -> None:
    mask = PATTERNS[name].mask(7)
    assert parse(str(mask)) == mask
    for tile in ((128, 64), (16, 16), (3, 5)):
        program = cover(mask.predicate, tile, transposed=transposed)
        assert read_program(str(program)) == program


@pytest.mark.parametrize(
    "e, text",
    [
        (Q - (K - 1), "q - (k - 1)"),
        (Q - K - 1, "q - k - 1"),
        (Q + (K + 1), "q + (k + 1)"),
        (Q * (K + 1), "q * (k + 1)"),
        (Q * K + 1, "q * k + 1"),
        (Q // 3 * 3, "q // 3 * 3"),
        (3 * (Q // 3), "3 * (q // 3)"),
        (Q % 5 % 3, "q % 5 % 3"),
        (Q % (K % (W + 3)), "q % (k % (w + 3))"),
        (-Q * K, "-q * k"),
        (-(Q * K), "-(q * k)"),
        (-Q - -K, "-q - -k"),
        (-(Q - K), "-(q - k)"),
        (Q * -3, "q * (-3)"),
        (-3 * Q, "-3 * q"),
        (-3 - Q, "-3 - q"),
        (Q // -3, "q // (-3)"),
        (ex.minimum(ex.minimum(Q, K), 3), "min(q, k, 3)"),
        (ex.minimum(Q, ex.minimum(K, 3)), "min(q, min(k, 3))"),
        (ex.maximum(ex.minimum(Q, K), 3), "max(min(q, k), 3)"),
        (ex.where(Q < K, Q, -1), "where(q < k, q, -1)"),
        ((Q < 3) & ((K < 3) | (Q < K)), "(q < 3) & ((k < 3) | (q < k))"),
        (((Q < 3) & (K < 3)) | (Q < K), "(q < 3) & (k < 3) | (q < k)"),
        ((Q < 3) & ((K < 3) & (Q < K)), "(q < 3) & ((k < 3) & (q < k))"),
        (~(Q < 3) & (K < 3), "~(q < 3) & (k < 3)"),
        (~((Q < 3) & (K < 3)), "~((q < 3) & (k < 3))"),
        (Q - K <= -3, "q - k <= -3"),
        (ex.TRUE, "True"),
    ],
)
def test_parentheses_stand_where_python_needs_them(e: Expr, text: str) -> None:
    assert str(e) == text
    values = {"q": 11, "k": -4, "w": 6, "where": lambda c, a, b: a if c else b, "min": min, "max": max}
    by_python = eval(text.replace("~", "not "), {"__builtins__": {}}, values)  # a text of this test, not of a user
    assert by_python == meaning(e, {"q": 11, "k": -4, "w": 6})


def test_declarations_stand_before_the_predicate() -> None:
    text = "doc = field(sorted=True); kind = field(); n = param(low=1, high=64); w = param(); (doc(q) == doc(k)) & "
    text += "(kind(k) == w) & (q // n == k // n)"
    assert format_predicate(read_predicate(text)) == text


# (text, the part under the caret, what the message says)
ERRORS: list[tuple[str, str, str]] = [
    ("q < nowhere", "nowhere", "unknown name `nowhere`; known: b, h, k, q"),
    ("(q < k) & causal", "causal", "unknown name `causal`"),
    ("doc(q) == doc(k)", "doc(q)", "declare a field first: doc = field()"),
    ("minimum(q, 3) < k", "minimum(q, 3)", "near it: min"),
    ("doc = field(); doc(q) == doc", "doc", "unknown name `doc`"),
    ("doc = field(); doc(q + 1) == 3", "doc(q + 1)", "read at a token: doc(q) or doc(k)"),
    ("doc = field(); doc(3) == 3", "doc(3)", "read at a token"),
    ("doc = field(); doc(q, k) == 3", "doc(q, k)", "read at a token"),
    ("doc = field(); doc(b) == 3", "doc(b)", "read at a token"),
    ("w = param(); w(q) == 3", "w(q)", "unknown name `w`"),
    ("q", "q", "a mask is a condition"),
    ("q + 1 < 2.5", "2.5", "not the real number `2.5`"),
    ("q < 'k'", "'k'", "not part of the language"),
    ("q < None", "None", "not part of the language"),
    ("q / 2 < k", "q / 2", "not part of the language; it has + - * //"),
    ("q ** 2 < k", "q ** 2", "not part of the language"),
    ("q << 2 < k", "q << 2", "not part of the language"),
    ("+q < k", "+q", "not part of the language"),
    ("not q < k", "not q < k", "not part of the language"),
    ("q < k and k < 3", "q < k and k < 3", "not part of the language"),
    ("k < 3 if q < 4 else k < 5", "k < 3 if q < 4 else k < 5", "not part of the language"),
    ("0 <= k <= q", "0 <= k <= q", "not part of the language"),
    ("k in q", "k in q", "not part of the language"),
    ("q.y < k.y", "q.y", "not part of the language"),
    ("q[0] < k", "q[0]", "not part of the language"),
    ("abs(x=q) < k", "abs(x=q)", "not part of the language"),
    ("(q < k) < 3", "q < k", "an integer is needed here, not the condition `q < k`"),
    ("q & (k < 3)", "q", "a condition is needed here, not the integer `q`"),
    ("~(q + k)", "q + k", "a condition is needed here"),
    ("q + True < 3", "True", "an integer is needed here"),
    ("where(q, k, 3) < 4", "q", "a condition is needed here"),
    ("where(q < k, k < 3, 3) < 4", "k < 3", "an integer is needed here"),
    ("where(q < k, 3) < 4", "where(q < k, 3)", "where takes 3 arguments, 2 given"),
    ("abs(q, k) < 4", "abs(q, k)", "abs takes 1 argument, 2 given"),
    ("min(q) < 4", "min(q)", "min takes 2 arguments, 1 given"),
    ("q % k == 0", "k", "the divisor `k` can be zero"),
    ("q // 0 == 0", "0", "the divisor `0` is zero"),
    ("width = param(); q // width == k", "width", "width = param(low=1)"),
    ("n = tensor(h); q // n[h] == k", "n[h]", "max(n[h], 1)"),
    ("doc = field(); q % doc(q) == k", "doc(q)", "max(doc(q), 1)"),
    ("q < 99999999999999999999", "99999999999999999999", "this large"),
    ("rowmin(q) < 3", "rowmin(q)", "unknown name `rowmin`"),
    ("doc = field(sorted=True); lower_bound(doc(k), q, q) < 3", "lower_bound(doc(k), q, q)", "unknown name"),
    ("(q < k", "(", "not an expression"),
    ("q < k)", ")", "not an expression"),
    ("q <", "", "not an expression"),
    ("ü < q", "ü", "unknown name `ü`"),
    ("(q < 3) & (ü < k)", "ü", "unknown name `ü`"),  # columns count characters, not bytes
    ("(k < 3) & (q <\n  nowhere)", "nowhere", "unknown name"),
]


@pytest.mark.parametrize("text, culprit, problem", ERRORS, ids=[e[0] for e in ERRORS])
def test_the_caret_points_at_the_culprit(text: str, culprit: str, problem: str) -> None:
    with pytest.raises(TextError) as caught:
        read_predicate(text)
    message = str(caught.value)
    assert problem in message
    if len(message.splitlines()) >= 3:
        *_, line, carets = message.splitlines()
        assert re.fullmatch(r" +\^+", carets)
        assert line[carets.index("^") : len(carets)] == culprit


@pytest.mark.parametrize(
    "text, problem",
    [
        ("doc = field(sorted=1); doc(q) == 1", "expected field()"),
        ("doc = field(sorted=[True]); doc(q) == 1", "expected field()"),
        ("doc = field(True); doc(q) == 1", "expected `name = field()`"),
        ("doc = field(y=1); doc(q) == 1", "expected field()"),
        ("n = tensor(); n == 1", "a tensor of integers has one for each sample, 'b'"),
        ("q = tensor(b); q == 1", "'q' cannot name"),
        ("n = tensor(b=1); n == 1", "tensor(b), tensor(h)"),
        ("n = vector(); n == 1", "tensor(b), tensor(h)"),
        ("w = param(low=1, low=2); q < w", "`low` is given twice"),
        ("doc = field(sorted=True, sorted=False); doc(q) == 1", "`sorted` is given twice"),
        ("q, k = grid(y=3, y=5); k <= q", "`y` is given twice"),
        ("q, k = concat(a=3, b=grid(y=2, x=2, y=2)); k <= q", "`y` is given twice"),
        ("q, k = grid(y=-3); k <= q", "`y` has -3 tokens"),
        ("q, k = grid(y=2.5); k <= q", "a size is an integer or a parameter, not `2.5`"),
        ("q, k = grid(y=2 * 3); k <= q", "a size is an integer or a parameter, not `2 * 3`"),
        ("n = field(); q, k = grid(y=n); k <= q", "a size is an integer or a parameter, not `n`"),
        ("q, k = grid(y=H); k <= q", "unknown name `H`; declare it before: H = param(low=1)"),
        ("q, k = grid(**{}); k <= q", "`**` is not part of the language"),
        ("q, k = grid(y=grid(x=3)); k <= q", "not <Space grid(x=3)>"),
        ("q, k = full(y=3); k <= q", "not `full(y=3)`"),
        ("h = heads(2); h = heads(3); k <= q", "declared twice: 2, and 3"),
        ("h = heads(0); k <= q", "from 1 to 2**20, h = heads(8), not '0'"),
        ("h = heads(-2); k <= q", "not '-2'"),
        ("h = heads(99999999999); k <= q", "not '99999999999'"),
        ("h = heads(1048577); k <= q", "not '1048577'"),
        ("h = heads(); k <= q", "not ''"),
        ("h = heads(n); k <= q", "not 'n'"),
        ("n = param(); assert n < 3; k <= q", "a call is held to `a <= b`"),
        ("n = param(); assert n // 2 <= 3; k <= q", "not to `n // 2 <= 3`"),
        ("n = param(); assert n; k <= q", "not to `n`"),
        ("assert k <= q; k <= q", "not to `k <= q`"),
        ("assert 1 <= 2; k <= q", "not to `True`"),
        ("assert; k <= q", "not an expression"),
        ("assert n <= 3; k <= q", "unknown name `n`"),
        ("w = param(low=1.5); q < w", "are integers, not 1.5"),
        ("w = param(low=None); q < w", "are integers, not None"),
        ("w = param(low=True); q < w", "are integers, not True"),
        ("w = param(low=3, high=1); q < w", "[3, 1]"),
        ("w = param(high=4294967296); q < w", "2**30"),
        ("w = param(low=2**9); q < w", "not a declaration"),
        ("w = param(low=print('x')); q < w", "not a declaration"),
        ("w = param(**{}); q < w", "not a declaration"),
        ("q = field(); q(q) == 1", "'q' cannot name"),
        ("min = field(); min(q) == 1", "'min' cannot name"),
        ("True = field(); q < k", "expected `name = field()`"),
        ("x = field(); x = param(); q < x", "`x` is declared twice"),
        ("w = u = param(); q < w", "expected `name = field()`"),
        ("import os; q < k", "expected `name = field()`"),
        ("q < k;", "expected `name = field()`"),
        ("", "not an expression"),
        (" ", "not an expression"),
        ("# nothing", "not an expression"),
        ("q\0< k", "not an expression"),
        ("q < k " * 2, "not an expression"),
        ("9" * 5000 + " < q", "not an expression"),
        ("-" * 3000 + "q < k", "nested too deeply"),
        ("(" * 1000 + "q < k" + ")" * 1000, "not an expression"),
        (" | ".join(["(q < k)"] * 3000), "nested too deeply"),
        (" | ".join(f"(k == {3 * i})" for i in range(200)), "at most 4096 and 128"),
        ("q * q * q < k", "64 bits"),
    ],
    ids=lambda text: text[:50],
)
def test_texts_that_are_refused_as_a_whole(text: str, problem: str) -> None:
    with pytest.raises(TextError, match=re.escape(problem)):
        read_predicate(text)


@pytest.mark.parametrize("given", [3, b"k <= q", None, ["k <= q"]], ids=repr)
def test_a_pattern_is_read_from_text_alone(given: object) -> None:
    with pytest.raises(TextError, match=re.escape(f"not from {given!r}")):
        parse(wrong(given))


@pytest.mark.parametrize(
    "text, part, problem",
    [
        ("window(1, 2, 3)", "window(1, 2, 3)", "window does not take 3 arguments"),
        ("causal & window", "window", "window does not take 0 arguments"),
        ("causal & window(-1, 0)", "window(-1, 0)", "which are none"),
        ("causal(1)", "causal(1)", "causal does not take 1 argument"),
        ("window(q < k)", "q < k", "an integer is needed here"),
        ("window(x)", "x", "unknown name `x`; known: b, causal, full, h, k, q, window"),
    ],
)
def test_short_forms_used_wrongly(text: str, part: str, problem: str) -> None:
    with pytest.raises(TextError) as caught:
        parse(text)
    assert problem in str(caught.value)
    *_, line, carets = str(caught.value).splitlines()
    assert line[carets.index("^") : len(carets)] == part


PROGRAM = str(cover(PATTERNS["window_sinks"].mask(16).predicate, (128, 64)))
TABLES = str(cover(PATTERNS["documents"].mask(1).predicate, (128, 64), transposed=True))
LISTED = str(cover(PATTERNS["checkerboard"].mask(1).predicate, (128, 64)))


@pytest.mark.parametrize(
    "before, after, problem",
    [
        ("tiles of 128 q by 64 k", "tiles of many q by 64 k", "a whole number of tokens, not 'many'"),
        ("tiles of 128 q by 64 k", "tiles of -1 q by 64 k", "not '-1'"),
        ("tiles of 128 q by 64 k", "tiles of 128 q by 64 q", "not a line of a tile program"),
        ("let stop", "let the stop", "not a line of a tile program"),
        (" full\n", " fully\n", "not a line of a tile program"),
        ("sweep k tiles in [0, ", "sweep k tiles in [0; ", "a sweep has a start and a stop"),
        ("sweep k tiles in [0, ", "sweep k tiles in [0, 1, ", "a sweep has a start and a stop"),
        ("sweep k tiles in [0, ", "sweep k tiles in (0, ", "not a line of a tile program"),
        ("sweep k", "sweep x", "not a line of a tile program"),
        ("where ", "whence ", "not a line of a tile program"),
        ("where ", "where nowhere & ", "unknown name `nowhere`"),
        ("let stop_0 = ", "let stop_0 = k + ", "reads `k`"),
        ("where ", "doc = field(sorted=True)\nlet x = lower_bound(doc(k), q0, stop_0)\nwhere ", "and a row"),
        ("where ", "doc = field(sorted=True)\nlet x = lower_bound(doc(q), q0, q1)\nwhere ", "and a row"),
        ("where ", "doc = field()\nlet x = doc(stop_0)\nwhere ", "read at a token"),
    ],
)
def test_lines_that_are_no_program(before: str, after: str, problem: str) -> None:
    assert before in PROGRAM
    with pytest.raises((TextError, InvalidProgram), match=re.escape(problem)):
        read_program(PROGRAM.replace(before, after, 1))


_SCRAPS = [
    "q",
    "k",
    "(",
    ")",
    "<",
    "==",
    "&",
    "|",
    "~",
    "-",
    "+",
    "*",
    "//",
    "%",
    "3",
    " ",
    ";",
    ",",
    "=",
    ".",
    "\n",
    "\\",
]
_SCRAPS += [
    "doc",
    "doc(",
    "field",
    "param(",
    "low=",
    "abs",
    "min(",
    "where(",
    "not ",
    " if ",
    " else ",
    "lambda ",
    "[",
    "]",
]
_SCRAPS += [
    "0",
    "1e9",
    "'",
    '"',
    "f'{",
    "}",
    "#",
    ":=",
    "**",
    "True",
    "None",
    "…",
    "\0",
    "\t",
    "let ",
    "sweep ",
    "tiles ",
]
_SCRAPS += ["causal", "window(", "__import__", "in [", " full", " partial", "because ", "rowmin(", "lower_bound(", "_"]


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A good text with a few scraps put in, or pieces cut out."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 5])))
        text = text[:start] + draw(st.sampled_from(["", *_SCRAPS])) + text[stop:]
    return text


garbage = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_SCRAPS), max_size=20).map("".join))


@given(st.one_of(garbage, damaged(some.predicates.map(format_predicate))))
@settings(max_examples=600)
@example("x = field(sorted=[1]); x(q) == 1")
@example("(" * 5000)
def test_garbage_is_a_text_error_or_a_mask(text: str) -> None:
    try:
        mask = parse(text)
    except TextError:
        return
    assert parse(str(mask)) == mask


@given(st.one_of(garbage, damaged(st.sampled_from([PROGRAM, TABLES, LISTED]))))
@settings(max_examples=600)
@example("tiles of 0 q by 0 k")
@example("sweep k tiles in [ full")
@example("sweep k tiles in [0, 1 full")
@example("where")
@example("because")
def test_garbage_is_a_text_error_or_a_program(text: str) -> None:
    try:
        program = read_program(text)
    except (TextError, InvalidProgram):
        return
    assert read_program(str(program)) == program


_watched: list[str] | None = None


def _watch(event: str, args: tuple[object, ...]) -> None:
    if _watched is not None and event in ("exec", "import", "open", "os.system", "subprocess.Popen", "socket.connect"):
        _watched.append(event)


sys.addaudithook(_watch)  # it cannot be removed; it listens only inside `watched`


@contextmanager
def watched() -> Iterator[list[str]]:
    """The events of code being run, modules imported and files opened."""
    global _watched
    _watched = []
    try:
        yield _watched
    finally:
        _watched = None


HOSTILE = [
    "__import__('os').system('touch {path}') < q",
    "open('{path}', 'w') < q",
    'exec(\'open("{path}", "w")\') < q',
    "(lambda: open('{path}', 'w'))() < q",
    "[open('{path}', 'w') for x in (1,)] < q",
    "(x := open('{path}', 'w')) < q",
    'f\'{{open("{path}", "w")}}\' < q',
    "().__class__.__base__.__subclasses__() < q",
    "w = param(low=open('{path}', 'w')); q < w",
    "w = field(sorted=__import__('os')); q < k",
    "exec = field(); exec('1') < q",
    "q < k; import os",
    "import os; q < k",
    "abs.__globals__ < q",
    "q < (yield)",
    "q < (await k)",
]


@pytest.mark.parametrize("read", [read_predicate, read_program])
@pytest.mark.parametrize("text", HOSTILE)
def test_reading_runs_nothing(text: str, read: object, tmp_path: Path) -> None:
    path = tmp_path / "touched"
    hostile = text.format(path=path)
    with watched() as events, pytest.raises(TextError):
        read(f"tiles of 4 q by 4 k\nwhere {hostile}" if read is read_program else hostile)  # type: ignore[operator]
    assert events == []
    assert not path.exists()


def test_the_watch_sees_what_is_run(tmp_path: Path) -> None:
    with watched() as events:
        eval("open(path, 'w').close()", {"path": tmp_path / "touched"})
    assert {"exec", "open"} <= set(events)


def test_a_space_of_one_side_reads_back() -> None:
    for sides in [
        (an.grid(x=4), an.concat(own=3, other=an.grid(y=2, z=3))),
        (None, an.grid(x=4)),
        (an.grid(x=4), None),
    ]:
        pattern = an.mask(lambda q, k: k <= q, grid=sides)
        assert an.parse(str(pattern)) == pattern


def test_deep_texts_are_read_once() -> None:
    """Twice per level would take longer than the universe has."""
    text = "k < " + "+ ".join(["where(q < 3, q, 1) "] * 100)
    assert str(read_predicate(text)) == " ".join(text.split())
