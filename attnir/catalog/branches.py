"""One sequence that branches: several continuations of one text, trees of drafted tokens."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.facts import field
from attnir.masks import Mask, causal, mask

# A context of 16 tokens and a tree with two children to a token, four levels deep, all in depth-first order.
_SUBTREES = [31, 15, 7, 3, 1, 1, 3, 1, 1, 7, 3, 1, 1, 3, 1, 1, 15, 7, 3, 1, 1, 3, 1, 1, 7, 3, 1, 1, 3, 1, 1]
_ENDS = torch.tensor([47] * 16 + [16 + i + size for i, size in enumerate(_SUBTREES)])


@entry(
    "shared-prefix",
    source="Hydragen: High-Throughput LLM Inference with Shared Prefixes; common form",
    example=Example(bindings={"branch": torch.tensor([0] * 24 + [1] * 14 + [2] * 8 + [3] * 18)}),
)
def shared_prefix() -> Mask:
    """Several continuations of one prefix in one sequence: each sees the prefix and itself.

    Field branch: 0 for the prefix, then 1, 2, ... for the tokens of each continuation. The prefix comes first and the
    continuations lie one after another in the order of their numbers, so it is sorted.

    >>> import attnir as an
    >>> print(an.catalog.build("shared-prefix"))
    branch = field(sorted=True); (k <= q) & ((branch(k) == 0) | (branch(q) == branch(k)))
    """
    branch = field("branch", sorted=True)
    return causal() & mask(lambda q, k: (branch(k) == 0) | (branch(q) == branch(k)))


@entry(
    "tree-causal",
    source="SpecInfer: Accelerating Large Language Model Serving with Tree-based Speculative Inference and "
    "Verification; flexflow/FlexFlow",
    example=Example(q_len=47, bindings={"end": _ENDS}),
)
def tree_causal(depth_first: bool = True) -> Mask:
    """Drafted tokens form a tree: a token sees itself and its ancestors.

    A walk through the tree, depth first, meets a token's subtree in one run, from the token itself on. One token is an
    ancestor of another if its run contains the other's beginning. A context before the tree is a path: each of its
    tokens has all that follows as its subtree. A forest, of several roots, is as good as a tree.

    depth_first   True: tokens stand in the order of such a walk. Field end: the position after a token's subtree.
                  False: they stand in any order, such as level by level. Fields enter and leave: the time at which the
                  walk meets a token, 0, 1, 2, ..., and the time after that of the last token of its subtree.

    >>> import attnir as an
    >>> print(an.catalog.build("tree-causal"))
    end = field(); (k <= q) & (q < end(k))
    >>> print(an.catalog.build("tree-causal", depth_first=False))
    enter = field(); leave = field(); (enter(k) <= enter(q)) & (enter(q) < leave(k))
    """
    if depth_first:
        end = field("end")
        return causal() & mask(lambda q, k: q < end(k))
    enter, leave = field("enter"), field("leave")
    return mask(lambda q, k: (enter(k) <= enter(q)) & (enter(q) < leave(k)))
