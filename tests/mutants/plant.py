"""Plant a mutant and run something in the same process: the module is changed while it is imported.

    python -m tests.mutants.plant "delta is not subtracted" -m pytest -n 0 tests/test_axes.py
    python -m tests.mutants.plant "delta is not subtracted" script.py

Kernels are kept by a hash of the package's files, which stay as they are, so a planted process has a folder of its own.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS


class _Loader(SourceFileLoader):
    """Loads a module from its source with the bug; no compiled file is read or written."""

    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        source = self.mutant.planted(self.get_data(self.path).decode())
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    """Finds the one module of a mutant, before the usual finders do."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None and spec.origin is not None, f"there is no module {fullname}"
        spec.loader = _Loader(fullname, spec.origin, self.mutant)
        return spec


def plant(mutant: Mutant) -> None:
    """From now on the mutant's module is imported with its bug."""
    assert mutant.module not in sys.modules, f"{mutant.module} has been imported already"
    sys.meta_path.insert(0, _Finder(mutant))


def run(mutant: Mutant | None, arguments: Sequence[str]) -> None:
    """Run a module or a script as `python` would, with a mutant planted where one is given."""
    if mutant is not None:
        plant(mutant)
    with tempfile.TemporaryDirectory(prefix="attnir-mutant-") as folder:
        os.environ["ATTNIR_CACHE_DIR"] = folder
        if arguments[0] == "-m":
            sys.argv = list(arguments[1:])
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(arguments)
            runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    run(MUTANTS[sys.argv[1]], sys.argv[2:])
