"""What every run shares: the Triton interpreter where no GPU is, a kernel cache of its own, reproducible examples."""

import atexit
import importlib.metadata
import os
import shutil
import sys
import tempfile

import hypothesis
import pytest
import torch

assert "triton" not in sys.modules or "TRITON_INTERPRET" in os.environ, "Triton reads it when it is imported"

# Why no kernel can be compiled and run here; empty where one can.
NO_GPU = ""
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    NO_GPU = "needs a GPU: torch.cuda.is_available() is False"
elif os.environ.get("TRITON_INTERPRET", "0") != "0":
    NO_GPU = "needs the Triton compiler: TRITON_INTERPRET is set"

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers are the parallelism
else:
    # xdist workers inherit it: they share the kernels of the run, and nothing survives it.
    os.environ["ATTNIR_CACHE_DIR"] = tempfile.mkdtemp(prefix="attnir-test-cache-")
    atexit.register(shutil.rmtree, os.environ["ATTNIR_CACHE_DIR"], ignore_errors=True)

# No deadline: the first example of a test traces and generates its kernel. Derandomized: a red run can be run again.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("ci")


def pytest_report_header() -> str:
    """Say which compiler and device this run is about."""
    try:
        triton = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        triton = "none"
    device = "none, Triton is interpreted" if NO_GPU else torch.cuda.get_device_name()
    return f"torch {torch.__version__}, triton {triton}, GPU: {device}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is none, and say why."""
    if NO_GPU:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=NO_GPU))
