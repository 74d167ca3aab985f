"""What works on a machine: one check a function, each with what was found and what to do about it.

What could take the process down with it, a driver or a compiler, is tried in another process.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import attnir as an
from attnir.codegen.entries import entries
from attnir.codegen.store import cache_folder, write_sealed
from attnir.codegen.targets import current_target

OK, MISSING, BROKEN = "ok", "missing", "broken"
COLOURS = {OK: "green", MISSING: "yellow", BROKEN: "red"}
PYTHON = ((3, 11), (3, 14))  # from, and below
TORCH = ((2, 11), (99,))
TRITON = ((3, 6), (3, 10))
PATIENCE = 300  # seconds for a tiny kernel in another process

TINY = """
import torch
import attnir as an

torch.manual_seed(0)
q, k, v = (torch.randn(1, 2, 20, 16).to({device!r}) for _ in range(3))
pattern = an.causal() & an.window(5)
got = an.compile(pattern, backend="triton")(q, k, v)
want = an.reference(pattern)(q, k, v)
error = (got - want).abs().max().item()
assert error < 1e-2, f"a tiny kernel is wrong by {{error:.2g}}"
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: "ok", "missing" or "broken". Nothing runs without what is `needed`."""

    what: str
    state: str
    words: str
    needed: bool = False


def checks() -> list[Finding]:
    """Every check, in the order in which one would look."""
    gpu = torch.cuda.is_available()
    triton = _version("triton", *TRITON, 'pip install "triton>=3.6,<3.10"; torch tiles run without it')
    found = [
        _python(),
        _version("torch", *TORCH, 'pip install "torch>=2.11"', needed=True),
        triton,
        _gpu(gpu),
        _tiles(),
        *_kernels(gpu, triton.state == OK),
        _cache(),
        _tools(triton.state == OK),
        _optional("matplotlib", "pictures: attnir plot", 'pip install "attnir[plot]"'),
        _optional("hypothesis", "random patterns", "pip install hypothesis"),
        _waiting(gpu),
    ]
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _python() -> Finding:
    least, below = PYTHON
    state = OK if least <= sys.version_info[:2] < below else BROKEN
    wanted = "" if state == OK else f"; attnir needs {_dotted(least)} or newer, below {_dotted(below)}"
    return Finding("python", state, f"{platform.python_version()}, {sys.executable}{wanted}", needed=True)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _version(
    name: str, least: tuple[int, ...], below: tuple[int, ...], advice: str, *, needed: bool = False
) -> Finding:
    """Whether a package is there, in a version that attnir is made for."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, MISSING, advice, needed)
    if least <= _numbers(version) < below:
        return Finding(name, OK, version, needed)
    return Finding(name, BROKEN, f"{version} is outside of what attnir is made for; {advice}", needed)


def _gpu(there: bool) -> Finding:
    if not there:
        why = (
            "this torch has no CUDA or ROCm in it"
            if torch.version.cuda is None and not torch.version.hip
            else ("torch sees none: is the driver installed, and CUDA_VISIBLE_DEVICES not empty?")
        )
        return Finding("GPU", MISSING, f"{why}; attention runs as torch tiles on the CPU")
    try:
        target = current_target()
    except an.AttnirError as error:
        return Finding("GPU", BROKEN, f"{torch.cuda.get_device_name()}: {error}")
    return Finding("GPU", OK, f"{torch.cuda.get_device_name()}, target {target}, {target.products} instructions")


def _tiles() -> Finding:
    """A tiny attention as torch tiles, forward and backward."""
    try:
        q, k, v = (torch.randn(1, 2, 20, 16, requires_grad=True) for _ in range(3))
        pattern = an.causal() & an.window(5)
        got, want = an.compile(pattern, backend="torch")(q, k, v), an.reference(pattern)(q, k, v)
        assert isinstance(want, torch.Tensor)
        error = (got - want).abs().max().item()
        got.sum().backward()
    except Exception as problem:
        return Finding("torch tiles", BROKEN, f"{type(problem).__name__}: {problem}", needed=True)
    if not error < 1e-4:
        return Finding("torch tiles", BROKEN, f"a tiny attention is wrong by {error:.2g}", needed=True)
    return Finding("torch tiles", OK, f"{torch.get_num_threads()} threads; a tiny attention is right", needed=True)


def _kernels(gpu: bool, triton: bool) -> Iterator[Finding]:
    """A tiny kernel on the GPU, where there is one, and in Triton's interpreter."""
    if gpu:
        yield _tiny("Triton kernels", "cuda", "0") if triton else Finding("Triton kernels", MISSING, "need triton")
    if triton:
        yield _tiny("interpreter", "cpu", "1")
    else:
        yield Finding("interpreter", MISSING, "needs triton")


def _tiny(what: str, device: str, interpret: str) -> Finding:
    above = str(Path(an.__file__).parents[1])
    path = os.pathsep.join(filter(None, (above, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "TRITON_INTERPRET": interpret, "PYTHONPATH": path}
    command = [sys.executable, "-c", TINY.format(device=device)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Finding(what, BROKEN, f"a tiny kernel takes more than {PATIENCE} seconds")
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
        return Finding(what, BROKEN, f"a tiny kernel fails: {said[-1]}")
    return Finding(what, OK, "a tiny kernel is right")


def _cache() -> Finding:
    """Whether kernels can be kept: a file is written, and removed."""
    folder = cache_folder()
    probe = folder / f"probe_{os.getpid()}"
    try:
        write_sealed(probe, "")
        probe.unlink()
        found = entries()
    except OSError as error:
        advice = "every process generates its kernels; set ATTNIR_CACHE_DIR to a folder of your own"
        return Finding("cache", BROKEN, f"{folder}: {error.strerror}; {advice}")
    count = f"{len(found):,} {'entry' if len(found) == 1 else 'entries'}"
    return Finding("cache", OK, f"{folder}, {count}, {sum(e.size for e in found):,} bytes")


def _tools(triton: bool) -> Finding:
    """The tools that take compiled kernels apart."""
    name = "cuobjdump, nvdisasm"
    if not triton:
        return Finding(name, MISSING, "come with triton; attnir inspect needs them for NVIDIA's GPUs")
    try:
        tools = importlib.import_module("attnir.codegen.triton.tools").versions()
    except Exception as error:
        return Finding(name, BROKEN, f"{type(error).__name__}: {error}; attnir inspect needs them for NVIDIA's GPUs")
    return Finding(name, OK, ", ".join(tools))


def _optional(name: str, what: str, advice: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, MISSING, f"{what} need it; {advice}")
    return Finding(name, OK, f"{importlib.metadata.version(name)}, for {what}")


def _waiting(gpu: bool) -> Finding:
    """How torch's threads wait for each other on a CPU that is shared."""
    name, policy = "OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY", "")
    if policy.lower() == "passive" or gpu:
        return Finding(name, OK, policy.lower() or "does not matter on a GPU")
    return Finding(name, MISSING, "set it to passive before Python starts if others use this CPU: waiting threads spin")
