"""Real text as training data: files become documents, and documents are packed into sequences, several in each.

Invariant: `start[i]` is the index of the first token of the document that token `i` belongs to. It never decreases, and
it alone says where documents begin: the attention pattern and the positions follow from it.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

NO_TARGET = -100  # what `torch.nn.functional.cross_entropy` leaves out
MOST_BYTES = 64 << 20  # of text kept in memory


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed sequences of bytes, S tokens each."""

    tokens: Tensor  # [B, S] int64, 0 to 255
    targets: Tensor  # [B, S] int64, the next token; NO_TARGET at the last one of a document
    start: Tensor  # [B, S] int32, sorted: the index of the first token of the token's document

    def to(self, device: torch.device) -> Batch:
        return Batch(self.tokens.to(device), self.targets.to(device), self.start.to(device))


def read_files(folder: Path | None, seed: int) -> list[bytes]:
    """The text files under `folder`, in an order that the seed draws; without a folder, this Python's own sources."""
    root, names = (folder, "*") if folder else (Path(sysconfig.get_path("stdlib")), "*.py")
    paths = sorted(p for p in root.rglob(names) if p.is_file() and "site-packages" not in p.parts)
    random.Random(seed).shuffle(paths)
    texts: list[bytes] = []
    room = MOST_BYTES
    for path in paths:
        text = path.read_bytes()
        if len(text) > 1 and b"\0" not in text:
            texts.append(text)
            room -= len(text)
        if room < 0:
            break
    if not texts:
        raise SystemExit(f"no text file of two bytes or more in {root}; name a folder that has some: --folder PATH")
    return texts


def draw_documents(texts: list[bytes], longest: int, rng: random.Random) -> Iterator[bytes]:
    """Documents without end: a file, or of a longer file a part that begins at one of its lines."""
    while True:
        text = rng.choice(texts)
        size = rng.randint(max(2, longest // 8), longest)
        first = 0
        if len(text) > size:
            first = text.rfind(b"\n", 0, rng.randrange(len(text) - size)) + 1
        yield text[first : first + size]


def pack(documents: Iterator[bytes], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """(tokens, targets, start), each [length]; the last document is cut where the sequence ends."""
    tokens = torch.empty(length, dtype=torch.int64)
    targets = torch.full((length,), NO_TARGET)
    start = torch.empty(length, dtype=torch.int32)
    first = 0
    while first < length:
        document = torch.tensor(list(next(documents)[: length - first]))
        end = first + len(document)
        tokens[first:end] = document
        targets[first : end - 1] = document[1:]
        start[first:end] = first
        first = end
    return tokens, targets, start


def batches(texts: list[bytes], size: int, length: int, seed: int) -> Iterator[Batch]:
    """Batches without end; a seed always gives the same ones. A document fills at most a third of a sequence."""
    documents = draw_documents(texts, max(2, length // 3), random.Random(seed))
    while True:
        rows = [pack(documents, length) for _ in range(size)]
        tokens, targets, start = (torch.stack(column) for column in zip(*rows, strict=True))
        yield Batch(tokens, targets, start)
