"""Running the kernels: which configuration, which arguments, which grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor

from attnir.arrange import with_terms
from attnir.call import Call
from attnir.codegen.cache import CACHE
from attnir.codegen.configure import arrangement_of, configure
from attnir.codegen.gradients import Gradients, Incoming, Wanted
from attnir.codegen.narrow import narrowed
from attnir.codegen.plan import Plan
from attnir.codegen.targets import LIKE, Config, Target, current_target
from attnir.codegen.triton.arguments import MAPS, arguments, tensors_of
from attnir.codegen.triton.emit import emit
from attnir.codegen.triton.learned import NO_SUMS, LearnedSums
from attnir.codegen.triton.metadata import metadata
from attnir.codegen.triton.spec import Spec
from attnir.errors import BackendError
from attnir.heads import Heads, maps_of, needs_maps, summed
from attnir.inputs import check_dtype, check_widths
from attnir.program import Launches, Programs, TileProgram
from attnir.terms import Term
from attnir.walk import tile_counts

Values = dict[str, Any]
MOST_REACH = 2**31  # elements, for offsets of 32 bits


def forward(plan: Plan, call: Call, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """(o [B, Hq, Sq, Dv], lse [B, Hq, Sq] float32, empty where weights are not divided), contiguous."""
    o = q.new_empty((*q.shape[:3], v.shape[3]))
    lse = torch.empty(q.shape[:3] if plan.pattern.weights.divided else 0, dtype=torch.float32, device=q.device)
    maps = maps_of(plan.heads, q.shape[1], k.shape[1], v.shape[1])
    run("forward", plan, call, {"q": q, "k": k, "v": v, "o": o, "lse": lse}, scale, maps=maps)
    return o, lse


def backward(plan: Plan, call: Call, given: Incoming, wanted: Wanted) -> Gradients:
    """The gradients that are wanted."""
    q, k, v, do, scale = given.q, given.k, given.v, given.do, given.scale
    do = do if do.stride(-1) == 1 or do.shape[-1] == 1 else do.contiguous()
    lse, dlse = given.lse.contiguous(), None if given.dlse is None else given.dlse.float().contiguous()
    delta = torch.empty_like(lse)
    held = {"q": q, "k": k, "v": v, "do": do, "lse": lse, "delta": delta}
    if plan.pattern.weights.divided:
        of_rows = {"o": given.o, "do": do, "lse": lse, "dlse": dlse, "delta": delta, "q": q, "v": v}
        run("delta", plan, call, of_rows, scale)
    with_q = wanted.q or bool(wanted.reals)  # whose kernel sums up the gradients of real tensors, too
    maps = maps_of(plan.heads, q.shape[1], k.shape[1], v.shape[1])
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device) if with_q else None

    def measure(largest: LearnedSums) -> None:
        run("dq", plan, call, {**held, "dq": dq}, scale, largest, maps=maps)

    sums = LearnedSums.none(plan.pattern, call, wanted.reals, given, delta, measure)
    if with_q:
        run("dq", plan, call, {**held, "dq": dq}, scale, sums, maps=maps)
    dk, dv = _of_keys(plan, call, held, k, v, scale, maps) if wanted.kv else (None, None)
    return Gradients(dq, dk, dv, sums.gradients(call))


def _of_keys(
    plan: Plan, call: Call, given: Mapping[str, Tensor], k: Tensor, v: Tensor, scale: float, maps: Heads | None
) -> tuple[Tensor, Tensor]:
    """dK and dV. With maps every query head gives its own, in float32, and these are summed in their order."""
    if maps is None:
        dk, dv = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (k, v))
        run("dkv", plan, call, {**given, "dk": dk, "dv": dv}, scale)
        return dk, dv
    dk, dv = (torch.empty((t.shape[0], call.heads, *t.shape[2:]), dtype=torch.float32, device=t.device) for t in (k, v))
    run("dkv", plan, call, {**given, "dk": dk, "dv": dv}, scale, maps=maps)
    return summed(dk, maps.k, k.shape[1]).to(k.dtype), summed(dv, maps.v, v.shape[1]).to(v.dtype)


def source(plan: Plan, kind: str, d: int, dv: int | None, dtype: torch.dtype, target: str | None, grouped: bool) -> str:
    """The source of a kernel: "forward", "delta", "dq" or "dkv", for 16-byte aligned tensors."""
    dv = d if dv is None else dv
    check_widths(d, dv)
    check_dtype("dtype", dtype)
    spec = spec_of(plan, kind, Target.parse(target) if target else current_target(), d, dv, dtype, grouped=grouped)
    return "\n\n".join(emit(kind, programs, spec) for programs in launches_of(plan, kind, spec.config))


def spec_of(
    plan: Plan,
    kind: str,
    target: Target,
    d: int,
    dv: int,
    dtype: torch.dtype,
    *,
    grouped: bool = True,
    aligned: bool = True,
) -> Spec:
    """The structure of a kernel as it is configured, where no call says more. grouped: query heads share a key head."""
    mapped = needs_maps(plan.heads) and kind != "delta"
    config = configuration(plan, kind, target, d, dv, dtype)
    return Spec(dtype, d, dv, config, target.family, grouped=grouped and not mapped, aligned=aligned, mapped=mapped)


def configuration(plan: Plan, kind: str, target: Target, d: int, dv: int, dtype: torch.dtype) -> Config:
    """The configuration that the user fixed, or the one with the least work."""
    return configure(plan, kind, target, d, dv, dtype).config


def launches_of(plan: Plan, kind: str, config: Config) -> Launches:
    """The tile programs of every launch of a kernel; `delta` walks none."""
    if kind == "delta":
        return ((),)
    launches = arrangement_of(plan, kind, config).taken.launches
    return launches if kind == "forward" else tuple(tuple(map(_without_sink, programs)) for programs in launches)


def _without_sink(p: TileProgram) -> TileProgram:
    return p if p.weights.sink is None else replace(p, weights=p.weights.without_sink)


def interpreted() -> bool:
    """Whether Triton interprets kernels instead of compiling them."""
    return bool(triton.knobs.runtime.interpret)


def run(
    kind: str,
    plan: Plan,
    call: Call,
    tensors: Mapping[str, Tensor | None],
    scale: float,
    sums: LearnedSums = NO_SUMS,
    *,
    maps: Heads | None = None,
    terms: tuple[Term, ...] = (),
    largest: bool = False,
) -> None:
    """Launch a kernel; one of statistics with its terms."""
    q, v = tensors["q"], tensors["v"]
    assert q is not None and v is not None
    if q.device.type == "cpu" and not interpreted():
        raise BackendError(
            "the Triton kernels need a GPU, and q is on the CPU; take backend='torch', or set TRITON_INTERPRET=1 "
            "before Python starts, to run them, slowly, in Triton's interpreter"
        )
    target = current_target(q.device)
    like = LIKE.get(kind, kind)
    config = configuration(plan, like, target, q.shape[3], v.shape[3], q.dtype)
    if like != kind and plan.config(like) is None:
        config = narrowed(kind, config, terms, largest=largest)
    launches = with_terms(launches_of(plan, like, config), terms) if terms else launches_of(plan, like, config)
    names = tensors_of(kind, launches[0])
    used = [t for name in names if (t := tensors[name]) is not None]
    spec = Spec(
        q.dtype,
        q.shape[3],
        v.shape[3],
        config,
        target.family,
        grouped=maps is None and call.heads != v.shape[1],
        aligned=all(map(is_aligned, used)),
        interpret=interpreted(),
        signed=kind == "forward" and scale < 0 and q.dtype is not torch.float32,
        learned=sums.names,
        measures=sums.measures,
        far=any(_reach(t) >= MOST_REACH for t in (*call.reals.values(), *sums.held.values())),
        largest=largest,
        mapped=maps is not None,
    )
    values: Values = {
        **tensors,
        **sums.arguments(),
        **call.sizes,
        "heads": call.heads,
        "group": call.heads // v.shape[1],
        "scale": scale,
    }
    if maps is not None:
        values |= dict(zip(MAPS, _on_device(maps, q.device), strict=True))
    for name in names:
        values |= strides(name, tensors[name])
    copies = call.batch * (v.shape[1] if kind in ("dkv", "pulled_dk") and maps is None else call.heads)
    for programs in launches:
        more = metadata(programs, call) if programs else {}
        for decl in plan.pattern.reals:
            more |= sums.strides(decl) if decl.name in sums.names else {}
        instances = _row_tiles(programs, call, config) * copies
        if instances:
            _launch(kind, programs, spec, {**values, **more}, instances, q.device)


@lru_cache(maxsize=256)
def _on_device(maps: Heads, device: torch.device) -> tuple[Tensor, Tensor]:
    """The maps as tensors, int32 [Hq]."""
    k, v = (torch.tensor(of, dtype=torch.int32, device=device) for of in (maps.k, maps.v))
    return k, v


def _row_tiles(programs: Programs, call: Call, config: Config) -> int:
    """How many tiles the rows have."""
    if not programs:
        return int(triton.cdiv(call.q_len, config.block_q))
    rows = programs[0].rows
    return math.prod(tile_counts(rows, call))


def _launch(kind: str, programs: Programs, spec: Spec, values: Values, instances: int, device: torch.device) -> None:
    module = CACHE.load(kind, _structure(kind, programs, spec), lambda: emit(kind, programs, spec))
    ordered = [values[a.name] for a in arguments(kind, programs, spec)]
    with _on(device):
        getattr(module, kind)[(instances,)](*ordered, **spec.options)


def _on(device: torch.device) -> AbstractContextManager[object]:
    """The device of a launch. In the interpreter overflows are silent, as in hardware: dead pairs have some."""
    if device.type == "cuda":
        return torch.cuda.device(device)
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


@lru_cache(maxsize=1024)
def _structure(kind: str, programs: Programs, spec: Spec) -> str:
    """What a kernel's source follows from; the reason of a program is for people."""
    return "\n".join([kind, *(str(replace(p, reason="")) for p in programs), str(spec)])


def _reach(t: Tensor) -> int:
    """How far the last element of a tensor lies behind the first, or the one that is read where there is none."""
    return sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True))


def strides(name: str, t: Tensor | None) -> dict[str, int]:
    """The strides of a [B, H, S, D] tensor, as arguments."""
    assert t is not None
    return {f"{name}_{axis}": t.stride(i) for i, axis in enumerate(("batch", "head", "row"))}


def is_aligned(t: Tensor) -> bool:
    """Whether every row of a [B, H, S, D] tensor begins at a multiple of 16 bytes."""
    steps = (t.stride(i) for i in range(3) if t.shape[i] > 1)
    return t.data_ptr() % 16 == 0 and all(step * t.element_size() % 16 == 0 for step in steps)
