"""Cross-attention from interleaved text to its images, against its definition."""

from __future__ import annotations

import random

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows


def test_text_sees_the_images_before_it() -> None:
    image = (torch.tensor([0, 1, 1, 3]), torch.tensor([1, 1, 2, 3]))
    assert rows(an.catalog.build("vision-cross-attention"), 4, image=image) == "0000/1100/1100/1111"
    assert rows(an.catalog.build("vision-cross-attention", latest=True), 4, image=image) == "0000/1100/1100/0001"


@pytest.mark.parametrize("seed", range(4))
def test_vision_cross_attention_is_its_definition(seed: int) -> None:
    rng = random.Random(seed)
    sequence = [rng.choice("ttti") for _ in range(30)]  # tokens of text, and images
    words = [p for p, kind in enumerate(sequence) if kind == "t"]
    images = [p for p, kind in enumerate(sequence) if kind == "i"]
    keys = [place for place in images for _ in range(3)]
    before = torch.tensor([sum(place < word for place in images) for word in words])
    numbers = torch.arange(1, len(images) + 1).repeat_interleave(3)

    every = an.catalog.build("vision-cross-attention")
    found = matrix(every, len(words), len(keys), image=(before, numbers))[0, 0]
    assert found.equal(brute(lambda i, j: keys[j] < words[i], len(words), len(keys)))

    def latest(i: int, j: int) -> bool:
        return keys[j] == max((place for place in images if place < words[i]), default=-1)

    last = an.catalog.build("vision-cross-attention", latest=True)
    found = matrix(last, len(words), len(keys), image=(before, numbers))[0, 0]
    assert found.equal(brute(latest, len(words), len(keys)))
