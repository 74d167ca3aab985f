"""A byte-level transformer over packed documents, and two ways for it to attend: compiled tiles, or a dense mask.

Invariant: the two ways mean the same, and no token reads anything of another document, its own position included.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import attnir as an

LAYERS, WIDTH, HEADS, KV_HEADS = 3, 128, 4, 2
HEAD_WIDTH = WIDTH // HEADS
WINDOW, SINKS = 256, 4

# The pattern: a causal window inside the document, and the document's first tokens for everyone in it.
start = an.field("start", sorted=True)
same_document = an.mask(lambda q, k: start(q) == start(k))
sinks = an.mask(lambda q, k: k - start(q) < SINKS)
PATTERN = an.causal() & same_document & (an.window(WINDOW, 0) | sinks)
ATTENTION = an.compile(PATTERN)

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q [B, Hq, S, D], k and v [B, Hkv, S, D] -> [B, Hq, S, D]
Way = Callable[[Tensor], Attend]  # start [B, S] -> how the layers attend in these sequences


def by_tiles(start: Tensor) -> Attend:
    """The compiled pattern."""
    return lambda q, k, v: ATTENTION(q, k, v, start=start)


def by_dense_mask(start: Tensor) -> Attend:
    """What one writes without a compiler: one boolean mask [B, 1, S, S], built once for all layers."""
    k = torch.arange(start.shape[1], device=start.device)
    q, of_q, of_k = k[:, None], start[:, None, :, None], start[:, None, None, :]
    live = (k <= q) & (of_q == of_k) & ((k >= q - WINDOW) | (k < of_q + SINKS))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))  # its fast kernels want equal heads
        return F.scaled_dot_product_attention(q, k, v, attn_mask=live)

    return attend


class Layer(nn.Module):
    """A pre-norm transformer layer: attention with rotary positions and grouped heads, then a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_attend, self.norm_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, (HEADS + 2 * KV_HEADS) * HEAD_WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, angle: Tensor, attend: Attend) -> Tensor:
        heads = self.qkv(self.norm_attend(x)).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
        q, k, v = heads.split((HEADS, KV_HEADS, KV_HEADS), 1)
        o = attend(rotate(q, angle).to(v.dtype), rotate(k, angle).to(v.dtype), v)
        x = x + self.out(o.transpose(1, 2).flatten(2))
        x = x + self.mlp(self.norm_mlp(x))
        return x


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Rotary positions: x [B, H, S, D] turned by angle [B, 1, S, D / 2]."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()), -1)


class TextModel(nn.Module):
    """Bytes in, the next byte's logits out. Positions restart in every document."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.way = way
        self.embed, self.norm, self.head = nn.Embedding(256, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, tokens: Tensor, start: Tensor) -> Tensor:
        position = torch.arange(tokens.shape[1], device=tokens.device) - start
        rate = 10000.0 ** -torch.linspace(0, 1, HEAD_WIDTH // 2, device=tokens.device)
        angle = position[:, None, :, None] * rate
        attend = self.way(start)
        x: Tensor = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, angle, attend)
        logits: Tensor = self.head(self.norm(x))
        return logits
