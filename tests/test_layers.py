"""The arrows of the house: a module imports from its own layer and those below it, anywhere in its file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1] / "attnir"

# From the bottom. A package stands for every module in it; `attnir` is the package's own `__init__`.
LAYERS: list[tuple[str, set[str]]] = [
    ("errors", {"errors"}),
    (
        "expressions",
        {
            "ops",
            "expr",
            "traverse",
            "printing",
            "linear",
            "interval",
            "congruence",
            "bounder",
            "bounds",
            "order",
            "digits",
            "tile_bounds",
        },
    ),
    (
        "patterns",
        {
            "heads",
            "limits",
            "trace",
            "space",
            "declaring",
            "reading",
            "pattern_text",
            "value",
            "functions",
            "real",
            "facts",
            "masks",
            "scores",
            "biases",
            "weighing",
            "normalizers",
            "factors",
            "philox",
            "dense",
            "transpose",
            "neighborhood",
            "per_head",
            "normalise",
            "periods",
            "solve",
            "inputs",
            "call",
            "promises",
            "signature",
            "grids",
            "thumbnail",
            "notebook",
            "evaluate",
            "reference",
            "real_range",
            "selections",
            "route",
            "routing",
            "routed",
            "unit_scores",
            "choices",
            "branches",
            "graph",
            "terms",
            "asked",
            "requests",
            "dense_statistics",
            "separate",
        },
    ),
    ("the catalog", {"catalog"}),
    (
        "tile programs",
        {
            "axes",
            "program",
            "program_text",
            "rows",
            "ranges",
            "sweeps",
            "boxes",
            "cover",
            "blocks",
            "listing",
            "walk",
            "visits",
            "count",
            "layouts",
            "labels",
            "disjuncts",
            "classes",
            "nominal",
            "draft",
            "candidates",
            "arrange",
            "live",
            "footprint",
        },
    ),
    (
        "codegen, for every target",
        {
            "codegen",
            "codegen.cache",
            "codegen.store",
            "codegen.entries",
            "codegen.occupancy",
            "codegen.lists",
            "codegen.plan",
            "codegen.configure",
            "codegen.targets",
            "codegen.chunks",
            "codegen.gradients",
            "codegen.sums",
            "codegen.narrow",
            "codegen.tangents",
            "codegen.dense",
            "codegen.budgets",
            "codegen.resources",
        },
    ),
    ("codegen, the targets", {"codegen.torch", "codegen.triton"}),
    (
        "codegen, the operators",
        {
            "codegen.dispatch",
            "codegen.operator",
            "codegen.statistics",
            "codegen.statistics_gradients",
            "codegen.statistics_operator",
        },
    ),
    (
        "api",
        {
            "api",
            "statistics",
            "explanation",
            "explain",
            "compiled_graph",
            "graph_explanation",
            "pictures",
            "plot",
            "verify",
            "certificate",
            "testing",
            "attnir",
        },
    ),
    ("frontends", {"frontends", "__main__"}),
]
LEVEL = {module: level for level, (_, modules) in enumerate(LAYERS) for module in modules}

# Edges inside a layer that close a circle; one of their imports stands in a function, or for types alone.
CIRCLES = {
    ("expr", "printing"): "a node prints itself, and the printer reads nodes",
    ("api", "explain"): "explain is a method of Attention; it names the class as a type alone",
    ("api", "plot"): "plot is a method of Attention; it names the class as a type alone",
    ("api", "statistics"): "statistics is a method of Attention; it names the class as a type alone",
    ("api", "certificate"): "certificate is a method of Attention; it names the class as a type alone",
    (
        "api",
        "compiled_graph",
    ): "a graph is explained by its attentions; what explains one names the class as a type alone",
    ("verify", "testing.fuzzing"): "testing uses attnir as a user does; it is imported when something is verified",
}

Edge = tuple[str, str]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "attnir"


# codegen and frontends are symbolic links, which a glob does not follow.
FILES = {module_of(p): p for folder in (ROOT, ROOT / "codegen", ROOT / "frontends") for p in folder.glob("**/*.py")}


def imports(source: str) -> Iterator[str]:
    """Every module that a source imports, by its full name; a name taken from a package may be a module of it."""
    for n in ast.walk(ast.parse(source)):
        if isinstance(n, ast.Import):
            yield from (alias.name for alias in n.names)
        elif isinstance(n, ast.ImportFrom):
            assert n.level == 0, "imports are absolute"
            yield from (f"{n.module}.{alias.name}" for alias in n.names)


def inside(name: str) -> str | None:
    """The module of attnir that a full name belongs to; None for other packages."""
    package, _, rest = name.partition(".")
    if package != "attnir":
        return None
    while rest and rest not in FILES:
        rest = rest.rpartition(".")[0]
    return rest or "attnir"


def place(module: str) -> str:
    """The entry of LAYERS that a module belongs to."""
    while module not in LEVEL:
        assert "." in module, f"attnir.{module} stands in no layer; give it its place in LAYERS"
        module = module.rpartition(".")[0]
    return module


EDGES = [
    (module, found) for module, path in FILES.items() for name in imports(path.read_text()) if (found := inside(name))
]


def problem(edge: Edge) -> str:
    """Why an edge is against the arrows; empty when it is not."""
    a, b = (place(module) for module in edge)
    names = [LAYERS[LEVEL[p]][0] for p in (a, b)]
    if LEVEL[b] > LEVEL[a]:
        return f"{edge[0]} ({names[0]}) imports {edge[1]} ({names[1]}), which stands above it"
    if {a, b} == {"codegen.torch", "codegen.triton"}:
        return f"{edge[0]} imports {edge[1]}: the targets know nothing of each other"
    return ""


def test_every_import_goes_down() -> None:
    assert [found for edge in EDGES if (found := problem(edge))] == []


def test_imports_run_in_no_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in FILES}
    for a, b in set(EDGES) - CIRCLES.keys():
        graph[a] |= {b} - {a}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_named_circles_are_real() -> None:
    assert CIRCLES.keys() <= set(EDGES)
    graph = networkx.DiGraph(EDGES)
    assert all(networkx.has_path(graph, b, a) for a, b in CIRCLES)


def test_triton_is_imported_by_its_target_alone() -> None:
    users = {m for m, path in FILES.items() for name in imports(path.read_text()) if name.split(".")[0] == "triton"}
    assert {m for m in users if place(m) != "codegen.triton"} == set()


def test_every_file_is_seen() -> None:
    assert {"attnir", "expr", "codegen.plan", "codegen.triton.emit", "frontends.cli"} <= FILES.keys()
    assert LEVEL.keys() <= FILES.keys() | {"codegen.torch"}


@pytest.mark.parametrize(
    "module, source, expected",
    [
        ("expr", "def f():\n    from attnir.axes import KEYS", "stands above"),
        ("solve", "from attnir import cover", "stands above"),
        ("walk", "import attnir.codegen.lists", "stands above"),
        ("codegen.plan", "import attnir as an", "stands above"),
        ("explain", "from attnir.frontends.cli import app", "stands above"),
        ("codegen.torch.build", "from attnir.codegen.triton import launch", "nothing of each other"),
        ("codegen.triton.emit", "from attnir.codegen.plan import Plan", ""),
        ("frontends.cli", "import attnir as an", ""),
    ],
)
def test_a_wrong_edge_is_found(module: str, source: str, expected: str) -> None:
    (found,) = (problem((module, to)) for name in imports(source) if (to := inside(name)))
    assert expected in found and bool(expected) == bool(found)
