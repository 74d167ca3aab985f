"""Sequences that branch, against a walk from each token up to its root."""

from __future__ import annotations

import random

import pytest
import torch

import attnir as an
from tests.attnir.catalog.checks import brute, matrix, rows


@pytest.mark.parametrize("prefix, lengths", [(0, [3]), (4, []), (5, [1, 1, 1]), (7, [4, 9, 2])])
def test_shared_prefix_is_its_definition(prefix: int, lengths: list[int]) -> None:
    """Each continuation alone, behind the prefix, is causal."""
    branch = [0] * prefix + [c for c, length in enumerate(lengths, 1) for _ in range(length)]
    n = len(branch)
    alone = [[i for i in range(n) if i < prefix or branch[i] == c] for c in range(len(lengths) + 1)]

    def allow(i: int, j: int) -> bool:
        text = alone[branch[i]]
        return j in text and text.index(j) <= text.index(i)

    assert matrix(an.catalog.build("shared-prefix"), n, branch=torch.tensor(branch))[0, 0].equal(brute(allow, n))


def ancestors(parents: list[int], i: int) -> set[int]:
    """A token and all above it. A root's parent is -1."""
    return set() if i < 0 else {i} | ancestors(parents, parents[i])


def walk(parents: list[int]) -> tuple[list[int], list[int]]:
    """When a depth-first walk meets each token, and the time after the last token of its subtree."""
    enter, leave, time = [0] * len(parents), [0] * len(parents), 0

    def visit(i: int) -> None:
        nonlocal time
        enter[i], time = time, time + 1
        for child in [c for c, p in enumerate(parents) if p == i]:
            visit(child)
        leave[i] = time

    for root in [c for c, p in enumerate(parents) if p == -1]:
        visit(root)
    return enter, leave


TREES = {
    "one token": [-1],
    "a path": [-1, 0, 1, 2, 3],
    "a star": [-1, 0, 0, 0, 0],
    "a forest": [-1, -1, 0, 1, 1, 2],
    "level by level": [-1, 0, 1, 2, 2, 3, 3, 4, 4],
    "behind a context": [-1, 0, 1, 2, 3, 3, 3, 4, 4, 6, 7, 7],
}
for seed in range(4):
    chance = random.Random(seed)
    TREES[f"random {seed}"] = [-1, *(chance.randrange(max(0, i - 6), i) for i in range(1, 30))]


@pytest.mark.parametrize("name", TREES)
def test_tree_causal_is_its_definition_in_any_order(name: str) -> None:
    parents = TREES[name]
    n = len(parents)
    enter, leave = map(torch.tensor, walk(parents))
    found = matrix(an.catalog.build("tree-causal", depth_first=False), n, enter=enter, leave=leave)[0, 0]
    assert found.equal(brute(lambda i, j: j in ancestors(parents, i), n))


@pytest.mark.parametrize("name", TREES)
def test_tree_causal_is_its_definition_depth_first(name: str) -> None:
    enter, leave = walk(TREES[name])
    order = sorted(range(len(enter)), key=lambda i: enter[i])
    parents = [enter[TREES[name][i]] if TREES[name][i] >= 0 else -1 for i in order]  # the same tree, renumbered
    n = len(parents)
    found = matrix(an.catalog.build("tree-causal"), n, end=torch.tensor([leave[i] for i in order]))[0, 0]
    assert found.equal(brute(lambda i, j: j in ancestors(parents, i), n))


def test_tree_causal_reads_as_a_tree() -> None:
    """0 -> 1 -> (2, 3), 0 -> 4."""
    found = rows(an.catalog.build("tree-causal"), 5, end=torch.tensor([5, 4, 3, 4, 5]))
    assert found == "10000/11000/11100/11010/10001"


def test_the_example_is_a_tree_behind_its_context() -> None:
    example = an.catalog.get("tree-causal").example
    found = matrix(an.catalog.build("tree-causal"), 47, **example.bindings)[0, 0]
    assert found.sum(1).tolist()[:17] == list(range(1, 18))
    assert sorted(found.sum(1).tolist()[16:]) == [17] + [18] * 2 + [19] * 4 + [20] * 8 + [21] * 16
