"""What a user can see of the compiler's work on the example: the explanation, a picture, the kernel, and its error.

Invariant: the pattern that is shown is the one that runs, on the model's own q, k, v.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from rich.console import Console
from text_data import Batch
from text_model import HEAD_WIDTH, HEADS, PATTERN, Attend, TextModel, by_dense_mask, by_tiles
from torch import Tensor

import attnir as an

PICTURE = 2048  # tokens in the picture
RUN = 1024  # tokens in the run of the kernel: the interpreter takes seconds for them


def show_evidence(batch: Batch, folder: Path, dtype: torch.dtype, console: Console) -> bool:
    """Print and write everything into `folder`; whether the kernel's error is that of rounding."""
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is imported, which the first kernel does
    folder.mkdir(parents=True, exist_ok=True)
    attn = an.compile(PATTERN, backend="triton")
    size, length = batch.tokens.shape
    explanation = attn.explain(length, batch=size, heads=HEADS, d=HEAD_WIDTH, dtype=dtype, start=batch.start)
    console.print(str(explanation), markup=False, highlight=False, soft_wrap=True)

    start = batch.start[:1, :PICTURE]
    attn.plot(start.shape[1], folder / "pattern.png", start=start)
    console.print(
        f"\nthe pattern as a picture, first {start.shape[1]} tokens: {folder / 'pattern.png'}", soft_wrap=True
    )
    (folder / "forward.py").write_text(attn.source("forward", d=HEAD_WIDTH, dtype=dtype), encoding="utf-8")
    console.print(f"the generated forward kernel: {folder / 'forward.py'}", soft_wrap=True)

    start = start[:, :RUN]
    q, k, v = (t.to(dtype) for t in first_qkv(batch.tokens[:1, :RUN], start))
    began = time.perf_counter()
    o = attn(q, k, v, start=start)
    seconds = time.perf_counter() - began
    meaning = an.reference(PATTERN)(q, k, v, start=start)
    assert isinstance(meaning, Tensor)
    error, usual = (worst_row(result, meaning) for result in (o, by_dense_mask(start)(q, k, v)))
    bound = 2 * usual + 2 * torch.finfo(dtype).eps
    where = "on the GPU" if q.is_cuda else "in Triton's interpreter"
    lines = (
        f"the kernel ran {where} in {seconds:.1f} s on the first layer's q {list(q.shape)}, k and v {list(k.shape)}",
        f"largest relative error of a row, against float64: {error:.1e}; scaled_dot_product_attention: {usual:.1e}",
        f"bound: {bound:.1e}, so the kernel is " + ("[green]right[/]" if error <= bound else "[red]WRONG[/]"),
    )
    console.print(*lines, sep="\n", soft_wrap=True)
    return error <= bound


def first_qkv(tokens: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, Hq, S, D], k and v [B, Hkv, S, D] of a fresh model's first layer."""
    caught: list[tuple[Tensor, Tensor, Tensor]] = []

    def catching(start: Tensor) -> Attend:
        attend = by_tiles(start)

        def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            caught.append((q, k, v))
            return attend(q, k, v)

        return call

    with torch.no_grad():
        TextModel(catching).to(tokens.device)(tokens, start)
    return caught[0]


def worst_row(o: Tensor, meaning: Tensor) -> float:
    """The largest relative error of a row of o: |o - meaning| / |meaning|, 2-norms over the last axis."""
    return float(((o.double() - meaning).norm(dim=-1) / meaning.norm(dim=-1)).max())
