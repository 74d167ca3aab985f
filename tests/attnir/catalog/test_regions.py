"""Images with several subjects, against their definitions."""

from __future__ import annotations

import random
from itertools import product

import pytest
import torch

import attnir as an
from attnir.errors import DeclarationError
from tests.attnir.catalog.checks import brute, kept, matrix, rows

SMALL = torch.tensor([0, 1, 2, 1, 1 + 2, 2, 0])  # global text, two texts, four image tokens


def test_region_joint_is_the_literal_matrices() -> None:
    build = an.catalog.get("region-joint").build
    assert rows(build(3, 4, 2), 7, regions=SMALL) == "1111111/0101100/0010110/0101100/0111110/0010110/1111111"
    alone = "1111111/0101100/0010110/1101111/1111111/1011111/1111111"
    assert rows(build(3, 4, 2, i2i=0), 7, regions=SMALL) == alone


@pytest.mark.parametrize("instances", [1, 2, 4, 30])
def test_region_joint_is_its_definition_for_all_flags(instances: int) -> None:
    rng = random.Random(instances)
    text = [0, 0] + [1 + rng.randrange(instances) for _ in range(7)]  # 0: global, else the instance told of
    image = [{i for i in range(1, instances + 1) if rng.random() < 0.4} for _ in range(11)] + [set()]
    bits = [1 << t >> 1 for t in text] + [sum(1 << i >> 1 for i in covering) for covering in image]
    n, words = len(bits), len(text)

    def allow(p: int, r: int, i2i: int, i2t: int, t2i: int, t2t: int) -> bool:
        if p >= words and image[p - words]:
            mine = image[p - words]
            if r >= words:
                return not i2i or bool(mine & image[r - words])
            if text[r] == 0:
                return not (i2t and i2i)
            return not i2t or text[r] in mine
        if p < words and text[p]:
            if r >= words:
                return not t2i or text[p] in image[r - words]
            return not t2t or text[r] == text[p]
        return True

    names = ("i2i", "i2t", "t2i", "t2t")
    switched = an.catalog.get("region-joint").build(
        words, len(image), instances, **{name: an.param(name, low=0, high=1) for name in names}
    )
    for flags in product((0, 1), repeat=4):
        given = dict(zip(names, flags, strict=True))
        expected = brute(lambda p, r, given=given: allow(p, r, **given), n)
        fixed = an.catalog.get("region-joint").build(words, len(image), instances, **given)
        assert matrix(fixed, n, regions=torch.tensor(bits))[0, 0].equal(expected)
        assert matrix(switched, n, regions=torch.tensor(bits), **given)[0, 0].equal(expected)


def test_region_joint_keeps_what_the_specification_says() -> None:
    text = [0] * 32 + [1] * 32 + [2] * 32  # a 16th of global text and two texts of 512, and of an image of 64 x 64
    regions = torch.tensor(text + [1] * 64 + [2] * 64 + [0] * 128)
    build = an.catalog.get("region-joint").build
    early, late = (kept(build(96, 256, 2, i2i=i2i), 352, regions=regions) for i2i in (1, 0))
    assert (round(early), int(late)) == (60, 83)


def test_region_joint_has_regions_of_each_sample() -> None:
    both = torch.stack([SMALL, torch.tensor([0, 1, 2, 0, 3, 0, 2])])
    build = an.catalog.get("region-joint").build
    found = matrix(build(3, 4, 2), 7, batch=2, regions=both)
    assert found[1].equal(matrix(build(3, 4, 2), 7, regions=both[1])[0])


def test_region_joint_refuses_what_does_not_fit() -> None:
    for wrong in ({"instances": 0}, {"instances": 31}, {"text": 0}, {"image": 0}, {"i2i": -1}):
        with pytest.raises(DeclarationError):
            an.catalog.build("region-joint", **({"text": 3, "image": 4, "instances": 2} | wrong))


@pytest.mark.parametrize("background", [0, 1])
def test_ir_isolation_is_its_definition(background: int) -> None:
    subject = [0, 1, 1, 0, 2, 2, 3, 0, 1, 3]

    def allow(i: int, j: int) -> bool:
        mine, other = subject[i], subject[j]
        if mine and not other:
            return bool(background)
        return not (mine and other and mine != other)

    found = an.catalog.build("ir-isolation", background=background)
    assert matrix(found, 10, subject=torch.tensor(subject))[0, 0].equal(brute(allow, 10))
    switched = an.catalog.build("ir-isolation", background=an.param("background", low=0, high=1))
    dense = matrix(switched, 10, subject=torch.tensor(subject), background=background)
    assert dense[0, 0].equal(brute(allow, 10))


def test_ir_isolation_keeps_what_the_specification_says() -> None:
    subject = torch.tensor([1] * 16 + [2] * 16 + [0] * 32)
    assert kept(an.catalog.build("ir-isolation"), 64, subject=subject) == 87.5
