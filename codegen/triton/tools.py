"""NVIDIA's tools, which come with Triton and take compiled kernels apart."""

from __future__ import annotations

import re
import subprocess

import triton


def run_tool(*command: str) -> str:
    """What a tool prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def versions() -> tuple[str, ...]:
    """The tools and their versions, such as "cuobjdump 12.8"; each one is started.

    Raises RuntimeError where Triton does not find one, OSError or CalledProcessError where it does not start.
    """
    tools = {"cuobjdump": triton.knobs.nvidia.cuobjdump.path, "nvdisasm": triton.knobs.nvidia.nvdisasm.path}
    return tuple(f"{name} {_release(run_tool(path, '--version'))}" for name, path in tools.items())


def _release(text: str) -> str:
    found = re.search(r"release ([\d.]+)", text)
    return found[1] if found else "of an unknown version"
