"""What commands share: the arguments that say a pattern and a call, and how errors are said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
import typer

import attnir as an
from attnir.compiled_graph import CompiledGraph
from attnir.frontends.loading import is_named, load
from attnir.frontends.values import Given

PatternText = Annotated[
    str,
    typer.Argument(help='a pattern as text, "causal & ((abs(q - k) <= 256) | (k < 4))", or by name, module:name'),
]
Length = Annotated[int, typer.Argument(help="the number of tokens", min=1, max=2**28)]
Params = Annotated[
    list[str] | None, typer.Option("--set", help="a parameter of the pattern, name=value; may be repeated")
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field", help='a field, by its position i or from a file: "doc=i // 300", doc=FILE.npy, doc=FILE.pt'
    ),
]
Tensors = Annotated[
    list[str] | None,
    typer.Option("--tensor", help='numbers by sample or head: n=1,2,3; by both: "n=1,2;3,4"; or a file'),
]
TileSize = Annotated[tuple[int, int] | None, typer.Option(help="query rows and key columns of a tile")]
Target = Annotated[str | None, typer.Option(help="sm_80, sm_90, sm_100, gfx942; default: the GPU here, else sm_90")]
Width = Annotated[int, typer.Option(help="the width of a head of q and k, 1 to 576")]
ValueWidth = Annotated[int | None, typer.Option(help="the width of a head of v; default: that of q and k")]
Grouped = Annotated[bool, typer.Option("--grouped", help="of calls with several query heads to a key head")]
Kind = Literal["forward", "delta", "dq", "dkv"]
DtypeName = Literal["bf16", "fp16", "fp32"]
Dtype = Annotated[DtypeName, typer.Option(help="of q, k and v")]
Backend = Literal["triton", "torch", "reference"]
DTYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@contextmanager
def in_words() -> Iterator[None]:
    """Errors as the command line says them: in words, with exit code 2."""
    try:
        yield
    except (an.AttnirError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def pattern_of(text: str) -> an.Mask | an.Pattern | an.Attention:
    """What a text says, or what stands where it points to."""
    found = pattern_or_graph_of(text)
    if isinstance(found, CompiledGraph):
        raise typer.BadParameter(f"{text} is a graph of stages, which `attnir explain` takes; name a pattern of it")
    return found


def pattern_or_graph_of(text: str) -> an.Mask | an.Pattern | an.Attention | CompiledGraph:
    """The same, or a graph."""
    with in_words():
        found = load(text) if is_named(text) else an.parse(text)
        return an.compile(found) if isinstance(found, an.Graph) else found


def attention_of(text: str, *, backend: Backend | None = None) -> an.Attention:
    """The attention of a text."""
    found = pattern_of(text)
    with in_words():
        if not isinstance(found, an.Attention):
            return an.compile(found, backend=backend)
        if backend is None:
            return found
        plan = found.plan
        config = dict(plan.configs)
        return an.compile(
            found.pattern, backend=backend, check=plan.check, config=config, heads=plan.heads, route=found.routes
        )


def bound(
    attention: an.Attention,
    length: int,
    keys: int | None,
    q_start: int | None,
    *given: list[str] | None,
    counted: bool = False,
) -> dict[str, Any]:
    """What --set, --field and --tensor give, in this order, at a length; `counted`: those of the mask will do."""
    with in_words():
        return Given(*(words or () for words in given)).bind(attention, length, keys, q_start, counted=counted)
