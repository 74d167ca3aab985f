"""The wheel is whole: built from the tree and installed alone, it holds all three parts and runs a kernel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"attnir": ROOT / "attnir", "attnir/codegen": ROOT / "codegen", "attnir/frontends": ROOT / "frontends"}

FORWARD = """
import sys
from pathlib import Path

import attnir as an
import attnir.codegen
import attnir.frontends

for part in (an, attnir.codegen, attnir.frontends):
    assert Path(part.__file__).is_relative_to(sys.argv[1]), f"{part.__name__} is not the wheel's: {part.__file__}"

import torch

torch.manual_seed(0)
q, k, v = (torch.randn(1, heads, 40, 16) for heads in (2, 1, 1))
got = an.compile(an.causal(), backend="triton")(q, k, v).double()
want = an.reference(an.causal())(q, k, v).double()
assert (got - want).norm() <= 1e-5 * want.norm(), "the wheel's kernel does not compute causal attention"
"""


def run(*command: str | Path, **options: object) -> None:
    """Run a command to its end; a failure shows what it printed."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, f"{command[1:4]}\n{done.stdout}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built with what is installed here."""
    for tool in ("build", "editables", "hatchling"):
        pytest.importorskip(tool)
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_holds_all_three_parts_and_nothing_else(wheel: Path) -> None:
    """Each module of the tree is there under `attnir`, and there is no other name to import."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"attnir", "attnir-0.1.0.dist-info"}
    modules = {
        f"{part}/{path.relative_to(folder)}"
        for part, folder in PARTS.items()
        for path in folder.rglob("*.py")  # does not follow the links in attnir/
    }
    assert modules == {name for name in names if name.endswith(".py")}
    pages = {f"attnir/pictures/{path.name}" for path in (PARTS["attnir"] / "pictures").glob("page*.*")}
    assert {"attnir/py.typed", "attnir/pictures/page.html"} | pages <= {*names}


def test_runs_a_kernel_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    """A forward pass from the installed wheel agrees with the dense meaning."""
    site = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel)
    (tmp_path / "forward.py").write_text(FORWARD)
    # -P, and only the wheel on PYTHONPATH: torch and triton come from the interpreter's own packages, attnir cannot.
    env = os.environ | {"PYTHONPATH": str(site), "TRITON_INTERPRET": "1"}
    run(sys.executable, "-P", tmp_path / "forward.py", site, cwd=tmp_path, env=env)
