"""The tests are tested: mutants of the generated kernels, each caught, and by which layer.

Layers, in the order in which they are tried: `counts` (the exact probe with q = 0), `numbers` (the judge).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch

import attnir as an
from attnir.codegen.cache import KernelCache
from attnir.codegen.triton import launch
from attnir.testing.case import Case
from tests.checks import check
from tests.test_probes import probe_counts

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="mutants are tried in the interpreter, without a GPU")

# Full and partial tiles on both sides of the walk, a ragged end, grouped heads, widths that differ, dead rows.
PATTERN = an.window(99, 3) & an.mask(lambda q, k: q != 7)
CASE = Case(PATTERN, q_len=300, heads=4, kv_heads=2, d=32, dv=16)
# Labels that are scattered, so that tokens are looked up, and a score with a slope of its own.
LABEL, ERASED = an.field("label"), an.field("erased")
ORDERED = Case(
    an.pattern(
        an.mask(lambda q, k: LABEL(q) == LABEL(k)) & an.window(150, 9),
        score=an.score(lambda s, k: an.where(ERASED(k) == 1, 0.0, s)),
    ),
    q_len=220,
    heads=4,
    kv_heads=2,
    d=32,
    dv=16,
    bindings={"label": torch.arange(220) * 7 % 3, "erased": torch.arange(220) % 4 // 3},
)
TILES = {kind: an.Config(32, 32, 4, 1) for kind in ("forward", "dq", "dkv")}


@dataclass(frozen=True)
class Mutant:
    kernel: str
    old: str  # a regular expression
    new: str
    layer: str
    ordered: bool = False  # tried on ORDERED


MUTANTS = {
    "first full tile dropped": Mutant(
        "forward", r"tl.range\(tile_full_start,", "tl.range(tile_full_start + 1,", "counts"
    ),
    "last full tile dropped": Mutant("forward", r"(tl.range\(tile_full_start, tile_full_stop)", r"\1 - 1", "counts"),
    "full sweep one tile too long": Mutant(
        "forward", r"(tl.range\(tile_full_start, tile_full_stop)", r"\1 + 1", "counts"
    ),
    "last partial tile dropped": Mutant("forward", r"(tl.range\(0, partial_\d)\)", r"\1 - 1)", "counts"),
    "partial tiles taken for full": Mutant("forward", r"\btl.where\(live, (\w), [\w.]+\)", r"\1", "counts"),
    "end of the keys not checked": Mutant("forward", r"key_in = keys < k_len", "key_in = keys < k_len + 5", "counts"),
    "window one wider": Mutant("forward", r"q_pos - 99", "q_pos - 100", "counts"),
    "accumulator not rescaled": Mutant("forward", r"acc_0 \* rescale\[:, None\]", "acc_0", "numbers"),
    "sum not rescaled": Mutant("forward", r"l \* rescale", "l", "numbers"),
    "wrong head group": Mutant("forward", r"h64 // group", "h64 % group", "counts"),
    "wrong stride of v": Mutant("forward", r"first_key \* v_row", "first_key * k_row", "counts"),
    "maximum left out of lse": Mutant("forward", r"m \+ tl.log", "0 * m + tl.log", "numbers"),
    "scale doubled": Mutant("forward", r"s \* scale", "s * scale * 2", "numbers"),
    "delta not subtracted": Mutant("dq", r"\(dp - row_delta\[:, None\]\)", "dp", "numbers"),
    "mask lost in dq": Mutant("dq", r"p = tl.where\(live, p, 0.0\)", "p = p", "numbers"),
    "full tile lost in dq": Mutant("dq", r"tl.range\(tile_full_start,", "tl.range(tile_full_start + 1,", "numbers"),
    "mask lost in the transposed walk": Mutant("dkv", r"p = tl.where\(live, p, 0.0\)", "p = p", "counts"),
    "one head of the group only": Mutant("dkv", r"full_(\d) \* group\)", r"full_\1)", "counts"),
    "transposed partial tile lost": Mutant("dkv", r"(tl.range\(0, partial_\d)( \* group)", r"\1 \2 - 1", "counts"),
    "transposed full tile lost": Mutant("dkv", r"q_tile = tile_full_start \+ at", "q_tile = tile_full_start", "counts"),
    "lse of another head": Mutant("dkv", r"\(b64 \* heads \+ h\) \* q_len", "(b64 * heads) * q_len", "numbers"),
    "gradient of lse ignored": Mutant("delta", r"total = total - tl.load", "total = total - 0 * tl.load", "numbers"),
    "score lost": Mutant("forward", r"score = tl.where\(.*", "score = s", "numbers", True),
    "score lost in dkv": Mutant("dkv", r"score = tl.where\(.*", "score = s", "numbers", True),
    "slope lost in dq": Mutant("dq", r"ds = ds \* .*", "ds = ds", "numbers", True),
    "slope lost in dkv": Mutant("dkv", r"ds = ds \* .*", "ds = ds", "numbers", True),
    "keys not looked up": Mutant("forward", r"key_tokens = f__token_k", "key_tokens = keys", "counts", True),
    "queries not looked up": Mutant("forward", r"query_tokens = .*", "query_tokens = queries", "counts", True),
    "results not put back": Mutant("dq", r"dq_rows = (.*)query_tokens", r"dq_rows = \1queries", "numbers", True),
    "lse of a place": Mutant("dkv", r"lse \+ first_row \+ query_tokens", "lse + first_row + queries", "counts", True),
    "a table of other rows": Mutant(
        "forward", r"table_1_at \+ \(q_pos - q_start\)", "table_1_at + (q_pos - q_start) // 2", "counts", True
    ),
    "a label's end one early": Mutant(
        "forward", r"(tile_stop = .*tl.minimum\()(.*), k_len", r"\1\2 - 1, k_len", "counts", True
    ),
}


def caught_by(case: Case) -> str:
    """The first layer that notices something."""
    try:
        probe_counts("triton", case, config=TILES)
    except AssertionError:
        return "counts"
    try:
        check("triton", case, config=TILES)
    except AssertionError:
        return "numbers"
    return "nothing"


@pytest.mark.parametrize("case", [CASE, ORDERED], ids=["runs", "an order"])
def test_the_kernels_themselves_pass(case: Case) -> None:
    assert caught_by(case) == "nothing"


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may well overflow
def test_a_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant, plain = MUTANTS[name], launch.emit

    def emit(kind: str, *args: object) -> str:
        source = plain(kind, *args)  # type: ignore[arg-type]
        if kind != mutant.kernel:
            return source
        changed = re.sub(mutant.old, mutant.new, source)
        assert changed != source, f"the mutant no longer applies to:\n{source}"
        return changed

    cache = KernelCache()
    monkeypatch.setattr(cache, "_read", lambda path: None)
    monkeypatch.setattr(cache, "_write", lambda path, source: None)
    monkeypatch.setattr(launch, "CACHE", cache)
    monkeypatch.setattr(launch, "emit", emit)
    assert caught_by(ORDERED if mutant.ordered else CASE) == mutant.layer
