"""Every error of attnir with code that raises it: the page of errors shows them, and the tests try them."""

from __future__ import annotations

import linecache
from dataclasses import dataclass

from attnir import errors
from attnir.errors import AttnirError

FILE = "mine.py"


@dataclass(frozen=True, slots=True)
class Example:
    """Code that raises an error.

    code    Python; the names of BEFORE are there
    given   a part of the message that says what was given
    advice  a part that says what is expected, or what to do
    """

    kind: type[AttnirError]
    code: str
    given: str
    advice: str


BEFORE = """
import attnir as an
import torch

causal = an.compile(an.causal())
doc = an.field("doc", sorted=True)
packed = an.compile(an.causal() & an.mask(lambda q, k: doc(q) == doc(k)))
q = k = v = torch.randn(1, 2, 8, 16)                                 # [B, H, S, D]
""".strip()

EXAMPLES = (
    Example(
        errors.DeclarationError,
        "an.mask(lambda q, k: q >> 6 == k >> 6)",
        given="shifts",
        advice="q // 64",
    ),
    Example(
        errors.ControlFlowError,
        "an.mask(lambda q, k: 0 <= q - k < 256)",
        given="`q - k >= 0` is symbolic",
        advice="write `&`",
    ),
    Example(
        errors.IntegerExpectedError,
        "an.mask(lambda q, k: q - k < k / 2)",
        given="`/` makes a float of `k`",
        advice="use `//`",
    ),
    Example(
        errors.ConditionExpectedError,
        "an.mask(lambda q, k: (k <= q) & (q - k))",
        given="not `q - k`",
        advice="compare",
    ),
    Example(
        errors.UnknownNameError,
        "an.mask(lambda query, key: key <= query)",
        given="`query, key` is none of them",
        advice="rename query to q",
    ),
    Example(
        errors.DivisorError,
        'an.mask(lambda q, k: q // an.param("block") == k // an.param("block"))',
        given="block",
        advice="low=1",
    ),
    Example(
        errors.TextError,
        'an.parse("k <= q and q - k < 256")',
        given="and",
        advice="combined with `&`",
    ),
    Example(
        errors.InvalidProgram,
        r"""
from attnir.program_text import read_program

read_program("tiles of 64 q by 64 k\nsweep k tiles in [0, 4) full\nsweep k tiles listed full\nwhere k <= q")
""",
        given="sweeps and block lists do not mix",
        advice="list every live tile, or none",
    ),
    Example(
        errors.ShapeError,
        "causal(q[0], k[0], v[0])",
        given="[2, 8, 16]",
        advice="[B, Hq, Sq, D]",
    ),
    Example(
        errors.HeadsError,
        "causal(torch.randn(1, 3, 8, 16), k, v)",
        given="3 query heads",
        advice="expected Hq = n * Hk",
    ),
    Example(
        errors.WidthError,
        "wide = torch.randn(1, 2, 8, 640)\ncausal(wide, wide, v)",
        given="D = 640",
        advice="split the heads",
    ),
    Example(
        errors.DtypeError,
        "causal(q.double(), k.double(), v.double())",
        given="float64",
        advice="expected one of",
    ),
    Example(
        errors.DeviceError,
        'causal(q, k.to("meta"), v)',
        given="k is on meta",
        advice="move them",
    ),
    Example(
        errors.StrideError,
        "causal(q, k, torch.randn(1, 2, 16, 8).transpose(2, 3))",
        given="last axis of v",
        advice=".contiguous()",
    ),
    Example(
        errors.ScaleError,
        'causal(q, k, v, scale=float("nan"))',
        given="nan",
        advice="a number within",
    ),
    Example(
        errors.TensorError,
        "an.compile(an.causal(), score=an.alibi())(q, k, v, slopes=torch.ones(3))",
        given="3 query heads",
        advice="there are 2 (1 stands for all)",
    ),
    Example(
        errors.RouteError,
        "an.route.topk_blocks(block=4, k=0)",
        given="0",
        advice="from 1",
    ),
    Example(
        errors.GraphError,
        "an.graph(lambda q, k, v: an.attend(an.causal(), q, an.summarise(k, 4), v))",
        given="k of tokens k // 4 and v of tokens k",
        advice="keys and values of the same tokens",
    ),
    Example(
        errors.SelectionError,
        'an.compile(an.mask(lambda q, k: an.selection("p")(q // 4, k // 4) > 0))(q, k, v, p=torch.ones(8).int())',
        given="[8]",
        advice="[lists, places]",
    ),
    Example(
        errors.MissingBindingError,
        "packed(q, k, v)",
        given="`doc`",
        advice="give doc=...",
    ),
    Example(
        errors.UnknownBindingError,
        "packed(q, k, v, docs=torch.zeros(8, dtype=torch.int64))",
        given="`docs`",
        advice="check the spelling",
    ),
    Example(
        errors.FieldError,
        "packed(q, k, v, doc=torch.arange(9))",
        given="[9]",
        advice="has shape [8]",
    ),
    Example(
        errors.NotSortedError,
        "packed(q, k, v, doc=torch.arange(8) % 3)",
        given="`doc`",
        advice="sort",
    ),
    Example(
        errors.ParamError,
        'an.compile(an.window(an.param("w", low=0)))(q, k, v, w=-1)',
        given="`w` = -1",
        advice="[0, ",
    ),
    Example(
        errors.StatisticError,
        'causal.statistics(q, k, v, ["row-entopy"])',
        given="'row-entopy'",
        advice="did you mean row-entropy",
    ),
    Example(
        errors.BackendError,
        'an.compile(an.causal(), backend="cuda")',
        given="'cuda'",
        advice="expected one of triton, torch, reference",
    ),
    Example(
        errors.DerivativeError,
        """
x = q.clone().requires_grad_()
(slope,) = torch.autograd.grad(causal(x, k, v).sum(), x, create_graph=True)
slope.sum().backward()
""",
        given="first derivatives only",
        advice="differentiate an.reference(pattern)",
    ),
    Example(
        errors.ConfigError,
        "an.Config(100, 64, 8, 3)",
        given="100",
        advice="power of two",
    ),
    Example(
        errors.NoLseError,
        "an.compile(an.causal(), normalize=an.sigmoid)(q, k, v, return_lse=True)",
        given="weights that are not divided by their sum have no lse",
        advice="leave return_lse out",
    ),
    Example(
        errors.VerificationError,
        """
from unittest import mock
from attnir.codegen.torch import target


def wrong(*arguments, right=target.forward):
    o, lse = right(*arguments)
    return 1.01 * o, lse


with mock.patch.object(target, "forward", wrong):
    an.verify(an.causal(), cases=1)
""",
        given='an.parse("k <= q")',
        advice="This script shows it",
    ),
)


def kinds() -> list[type[AttnirError]]:
    """Every class of attnir.errors, in the order of its file, but the base, which is never raised itself."""
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, AttnirError)]
    return [c for c in found if c is not AttnirError]


def message(example: Example) -> str:
    """What the error says, as to a user whose file holds the code."""
    names: dict[str, object] = {}
    exec(BEFORE, names)
    source = example.code.strip()
    linecache.cache[FILE] = len(source), None, source.splitlines(keepends=True), FILE  # errors show the user's line
    try:
        exec(compile(source, FILE, "exec"), names)
    except AttnirError as error:
        assert type(error) is example.kind, f"{type(error).__name__}, not {example.kind.__name__}: {error}"
        return str(error)
    raise AssertionError(f"{example.code!r} raises nothing")
