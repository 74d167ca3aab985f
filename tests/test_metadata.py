"""Metadata of the whole catalog: none for pure arithmetic, O(S) for fields, and block lists that say why.

Every entry at two lengths: at the size of a real model, and at a quarter of it; an entry on a space, whose tokens are
those that it arranges, as the catalog's picture. What is claimed of bytes holds for what the kernel is handed as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir.arrange import WORTH_A_LIST
from attnir.call import Call
from attnir.codegen.triton.metadata import metadata
from attnir.labels import label_of
from attnir.program import Launches
from attnir.testing import case as testing
from attnir.testing import check
from attnir.testing.values import Runs, Values
from benchmarks.metadata import Metadata, metadata_of, reasons_of, shortened
from benchmarks.over_compute import call_of, measure
from benchmarks.realistic import Sized, cataloged

VALUE = 8  # bytes: a field's or a tensor's value is an int64 at most
POSITION = 4  # bytes: an entry of a row table is an int32, one for each query
MOST_TABLES = 4  # of one entry: two ranges of keys, each with a first and a last one

REAL = cataloged()
Case = tuple[Sized, tuple[int, int]]  # and a tile


def is_arithmetic(pattern: an.Mask | an.Pattern) -> bool:
    """Whether a pattern reads no fact about tokens, samples or heads."""
    return not (pattern.fields or pattern.tensors or pattern.reals)


def cases() -> Iterator[tuple[str, Case]]:
    """Every entry at two lengths, by its name and its number of queries."""
    for name, sized in REAL.items():
        second = (picture(name), (8, 8)) if any(sized.mask.spaces) else (quarter(sized), (64, 64))
        for case in ((sized, (64, 64)), second):
            yield f"{name}, {case[0].q_len}", case


def picture(name: str) -> Sized:
    """The example of an entry."""
    entry = an.catalog.get(name)
    e, mask = entry.example, entry.build(**entry.example.params)
    return Sized(mask, e.q_len, e.k_len, mask.heads or e.heads, e.batch, e.bindings)


def quarter(sized: Sized) -> Sized:
    """The first quarter of the tokens."""
    q_len, k_len = sized.q_len // 4, None if sized.k_len is None else sized.k_len // 4
    fields = {d.name for d in sized.mask.fields}
    axes = {d.name: d.axes for d in sized.mask.reals}

    def shorter(name: str, given: object) -> object:
        """A real tensor, of fewer tokens along its axes `q` and `k`."""
        assert isinstance(given, Tensor)
        short = {"q": q_len, "k": q_len if k_len is None else k_len}
        sizes = [min(n, short.get(a, n)) for a, n in zip(axes[name], given.shape, strict=True)]
        return given[tuple(map(slice, sizes))].clone()

    def cut(given: object) -> object:
        if isinstance(given, tuple):
            return given[0][..., :q_len].clone(), given[1][..., :k_len].clone()
        assert isinstance(given, Tensor)
        return given[..., : q_len if k_len is None else k_len].clone()  # or the memory would be that of all tokens

    bindings = {name: cut(given) if name in fields else given for name, given in sized.bindings.items()}
    bindings |= {name: shorter(name, bindings[name]) for name in axes}
    return replace(sized, q_len=q_len, k_len=k_len, bindings=bindings)


CASES = dict(cases())
ARITHMETIC = [name for name, (sized, _) in CASES.items() if is_arithmetic(sized.mask)]
FACTS = [name for name in CASES if name not in ARITHMETIC]

# Pure arithmetic whose lists leave out more than a third of what any walk without them visits.
WORTH_IT = {"radial, 16384"}
# Facts about tokens that no search in a sorted field turns into a range of keys.
LISTED_FACTS = {
    "bert4rec",
    "blockrank, 16384",
    "duo-causal",
    "graph-edges",
    "holocine",
    "holocine-cross",
    "ir-isolation",
    "ladir",
    "log-multiplicity",
    "longformer",
    "nbp-video",
    "orion-msp, 64",
    "parallel-context",
    "region-joint",
    "sasrec",
    "text-infilling",
    "text-infilling-joint",
    "tree-causal",
}


def entry_of(case: str) -> str:
    return case.partition(",")[0]


def may_list(case: str) -> bool:
    """Whether a case is known to walk block lists."""
    return not {case, entry_of(case)}.isdisjoint(WORTH_IT | LISTED_FACTS)


@lru_cache(maxsize=len(CASES))
def taken(case: str) -> tuple[Launches, Call]:
    """The forward's launches, and the call."""
    sized, tile = CASES[case]
    return an.compile(sized.mask).plan.arrangement(tile).taken.launches, call_of(sized)


def judge(found: Metadata, sized: Sized) -> None:
    """Without block lists: nothing for arithmetic, else at most so many bytes for each token and each copy."""
    assert not found.reasons, f"block lists: {found.reasons}"
    fields, tensors = sized.mask.fields, sized.mask.tensors
    q_len, k_len = sized.q_len, sized.q_len if sized.k_len is None else sized.k_len
    of_fields = VALUE * len(fields) * (q_len + k_len) * sized.batch
    ordered = label_of(sized.mask.predicate) is not None  # tokens are taken in the order of their labels
    searched = ordered or any(d.sorted for d in fields)
    of_tables = POSITION * MOST_TABLES * q_len * sized.batch * searched
    of_order = POSITION * (q_len + k_len) * sized.batch * ordered  # which token stands at a place
    of_tensors = VALUE * len(tensors) * sized.heads * sized.batch
    of_reals = sum(t.nbytes for t in (sized.bindings[d.name] for d in sized.mask.reals) if isinstance(t, Tensor))
    assert found.bytes <= of_fields + of_tables + of_order + of_tensors + of_reals


