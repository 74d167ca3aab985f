"""What is too small alone goes together: the keys of a visit, and samples and heads that visit other keys each.

The keys of a visit are gathered, so that all its spans make one product. Where members differ, the queries of all of
them stand on one axis, member after member, and so do the keys; products of one shape, whoever's they are, make a
series.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attnir.call import Call
from attnir.codegen.torch.budget import budget_on
from attnir.codegen.torch.schedule import Fold, Gathered, Group, Indices
from attnir.codegen.torch.spans import Spans


def together(found: Spans, orders: tuple[Tensor, Tensor] | None, call: Call, kv_heads: int) -> Group | None:
    """A launch as one group whose keys are gathered; None where its spans had better stay apart.

    orders: (indices of the queries, of the keys) at the places that are visited, [B or 1, places]. kv_heads: heads of k
    and of v, which the query heads share in contiguous groups.
    """
    samples, heads = found.shape
    if orders is not None:
        samples = max(samples, *map(len, orders))
    sharing = call.batch // samples * call.heads // heads
    alike = samples == heads == 1
    if sharing * found.height * found.width >= budget_on(call.device).alone or (alike and not found.listed):
        return None
    ratio = call.heads // kv_heads
    fold = None
    if not alike:
        whose = (kv_heads, ratio) if heads == 1 else (call.heads, 1)
        fold = Fold(call.q_len, call.k_len, *whose)
    per_sample, shared = (1, ratio) if fold is None else (fold.heads, fold.shared)
    member = np.arange(1 if alike else call.batch * per_sample)
    sample = member // per_sample
    source = sample % found.shape[0] * heads + member % per_sample % heads  # whose spans each has
    begin, end = (np.searchsorted(found.member, source, side) for side in ("left", "right"))
    row = np.repeat(member, end - begin)  # of each of its spans
    chosen = ranges(begin, end)
    visit = row * found.tiles + found.tile[chosen]
    ahead = np.lexsort((found.start[chosen], ~found.full[chosen], visit))  # of a visit's spans, those that are full
    row, chosen, visit = row[ahead], chosen[ahead], visit[ahead]
    full, lengths = found.full[chosen], found.stop[chosen] - found.start[chosen]
    keys = ranges(found.start[chosen], found.stop[chosen])
    if orders is not None:
        keys = _at(orders[1], np.repeat(sample[row], lengths), keys)
    keys += np.repeat(row * shared // ratio * call.k_len, lengths)
    visits = len(member) * found.tiles
    full_keys, other_keys = (_summed(np.where(full == status, lengths, 0), visit, visits) for status in (True, False))
    first = np.tile(np.arange(found.tiles) * found.height, len(member))
    gathered = Gathered(
        rows=np.repeat(member, found.tiles) * call.q_len + first,
        heights=np.minimum(found.height, call.q_len - first),
        keys=np.cumsum(full_keys + other_keys) - (full_keys + other_keys),
        full=full_keys,
        checked=other_keys,
    )
    rows = None
    if orders is not None:
        at = np.repeat(member, call.q_len)
        rows = _at(orders[0], sample[at], np.tile(np.arange(call.q_len), len(member))) + at * call.q_len
    everyone = slice(0, call.batch), slice(0, call.heads)
    return Group(*everyone, (), _tensor(rows, call), _tensor(keys, call), gathered, fold)


def ranges(starts: Indices, stops: Indices) -> Indices:
    """All numbers of some ranges, range after range.

    >>> ranges(np.array([3, 9]), np.array([6, 11]))
    array([ 3,  4,  5,  9, 10])
    """
    lengths = stops - starts
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def _at(order: Tensor, samples: Indices, places: Indices) -> Indices:
    """The tokens at some places of an order [B or 1, places] of some samples."""
    found: Indices = order.cpu().numpy()[samples % len(order), places]
    return found


def _summed(values: Indices, at: Indices, count: int) -> Indices:
    """The sums of values by where they are counted, in ascending order."""
    ends = np.append(0, np.cumsum(values))
    return np.diff(ends[np.searchsorted(at, np.arange(count + 1))])


def _tensor(indices: Indices | None, call: Call) -> Tensor | None:
    return None if indices is None else torch.from_numpy(indices).to(call.device)
