"""Patterns at the sizes of real models, about 16384 tokens: those with a promised over-compute, the whole catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

import attnir as an
from benchmarks.facts import SIDE, lengths, marks, numbered, painted, starts, tree_ends

TOKENS = 16384
IMAGE = an.grid(y=SIDE, x=SIDE)


@dataclass(frozen=True, slots=True)
class Sized:
    """A mask at a size.

    bindings   the fields, parameters and tensors of the call
    promised   the most that may be computed to a live pair
    live       the live pairs, where they follow from the definition and would take long to count
    """

    mask: an.Mask | an.Pattern
    q_len: int = TOKENS
    k_len: int | None = None
    heads: int = 1
    batch: int = 1
    bindings: Mapping[str, object] = field(default_factory=dict)
    promised: float | None = None
    live: int | None = None


def of(name: str, **params: object) -> an.Mask | an.Pattern:
    found: an.Mask | an.Pattern = an.catalog.build(name, **params)
    return found


def promised() -> dict[str, Sized]:
    """Patterns whose over-compute is promised, by name."""
    causal = an.causal()
    every = an.mask(lambda k: k % 256 == 0)
    rows = {
        "causal window 128": Sized(causal & an.window(127, 0), promised=1.55),
        "causal dilated window 1024, d = 2": Sized(_dilated(2), promised=1.15),
        "causal dilated window 1024, d = 4": Sized(_dilated(4), promised=1.30),
        "causal dilated window 1024, d = 8": Sized(_dilated(8), promised=1.55),
        "causal dilated window 1024, d = 16": Sized(_dilated(16), promised=2.05),
        "causal strided 64": Sized(of("strided", stride=64), promised=1.30),
        "window 512 + every 256th key, causal": Sized(causal & (an.window(511, 0) | every), promised=1.30),
        "4 sinks + window 256, causal": Sized(of("streaming-llm", sinks=4, window=256), promised=1.50),
        "block diagonal 64": Sized(of("block-diagonal", block=64), promised=1.0),
        "neighbourhood 13 x 13 on 128 x 128": Sized(an.neighborhood(IMAGE, 13), promised=3.1),
        "neighbourhood 31 x 31 on 128 x 128": Sized(an.neighborhood(IMAGE, 31), promised=1.65),
        "bd3lm n = 8192, B = 16": Sized(of("bd3lm", tokens=8192, block=16), promised=1.05),
    }
    video, tokens = an.neighborhood(an.grid(t=30, y=48, x=80), (18, 24, 24), stride=(16, 8, 8)), 30 * 48 * 80
    windows = tokens * 18 * 24 * 24  # at the edges a window moves and keeps its size
    return rows | {"GNA 18 x 24 x 24 on 30 x 48 x 80": Sized(video, tokens, promised=1.0, live=windows)}


def _dilated(d: int) -> an.Mask:
    return an.causal() & an.window(1023, 0) & an.mask(lambda q, k: (q - k) % d == 0)


def cataloged() -> dict[str, Sized]:
    """Every entry of the catalog with plausible parameters, by its name."""
    return _along_the_sequence() | _of_fields() | _of_grids() | _of_heads_and_chance() | _of_scores() | _of_weights()


HEADS = 8  # where scores or weights read something by head


def row(name: str, *, params: Mapping[str, object] | None = None, **shapes: tuple[int, ...]) -> Sized:
    """An entry of HEADS heads that reads real tensors."""
    given = {tensor: torch.zeros(shape) for tensor, shape in shapes.items()}
    return Sized(of(name, **(params or {})), heads=HEADS, bindings=given)


def _of_weights() -> dict[str, Sized]:
    """Weights that are not softmax's alone."""
    kind, gain = torch.arange(TOKENS) // 4096, torch.ones(HEADS, 4)
    return {
        "attend-out": row("attend-out", keep=(1, 1, 1, TOKENS)),
        "attn-dropout": Sized(of("attn-dropout"), bindings={"seed": 1}),
        "calibrated-keys": Sized(of("calibrated-keys"), heads=HEADS, bindings={"kind": kind, "gain": gain}),
        "column-softmax": row("column-softmax", column=(1, HEADS, TOKENS)),
        "fast": Sized(of("fast")),
        "gated": row("gated", gate=(1, HEADS, TOKENS)),
        "landmark": Sized(of("landmark")),
        "linear": Sized(of("linear")),
        "relu2": Sized(of("relu2")),
        "sigmoid": row("sigmoid", level=(HEADS,)),
        "sink-logit": row("sink-logit", sink=(HEADS,)),
        "transfer-msad": Sized(of("transfer-msad"), heads=HEADS, bindings={"dropped": 0}),
    }


