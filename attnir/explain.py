"""Explaining: how a pattern is computed at a length, with exact counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from attnir.blocks import list_blocks
from attnir.certificate import kept_certificate
from attnir.codegen.configure import Choice, configure, tile_of
from attnir.codegen.plan import Plan
from attnir.codegen.targets import Target, current_target
from attnir.count import count_launches
from attnir.errors import BackendError, ConfigError, HeadsError
from attnir.explanation import Explanation
from attnir.footprint import metadata_bytes
from attnir.inputs import check_dtype, check_widths
from attnir.live import live_pairs_of
from attnir.promises import check_sizes
from attnir.routed import with_typical_lists
from attnir.traverse import names_of

if TYPE_CHECKING:
    from attnir.api import Attention


def explain(
    attention: Attention,
    q_len: int,
    k_len: int | None = None,
    *,
    heads: int | None = None,
    batch: int = 1,
    tile: tuple[int, int] | None = None,
    d: int = 64,
    dv: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    target: str | None = None,
    backend: str | None = None,
    q_start: int | None = None,
    **bindings: object,
) -> Explanation:
    """How an attention is computed at a length.

    q_len, k_len    lengths; k_len = q_len when left out
    heads, batch    how many of them are counted; it matters where the pattern reads h or b. Left out, 1 is, or as many
                    heads as the pattern has masks, or the attention maps, or a tensor of the bindings integers for
    tile            (query rows, key columns) of a tile; the configuration's when left out
    d, dv, dtype    head widths and dtype, which the choice of a configuration depends on
    target          "sm_90", "gfx942", ...: the GPU at hand, sm_90 where there is none
    backend         "triton" or "torch": whose tiles are meant
    bindings        what the mask reads, as in a call; what scores, weights and factors read may be left out

    >>> import attnir as an
    >>> e = an.compile(an.causal()).explain(16384, tile=(128, 64))
    >>> e.live_pairs, e.metadata_bytes, round(e.over_compute, 3)
    (134225920, 0, 1.008)
    """
    dv = d if dv is None else dv
    check_widths(d, dv)
    check_dtype("dtype", dtype)
    backend = backend or ("torch" if attention.plan.backend == "torch" else "triton")
    if backend not in ("triton", "torch"):
        raise BackendError(f"tiles are those of triton or torch; {backend!r} has none")
    if not (tile is None or _is_pair(tile)):
        raise ConfigError(f"a tile is (query rows, key columns), two integers from 1, not {tile!r}")
    tile = None if tile is None else (tile[0], tile[1])  # a list will do
    if heads is not None and attention.plan.heads is not None and heads != len(attention.plan.heads.k):
        raise HeadsError(f"the maps are for {len(attention.plan.heads.k)} query heads, not {heads}")
    heads = heads if heads is not None else attention.pattern.heads or given_heads(attention, bindings) or 1
    by_chance = tuple(r.name for r in attention.routes if r.name not in bindings)
    if attention.routes:
        start = attention.signature.start(q_start, q_len, q_len if k_len is None else k_len)
        bindings = with_typical_lists(attention.routes, batch, heads, q_len, k_len, start, bindings)
    call = attention.signature.of_tiles(bindings, attention.pattern.mask.signature).bind(
        bindings,
        batch=batch,
        heads=heads,
        q_len=q_len,
        k_len=k_len,
        q_start=q_start,
        device=_device_of(bindings),
        check=True,  # counts of a field that is not as declared would be of another pattern
    )
    given = {*call.fields, *call.tensors, *call.params, *call.numbers, *call.reals, *call.selections}
    check_sizes(call, *(e for e in attention.pattern.roots if names_of(e) <= given))
    described = Target.parse(target) if target else current_target()
    plan = attention.plan.on(call)
    choice, forward_tile, key_tile = (
        (None, tile, tile) if tile is not None else _tiling(plan, backend, described, d, dv, dtype)
    )
    arrangement = plan.arrangement(forward_tile)
    transposed = plan.arrangement(key_tile, transposed=True)
    blocks = {p: list_blocks(p, call) for programs in arrangement.taken.launches for p in programs if p.listed}
    return Explanation(
        attention,
        call,
        str(described),
        backend,
        choice,
        arrangement,
        transposed,
        live_pairs_of(attention.pattern.predicate, plan.pattern.spaces, call),
        count_launches(arrangement.taken.launches, call, blocks),
        count_launches(transposed.taken.launches, call),
        forward_tile,
        sum(metadata_bytes(programs, call, blocks) for programs in arrangement.taken.launches),
        d,
        dv,
        kept_certificate(attention.plan),
        by_chance,
    )


def given_heads(attention: Attention, bindings: Mapping[str, object]) -> int | None:
    """How many heads the maps of heads are for, or a tensor over heads is given for."""
    if attention.plan.heads is not None:
        return len(attention.plan.heads.k)
    for t in (*attention.pattern.tensors, *attention.pattern.reals):
        values = bindings.get(t.name)
        if "h" in t.axes and isinstance(values, torch.Tensor) and values.dim() == len(t.axes):
            heads = values.shape[t.axes.index("h")]
            if heads > 1 or not t.real:  # one of a real tensor stands for all
                return heads
    for s in attention.pattern.selections:
        values = bindings.get(s.name)
        if "h" in s.axes and isinstance(values, torch.Tensor) and values.dim() == len(s.axes) + 2:
            return values.shape[s.axes.index("h")]
    return None


def _is_pair(tile: object) -> bool:
    return isinstance(tile, tuple | list) and len(tile) == 2 and all(type(n) is int and n >= 1 for n in tile)


def _device_of(bindings: Mapping[str, object]) -> torch.device:
    """Where the fields are; the counting happens there."""
    given = [t for b in bindings.values() for t in (b if isinstance(b, tuple) else (b,)) if isinstance(t, torch.Tensor)]
    return given[0].device if given else torch.device("cpu")


def _tiling(
    plan: Plan, backend: str, target: Target, d: int, dv: int, dtype: torch.dtype
) -> tuple[Choice | None, tuple[int, int], tuple[int, int]]:
    """(how the forward's configuration was chosen, its tile, the transposed program's tile)."""
    if backend == "torch":
        from attnir.codegen.torch.target import default_tile

        tile = default_tile(plan.pattern)
        return None, tile, tile
    forward, dkv = (configure(plan, kind, target, d, dv, dtype) for kind in ("forward", "dkv"))
    return forward, tile_of("forward", forward.config), tile_of("dkv", dkv.config)
