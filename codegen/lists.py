"""Block lists of calls, kept where a call gives nothing but sizes and numbers."""

from __future__ import annotations

import threading
from collections import OrderedDict

import torch

from attnir.blocks import BlockList, list_blocks
from attnir.call import Call
from attnir.program import TileProgram

_KEPT = 16  # lists, the least recently used goes first
_lock = threading.Lock()
_lists: OrderedDict[tuple[object, ...], BlockList] = OrderedDict()


def depends_on_values(call: Call) -> bool:
    """Whether lists of a call may be others in a call of the same sizes and parameters."""
    return bool(call.fields or call.tensors or call.selections)


def _stream(device: torch.device) -> int | None:
    """What makes lists ready on a device, so that what comes behind it may read them; None while a graph is captured,
    whose memory is its own.
    """
    if device.type != "cuda":
        return 0
    return None if torch.cuda.is_current_stream_capturing() else torch.cuda.current_stream(device).cuda_stream


def block_list(program: TileProgram, call: Call) -> BlockList:
    """The block list of a listed program; made again in each call whose pattern reads fields, tensors or selections."""
    if depends_on_values(call):
        return list_blocks(program, call)
    stream = _stream(call.device)
    if stream is None:
        return list_blocks(program, call)
    sizes = (call.batch, call.heads, call.q_len, call.k_len, call.q_start, call.device, stream)
    key = (program, sizes, tuple(sorted(call.params.items())))
    with _lock:  # the backward runs in threads of its own
        if key not in _lists:
            _lists[key] = list_blocks(program, call)
            if len(_lists) > _KEPT:
                _lists.popitem(last=False)
        _lists.move_to_end(key)
        return _lists[key]
