"""Windows along the sequence, against their definitions."""

from __future__ import annotations

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows


def test_streaming_llm_is_the_literal_matrix() -> None:
    found = rows(an.catalog.build("streaming-llm", sinks=2, window=2), 7)
    assert found == "1000000/1100000/1110000/1111000/1101100/1100110/1100011"


def test_streaming_llm_is_its_definition() -> None:
    found = matrix(an.catalog.build("streaming-llm", sinks=3, window=5), 40)
    assert found[0, 0].equal(brute(lambda i, j: j <= i and (j < 3 or i - j < 5), 40))
