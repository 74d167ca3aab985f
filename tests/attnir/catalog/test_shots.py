"""Videos of several shots, against their definitions."""

from __future__ import annotations

import pytest
import torch

import attnir as an
from attnir.errors import DeclarationError, NotSortedError
from tests.attnir.catalog.checks import brute, kept, matrix, rows, weights


def starts(cuts: list[int], length: int) -> torch.Tensor:
    """For each token the position of its shot's first one; `cuts` are those positions."""
    return torch.tensor([max(c for c in cuts if c <= i) for i in range(length)])


def test_holocine_is_the_literal_matrix() -> None:
    multiplicity = "21110/21110/21110/10021/10021"
    once = an.catalog.build("holocine", first=1, duplicate=False)
    assert rows(once, 5, shot_start=starts([0, 3], 5)) == multiplicity.replace("2", "1")
    counted = weights(an.catalog.build("holocine", first=1), 5, shot_start=starts([0, 3], 5))
    assert "/".join("".join(str(round(float(x), 6))[0] for x in row) for row in counted) == multiplicity


@pytest.mark.parametrize("first", [1, 2, 5, 40])
@pytest.mark.parametrize("cuts", [[0], [0, 1, 2], [0, 9, 12, 30], [0, 31]])
def test_holocine_is_its_definition(first: int, cuts: list[int]) -> None:
    length = 32
    shots = [range(a, b) for a, b in zip(cuts, [*cuts[1:], length], strict=True)]

    def multiplicity(i: int, j: int) -> int:
        return sum((i in shot and j in shot) + (j in shot[:first]) for shot in shots)

    counts = torch.tensor([[multiplicity(i, j) for j in range(length)] for i in range(length)])
    for duplicate in (True, False):
        build = an.catalog.build("holocine", first=first, duplicate=duplicate)
        assert matrix(build, length, shot_start=starts(cuts, length))[0, 0].equal(counts > 0)
        found = weights(build, length, shot_start=starts(cuts, length))
        torch.testing.assert_close(found, counts.double() if duplicate else (counts > 0).double())


def test_samples_have_cuts_of_their_own_and_the_first_frame_may_be_a_parameter() -> None:
    cuts = torch.stack([starts([0, 4, 9], 12), starts([0, 7], 12)])
    found = matrix(an.catalog.build("holocine", first=an.param("first", low=1)), 12, batch=2, shot_start=cuts, first=2)
    for sample in range(2):
        alone = matrix(an.catalog.build("holocine", first=2), 12, shot_start=cuts[sample])
        assert found[sample].equal(alone[0])


def test_holocine_keeps_what_the_specification_says() -> None:
    cuts = starts([0, 10, 20, 30, 40, 50], 61)
    assert kept(an.catalog.build("holocine", first=1), 61, shot_start=cuts) == pytest.approx(24.9, abs=0.05)
    work = weights(an.catalog.build("holocine", first=1), 61, shot_start=cuts)
    assert float(work.sum()) / 61**2 == pytest.approx(0.265, abs=5e-4)


def test_holocine_refuses_empty_frames_and_shots_out_of_order() -> None:
    with pytest.raises(DeclarationError):
        an.catalog.build("holocine", first=0)
    q = torch.zeros(1, 1, 4, 8)
    with pytest.raises(NotSortedError):
        an.compile(an.catalog.build("holocine", first=1))(q, q, q, shot_start=torch.tensor([0, 2, 0, 3]))


TEXTS = [  # shots' first tokens, the global caption's range, those of the shots, where the padding begins
    ([0, 4, 9], (0, 3), [(3, 5), (5, 6), (6, 10)], 10),
    ([0, 7], (2, 4), [(5, 8), (8, 9)], 12),
    ([0], (0, 1), [(1, 16)], 16),
]


def shots_of_text(wide: tuple[int, int], captions: list[tuple[int, int]], padding: int, length: int) -> torch.Tensor:
    """What each token of the text tells of: a shot, -1 for all of them, -2 for none."""
    told = torch.full((length,), -2)
    told[wide[0] : wide[1]] = -1
    told[padding:] = -1
    for shot, (start, stop) in enumerate(captions):
        told[start:stop] = shot
    return told


def test_holocine_cross_is_its_definition_for_samples_of_their_own() -> None:
    video, text = 12, 16
    of_video = torch.stack([starts(cuts, video).unique(return_inverse=True)[1] for cuts, *_ in TEXTS])
    of_text = torch.stack([shots_of_text(*ranges, text) for _, *ranges in TEXTS])
    found = matrix(an.catalog.build("holocine-cross"), video, text, batch=len(TEXTS), shot=(of_video, of_text))
    for sample, (cuts, wide, captions, padding) in enumerate(TEXTS):

        def allow(i: int, j: int, cuts=cuts, wide=wide, captions=captions, padding=padding) -> bool:
            start, stop = captions[sum(c <= i for c in cuts) - 1]
            return wide[0] <= j < wide[1] or start <= j < stop or j >= padding

        assert found[sample, 0].equal(brute(allow, video, text))


def test_holocine_cross_keeps_what_the_specification_says() -> None:
    told = shots_of_text((0, 100), [(100 + 50 * s, 150 + 50 * s) for s in range(6)], 400, 512)
    found = kept(an.catalog.build("holocine-cross"), 60, 512, shot=(torch.arange(60) // 10, told))
    assert found == round(100 * (100 + 50 + 112) / 512, 2)
