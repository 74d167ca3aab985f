"""Several texts in one sequence: blocks, packed documents, contexts read apart, prefixes."""

from __future__ import annotations

import torch

from attnir.catalog.registry import Example, entry
from attnir.catalog.sizes import within
from attnir.facts import field, tensor
from attnir.masks import Mask, causal, mask
from attnir.masks import full as everything
from attnir.space import grid
from attnir.value import Value

_DOCUMENTS = torch.tensor([0] * 10 + [1] * 22 + [2] * 5 + [3] * 27)
_CONTEXTS = torch.tensor([0] * 4 + [1] * 16 + [2] * 20 + [3] * 12 + [-1] * 12)
_PADS = torch.tensor([int(i in (22, 23, 38, 39)) for i in range(64)])


@entry(
    "block-diagonal",
    source="Blockwise Self-Attention for Long Document Understanding, unpermuted; xptree/BlockBERT",
    example=Example({"block": 12}),
)
def block_diagonal(block: int | Value = 128, causal: bool = False) -> Mask:
    """A token sees its own block.

    block    tokens to a block; the last one may be shorter; may be a parameter from 1
    causal   only up to its own position

    >>> import attnir as an
    >>> print(an.catalog.build("block-diagonal", block=16))
    q // 16 == k // 16
    """
    within(1, block=block)
    return _past(causal) & mask(lambda q, k: q // block == k // block)


@entry(
    "packed-documents",
    source="Efficient Sequence Packing without Cross-contamination; common form",
    example=Example(bindings={"doc": _DOCUMENTS}),
)
def packed_documents(causal: bool = True) -> Mask:
    """Documents packed into one sequence: a token sees its own document alone.

    Field doc: the number of each token's document. Documents lie one after another and are numbered in that order, so
    it is sorted. Positions begin anew with each document; that concerns the embeddings and not the mask.

    causal   only up to its own position

    >>> import attnir as an
    >>> print(an.catalog.build("packed-documents"))
    doc = field(sorted=True); (k <= q) & (doc(q) == doc(k))
    """
    doc = field("doc", sorted=True)
    return _past(causal) & mask(lambda q, k: doc(q) == doc(k))


@entry(
    "prefix-lm",
    source="Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer; common form",
    example=Example(bindings={"prefix": torch.tensor([20])}),
)
def prefix_lm(prefix: int | Value | None = None) -> Mask:
    """Every token sees the whole prefix, and what comes before itself.

    prefix   how many tokens the prefix has, in every sample; may be a parameter. Where left out, each sample has a
             prefix of its own: the tensor `prefix`, [B], is given in the call

    >>> import attnir as an
    >>> print(an.catalog.build("prefix-lm"))
    prefix = tensor(b); (k <= q) | (k < prefix[b])
    """
    if prefix is None:
        lengths = tensor("prefix", "b")
        return causal() | mask(lambda k, b: k < lengths[b])
    within(0, prefix=prefix)
    return causal() | mask(lambda k: k < prefix)


@entry(
    "parallel-context",
    source="Parallel Context Encoding",
    example=Example(bindings={"context": _CONTEXTS}),
)
def parallel_context() -> Mask:
    """Contexts are read apart from each other, behind shared first tokens; the question after them sees them all.

    Field context: 0 for the shared first tokens (the sink), 1, 2, ... for the tokens of each context, -1 for the
    question. Positions begin anew with each context; that concerns the embeddings and not the mask.

    >>> import attnir as an
    >>> print(an.catalog.build("parallel-context"))
    context = field(); (k <= q) & ((context(q) == context(k)) | (context(k) == 0) | (context(q) == -1))
    """
    context = field("context")
    return causal() & mask(lambda q, k: (context(q) == context(k)) | (context(k) == 0) | (context(q) == -1))


@entry(
    "blockrank",
    source="Scalable In-context Ranking with Generative Models; nilesh2797/BlockRank",
    example=Example({"blocks": 8, "length": 8}, bindings={"pad": _PADS}),
)
def blockrank(blocks: int | Value, length: int | Value) -> Mask:
    """An instruction, documents that do not see each other, and a question that sees them all, each in a block.

    Block 0 is the instruction, which all see; the last block is the question; between them lie the documents. Within a
    block attention is causal. Padding neither sees nor is seen.

    Field pad: not 0 for padding.

    blocks   how many blocks there are; may be a parameter from 1
    length   tokens to a block, with its padding; may be a parameter from 1

    >>> import attnir as an
    >>> an.compile(an.catalog.build("blockrank", blocks=4, length=2))
    <Attention pad = field(); q, k = grid(block=4, token=2); ...>
    """
    within(1, blocks=blocks, length=length)
    pad = field("pad")
    space = grid(block=blocks, token=length)
    instruction = mask(lambda q, k: (k.block == 0) & (q.block > 0), grid=space)
    own = mask(lambda q, k: q.block == k.block, grid=space) & causal()
    question = mask(lambda q, k: (q.block == blocks - 1) & (k.block < blocks - 1), grid=space)
    return mask(lambda q, k: (pad(q) == 0) & (pad(k) == 0)) & (instruction | own | question)


def _past(causal_: bool) -> Mask:
    return causal() if causal_ else everything()
