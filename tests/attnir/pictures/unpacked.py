"""What a page embeds, read back."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor


def data_of(page: str) -> dict[str, Any]:
    """The data of a page."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def unpacked(blob: str) -> bytes:
    return zlib.decompress(base64.b64decode(blob))


def live_of(blob: str, q_len: int, k_len: int) -> Tensor:
    bits = np.unpackbits(np.frombuffer(unpacked(blob), dtype=np.uint8))[: q_len * k_len]
    return torch.from_numpy(bits.copy()).view(q_len, k_len).bool()
