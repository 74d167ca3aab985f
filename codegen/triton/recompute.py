"""Weights recomputed from lse, and the gradients of their scores: what kernels of the backward and of statistics share.

p = exp(score - lse). Weights that are no softmax are divided by their sum, whose inverse exp(-lse) is the row's share,
or by nothing; their gradient has the share in the place of p.
"""

from __future__ import annotations

from attnir.codegen.triton.frame import QUERY, Frame
from attnir.codegen.triton.scores import Pairs
from attnir.program import Status
from attnir.weighing import Weights


def load_rows_of_lse(f: Frame, mask: str, *, unit: str = "", delta: bool = True, first: bool = False) -> None:
    """What is known of each query: lse, times its unit, or the share that a weight has; delta; its first largest key.

    Weights that are not divided have none of these.
    """
    weights = f.program.weights
    if not weights.divided:
        return
    f.w.let("first_row", "(b64 * heads + h) * q_len")
    at = f"first_row + {f.indices(QUERY)}"
    f.w.let("row_lse", f"tl.load(lse + {at}{mask}){unit if weights.is_softmax else ''}")
    if not weights.is_softmax:
        f.w.let("row_share", 'tl.where(row_lse > float("-inf"), tl.exp(-row_lse), 0.0)')
    if delta:
        f.w.let("row_delta", f"tl.load(delta + {at}{mask})")
    if first:
        f.w.let("row_first", f"tl.load(first + {at}{mask.replace('0.0', '-1')})")


def write_divided(f: Frame, pairs: Pairs, of_row: str, status: Status) -> None:
    """The weights `p` of a tile that are no softmax's; of_row spreads what is known of queries over it."""
    if pairs.write_weights(status) and f.program.weights.divided:
        f.w.let("p", f"p * row_share{of_row}")


def gradient(weights: Weights, pulled: str, of_row: str) -> str:
    """The gradient of the scores of a tile, or of weights that are no softmax's, from that of what these count."""
    if not weights.divided:
        return pulled
    return f"{'p' if weights.is_softmax else f'row_share{of_row}'} * ({pulled} - row_delta{of_row})"