def _of_scores() -> dict[str, Sized]:
    """Scores that change."""
    heads = HEADS
    return {
        "alibi-causal": row("alibi-causal", slopes=(heads,)),
        "alibi-symmetric": row("alibi-symmetric", slopes=(heads,)),
        "dense-bias": row("dense-bias", bias=(1, 1, 1, TOKENS)),
        "event-time": row("event-time", time=(1, TOKENS), rate=(heads,)),
        "log-multiplicity": Sized(of("log-multiplicity"), bindings={"n": torch.ones(TOKENS, dtype=torch.int64)}),
        "lowrank-bias": row("lowrank-bias", qb=(1, heads, TOKENS, 2), kb=(1, heads, TOKENS, 2)),
        "music-relative": row("music-relative", qe=(1, heads, TOKENS, 128)),
        "rcmha": row("rcmha", uk=(1, heads, TOKENS), qr=(1, heads, TOKENS, 128)),
        "scale": row("scale", tau=(heads,)),
        "selective-temperature": row("selective-temperature", c=(heads,)),
        "gpsa": row("gpsa", params={"height": SIDE, "width": SIDE}, w=(heads, 3)),
        "mvpa": row(
            "mvpa",
            params={"steps": 1024, "channels": 16},
            uk=(1, heads, TOKENS),
            qt=(1, heads, TOKENS, 1024),
            qc=(1, heads, TOKENS, 16),
        ),
        "softcap": row("softcap"),
        "table-bias": row("table-bias", bias=(heads, 128)),
    }


def _along_the_sequence() -> dict[str, Sized]:
    """Positions and regions alone."""
    diffusion = {n: Sized(of(n, tokens=8192, block=32)) for n in ("fast-dllm-v2", "efficient-dlm", "nbdiff", "i-dlm")}
    found = diffusion | {n: Sized(of(n)) for n in ("cca", "coca", "dha", "mla", "self-self")}
    return found | {
        "bd3lm": Sized(of("bd3lm", tokens=8192, block=4)),
        "bigbird": Sized(of("bigbird", blocks=256)),
        "block-diagonal": Sized(of("block-diagonal")),
        "cab-cc": Sized(of("cab-cc"), 4096, TOKENS),
        "cab-cs": Sized(of("cab-cs")),
        "cab-nc": Sized(of("cab-nc"), 4096, TOKENS),
        "cab-ns": Sized(of("cab-ns")),
        "causal": Sized(of("causal")),
        "dcal-glca": Sized(of("dcal-glca", chosen=1638, tokens=TOKENS), 1638, TOKENS),
        "dcal-pwca": Sized(of("dcal-pwca", tokens=8192), 8192, TOKENS),
        "dilated-window": Sized(of("dilated-window")),
        "fast-dllm-v2-decoding": Sized(of("fast-dllm-v2-decoding"), 4096, TOKENS),
        "npt-columns": Sized(of("npt-columns"), 128, batch=128),
        "npt-rows": Sized(of("npt-rows")),
        "saits": Sized(of("saits")),
        "streaming-llm": Sized(of("streaming-llm")),
        "strided": Sized(of("strided")),
        "window": Sized(of("window")),
    }


