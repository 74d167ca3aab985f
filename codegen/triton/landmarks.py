"""Softmax with landmarks, in a tile whose keys are one block, the last of which is its landmark.

It is a change of the tile's scores, and a change of their gradients on the way back: see `attnir.dense`. What it takes
of a block, it takes of the tile alone.
"""

from __future__ import annotations

from attnir.codegen.triton.frame import KEY, QUERY, Frame
from attnir.program import Status


def write_by_landmarks(f: Frame, status: Status) -> None:
    """Change `score`, in the unit of its softmax; `weighs`: which pairs have a weight then."""
    w, of_row = f.w, _of_row(f)
    exp, log = ("tl.exp", "tl.log") if f.spec.natural else ("tl.exp2", "tl.log2")
    w.line("# A landmark's weight is shared among the keys of its block, unless the query stands in it.")
    w.let("is_landmark", f"(tl.arange(0, BLOCK_K) == BLOCK_K - 1){_of_key(f)}")
    w.let("own", "(first_key <= q_pos) & (q_pos < first_key + BLOCK_K)")
    checked = ["live"] * (status is Status.PARTIAL) + [f"key_in{_of_key(f)}"] * (f.rows is KEY)
    w.let("weighs", " & ".join([*checked, "(is_landmark == 0)"]))
    w.let("largest", f"tl.max(tl.where(weighs, score, MIN), {_keys(f)})")
    w.let("shares", f"tl.sum(tl.where(weighs, {exp}(score - largest{of_row}), 0.0), {_keys(f)})")
    w.let("of_landmark", f"tl.sum(tl.where(is_landmark, score, 0.0), {_keys(f)})")
    w.let("passed_on", f"of_landmark - largest - {log}(tl.where(shares > 0.0, shares, 1.0))")
    w.let("score", f"score + tl.where(own, 0.0, passed_on){of_row}")
    alive = "shares > 0.0"
    if checked:
        landmark = " & ".join([*checked, "is_landmark"])
        alive = f"({alive}) & (tl.max(({landmark}).to(tl.int32), {_keys(f)}) > 0)"
    w.let("weighs", f"weighs & (own | ({alive})){of_row}")


def write_through_landmarks(f: Frame) -> None:
    """Change `ds`, for the weights `p`."""
    w, of_row = f.w, _of_row(f)
    w.let("of_block", f"tl.where(own, 0.0, tl.sum(ds, {_keys(f)}))")
    w.let("shares", f"tl.sum(p, {_keys(f)})")
    w.let("given", "of_block / tl.where(shares > 0.0, shares, 1.0)")
    w.let("ds", f"tl.where(is_landmark, of_block{of_row}, ds - p * given{of_row})")


def _keys(f: Frame) -> int:
    """The axis of a tile along which its keys lie."""
    return 1 if f.rows is QUERY else 0


def _of_row(f: Frame) -> str:
    """What spreads a value of queries over the tile."""
    return "[:, None]" if f.rows is QUERY else "[None, :]"


def _of_key(f: Frame) -> str:
    return "[None, :]" if f.rows is QUERY else "[:, None]"