def handed(launches: Launches, call: Call) -> int:
    """The bytes of the tensors that the Triton kernels are handed besides q, k, v and the outputs."""
    given = [t for programs in launches for t in metadata(programs, call).values() if isinstance(t, Tensor)]
    places = {(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) for t in given}
    return sum(size for _, size in places)


@pytest.mark.parametrize("case", [case for case in ARITHMETIC if case not in WORTH_IT])
def test_pure_arithmetic_has_no_metadata(case: str) -> None:
    launches, call = taken(case)
    assert not reasons_of(launches)  # before any list is made
    found = metadata_of(launches, call, {})
    judge(found, CASES[case][0])
    assert found.bytes == handed(launches, call) == 0


@pytest.mark.parametrize("case", sorted(WORTH_IT))
def test_lists_of_pure_arithmetic_earn_their_memory(case: str) -> None:
    sized, tile = CASES[case]
    arrangement = an.compile(sized.mask).plan.arrangement(tile)
    assert arrangement.taken.listed
    assert min(c.visited for c in arrangement.others if not c.listed) > WORTH_A_LIST * arrangement.taken.visited


@pytest.mark.parametrize("case", [case for case in FACTS if not may_list(case)])
def test_facts_take_a_constant_number_of_bytes_a_token(case: str) -> None:
    launches, call = taken(case)
    assert not reasons_of(launches)
    found = metadata_of(launches, call, {})
    judge(found, CASES[case][0])
    assert 0 < handed(launches, call) == found.bytes


@pytest.mark.parametrize("case", [case for case in CASES if may_list(case)])
def test_block_lists_say_why(case: str) -> None:
    """In the text of the programs, which `explain` prints; at the shorter length also in that of `explain` itself."""
    launches, _ = taken(case)
    reasons = reasons_of(launches)
    assert reasons and all(reason.startswith("block lists: ") for reason in reasons)
    sized, tile = CASES[case]
    texts = ["\n".join(str(p) for programs in launches for p in programs)]
    if sized is not REAL[entry_of(case)]:
        bindings: dict[str, Any] = dict(sized.bindings)
        explained = an.compile(sized.mask).explain(
            sized.q_len, sized.k_len, heads=sized.heads, batch=sized.batch, tile=tile, **bindings
        )
        assert explained.metadata_bytes > 0
        texts.append(str(explained))
    assert all(f"because {reason}" in text for reason in reasons for text in texts)


def test_the_known_ones_are_entries() -> None:
    known = WORTH_IT | LISTED_FACTS
    assert known <= CASES.keys() | {entry_of(case) for case in CASES}
    assert {entry_of(case) for case in CASES} == set(an.catalog.names(graphs=False))


def test_a_quarter_of_the_tokens_has_a_quarter_of_the_bytes() -> None:
    for name in ("packed-documents", "shared-prefix", "vision-cross-attention"):
        longer, shorter = (metadata_of(*taken(f"{name}, {n}"), {}).bytes for n in (16384, 4096))
        assert longer == 4 * shorter


CAUSAL, PACKED = REAL["causal"], REAL["packed-documents"]
TOKENS = 2 * CAUSAL.q_len


@pytest.mark.parametrize(
    "found, sized",
    [
        (Metadata(1, TOKENS, ()), CAUSAL),
        (Metadata(0, TOKENS, ("block lists: no need",)), CAUSAL),
        (Metadata(PACKED.q_len**2 // 64**2 * 4 * 64, TOKENS, ()), PACKED),
        (Metadata(0, TOKENS, ("",)), PACKED),
    ],
    ids=["a byte", "a list", "quadratic", "a list without a reason"],
)
def test_what_is_too_much_is_found(found: Metadata, sized: Sized) -> None:
    with pytest.raises(AssertionError):
        judge(found, sized)


def test_a_list_that_says_nothing_is_seen() -> None:
    launches, _ = taken("longformer, 16384")
    silent = tuple(tuple(replace(p, reason="") for p in programs) for programs in launches)
    assert reasons_of(silent) == ("",) and "because" not in str(silent[0][0])


def test_the_table_has_the_figures_of_explain() -> None:
    ids = torch.arange(2048) // 300
    sized = Sized(an.catalog.build("packed-documents"), 2048, bindings={"doc": ids})
    found = measure(sized).metadata
    assert found.bytes == an.compile(sized.mask).explain(2048, tile=(64, 64), doc=ids).metadata_bytes == 2048 * 16
    assert found.tokens == 4096 and found.per_token == 8.0


def test_a_long_reason_fits_a_line() -> None:
    reason = "block lists: " + "x" * 500
    assert len(shortened(reason)) == 110 and shortened(reason).startswith("block lists: x")
    assert shortened("short") == "short"


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_row_tables_differ_from_head_to_head(kv_heads: int) -> None:
    doc = an.field("doc", sorted=True)
    shifted = an.mask(lambda q, k, h: doc(q) - doc(k) == h)
    documents = Values(Runs(120, 40))
    check(
        testing.Case(shifted, q_len=120, heads=2, kv_heads=kv_heads, d=16, bindings={"doc": documents}, tile=(32, 32)),
        "triton",
        "keys",
    )


def test_row_tables_differ_from_sample_to_sample() -> None:
    doc = an.field("doc", sorted=True)
    same = an.mask(lambda q, k: doc(q) == doc(k))
    documents = torch.stack([torch.arange(120) // 40, torch.arange(120) // 25])
    case = testing.Case(same, q_len=120, batch=2, heads=1, d=16, bindings={"doc": documents}, tile=(32, 32))
    check(case, "triton", "keys")