def _of_fields() -> dict[str, Sized]:
    """Facts about tokens decide."""
    documents, shots, spans = lengths(TOKENS, 200, 3000), lengths(TOKENS, 1600, 5000), lengths(TOKENS, 8, 200)
    padded = marks(TOKENS, (0, 4000))
    thoughts = torch.where(torch.arange(TOKENS) % 1024 < 512, 0, 1 + torch.arange(TOKENS) // 1024)
    page = torch.cat([numbered(torch.tensor([256, 128, 128])), painted((16, 80, 8, 60, 1), (48, 112, 50, 116, 2))])
    contexts = torch.cat([numbered(lengths(15360, 500, 2500)), torch.full((1024,), -1)])
    captions = numbered(lengths(448, 40, 120))
    place = 256 * (2 * numbered(spans) + 1) + torch.arange(TOKENS) - starts(spans)
    template = torch.arange(TOKENS) < 4096
    position = torch.cat([torch.arange(12288), 3 * torch.arange(4096)])
    iteration = marks(TOKENS, (12288, TOKENS))
    none, every = marks(TOKENS), 64
    images = torch.arange(TOKENS) // 256 + 1
    span = torch.arange(TOKENS) // 1024 * 512
    ring = torch.stack([(torch.arange(TOKENS) + away) % TOKENS for away in (0, 1, -1, 97, -97, 1024)], 1)

    def row(
        name: str,
        q_len: int = TOKENS,
        k_len: int | None = None,
        *,
        params: Mapping[str, object] | None = None,
        **bindings: object,
    ) -> Sized:
        return Sized(of(name, **(params or {})), q_len, k_len, bindings=bindings)

    return {
        "bert4rec": row("bert4rec", pad=padded),
        "blockrank": row(
            "blockrank", params={"blocks": 64, "length": 256}, pad=(torch.arange(TOKENS) % 256 >= 200).long()
        ),
        "duo-causal": row("duo-causal", position=position, iteration=iteration, pad=none),
        "design-edit": row("design-edit", erased=marks(TOKENS, (0, TOKENS // 8))),
        "graph-edges": Sized(of("graph-edges"), bindings={"edges": ring, "bias": torch.zeros(TOKENS, ring.shape[1])}),
        "holocine": row("holocine", params={"first": 1560}, shot_start=starts(shots)),
        "holocine-cross": row(
            "holocine-cross",
            TOKENS,
            512,
            shot=(numbered(shots), torch.cat([torch.full((64,), -1), captions % len(shots)])),
        ),
        "ir-isolation": row("ir-isolation", subject=painted((16, 80, 8, 50, 1), (48, 112, 60, 116, 2))),
        "ladir": row("ladir", thought=thoughts, pad=none),
        "ltri": row("ltri", low0=span, high0=span + 256),
        "longformer": row("longformer", is_global=marks(TOKENS, (0, 1), (5000, 5016), (11000, 11016))),
        "nbp-video": row("nbp-video", params={"prefix": 512, "block": 16}, pad=marks(TOKENS, (400, 512))),
        "orion-msp": row("orion-msp", params={"length": TOKENS}, pad=marks(TOKENS, (15000, TOKENS))),
        "packed-documents": row("packed-documents", doc=numbered(documents)),
        "parallel-context": row("parallel-context", context=contexts),
        "prefix-lm": row("prefix-lm", prefix=torch.tensor([4000])),
        "region-joint": row(
            "region-joint", len(page), params={"text": 512, "image": TOKENS, "instances": 2}, regions=page
        ),
        "sasrec": row("sasrec", pad=padded),
        "spa": row("spa", image=(numbered(torch.tensor([5000, 4000, 3000, 2000, 2384])) + 1) % 5 - 1),
        "shared-prefix": row("shared-prefix", branch=numbered(torch.tensor([8192, *[1024] * 8]))),
        "text-infilling": row("text-infilling", place=place),
        "text-infilling-joint": row("text-infilling-joint", place=place, template=template.long()),
        "tree-causal": row("tree-causal", 31 * 512, end=tree_ends(512, 5)),
        "vision-cross-attention": row(
            "vision-cross-attention",
            TOKENS,
            64 * every,
            image=(images - 1, numbered(torch.full((64,), every), first=1)),
        ),
    }


def _of_grids() -> dict[str, Sized]:
    """Images and videos."""
    square = {"height": SIDE, "width": SIDE}
    return {
        "axial": Sized(of("axial", grid=IMAGE, axes=("y", "x"))),
        "clear": Sized(of("clear", **square), 512 + TOKENS),
        "freeswim": Sized(of("freeswim", frames=2, height=68, width=120), 2 * 68 * 120, batch=2),
        "halo": Sized(of("halo", **square)),
        "neighborhood": Sized(of("neighborhood", grid=IMAGE, kernel=7)),
        "radial": Sized(of("radial", frames=16, tokens=1024)),
        "sliding-tile": Sized(
            of("sliding-tile", frames=12, height=32, width=48, tile=(6, 8, 8), window=(1, 3, 3)), 12 * 32 * 48
        ),
        "swin": Sized(of("swin", height=126, width=126, shift=3), 126 * 126),
    }


def _of_heads_and_chance() -> dict[str, Sized]:
    """Heads that differ, and keys that chance chooses; the latter are shorter, since they are counted pair by pair."""
    square = {"height": SIDE, "width": SIDE}
    return {
        "hilo": Sized(of("hilo", **square, heads=4), k_len=TOKENS + TOKENS // 4, heads=4),
        "key-drop": Sized(of("key-drop"), 4096),
        "ls-attention": Sized(of("ls-attention", short=4), heads=8),
        "s2-attn": Sized(of("s2-attn", heads=4, group=4096), heads=4),
        "sink-lora": Sized(of("sink-lora", heads=4, group=4096, unshifted=1), heads=4),
        "ssa": Sized(of("ssa"), 4096),
        "stripe": Sized(of("stripe", **square, heads=2, stripe=8), heads=2),
    }
