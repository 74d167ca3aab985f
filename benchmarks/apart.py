"""A measurement in a process of its own, so that its memory is its own: it prints JSON as its last line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from typing import Any

MIB = 2**20


def peak() -> float:
    """MiB of resident memory at the highest moment of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB / 1024 if sys.platform != "darwin" else MIB)


def measured_apart(module: str, *arguments: object) -> Any:
    """What a module prints when it runs with these arguments."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ}  # threads that spin slow down a machine with other work
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])
