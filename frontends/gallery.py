"""The gallery: a page with a picture and the declaration of every entry of the catalog, written by a command.

Declarations are the bodies of functions, to be read; so their fences say `py`, and nothing runs them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

import attnir as an
from attnir.catalog import Entry
from attnir.plot import Panel, View, plot_small, view
from attnir.traverse import reads

TILE = (8, 8)
MOST_TEXT = 110  # characters of a pattern's text on the page
MOST_PANELS = 4

GROUPS = {
    "Windows along the sequence": ("windows", "long_documents"),
    "Documents and branches": ("documents", "branches"),
    "Blocks, blanks and thoughts": ("block_diffusion", "infilling", "latent_thoughts"),
    "Images": ("neighborhoods", "image_windows", "clear", "regions"),
    "Videos": ("radial", "shots"),
    "Heads of several kinds": ("head_groups", "head_windows"),
    "Cross-attention": ("vision_cross", "dual_cross"),
    "Series and tables": ("series", "tables"),
    "Chance": ("sampled_keys",),
    "Without structure": ("benchmark",),
}

HEAD = f"""# The gallery

Every entry of the catalog, `an.catalog.build(name, ...)`, at the size of its example. Rows are queries, columns are
keys, live pairs are dark. Tiles of {TILE[0]} x {TILE[1]} tokens are green where they are proved FULL, yellow where they
are PARTIAL, grey where nothing is visited. Over-compute is pairs visited to a live pair, inside the picture; at so few
tokens it is not the cost at a real length. `attnir gallery` writes this page.
"""


def write_gallery(out: Path) -> list[Path]:
    """Write gallery.md and gallery/<name>.png under a folder; the files written, the page first."""
    pictures = out / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    sections, written = [HEAD], [out / "gallery.md"]
    for title, entries in grouped().items():
        sections.append(f"## {title}\n")
        for entry in entries:
            seen = view_of(entry)
            written.append(pictures / f"{entry.name}.png")
            plot_small(_panels(entry, seen), written[-1])
            sections.append(_section(entry, seen))
    written[0].write_text("\n".join(sections))
    return written


def grouped() -> dict[str, list[Entry]]:
    """The entries of each group, modules in the order of GROUPS, entries in the order of their modules."""
    modules: dict[str, list[Entry]] = {m: [] for among in GROUPS.values() for m in among}
    for name in an.catalog.names():
        entry = an.catalog.get(name)
        modules[entry.build.__module__.rpartition(".")[2]].append(entry)
    for entries in modules.values():
        entries.sort(key=lambda e: inspect.getsourcelines(e.build)[1])
    return {title: [e for m in among for e in modules[m]] for title, among in GROUPS.items()}


def declaration(entry: Entry) -> str:
    """The body of an entry's builder, without its docstring."""
    source = textwrap.dedent(inspect.getsource(entry.build))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    _, first, *_ = function.body  # the docstring comes before it
    lines = source.splitlines()[first.lineno - 1 : function.end_lineno]
    return textwrap.dedent("\n".join(lines))


def view_of(entry: Entry) -> View:
    """The pairs of an entry's example."""
    x = entry.example
    attention = an.compile(entry.build(**x.params))
    return view(attention, x.q_len, x.k_len, TILE, heads=x.heads, batch=x.batch, **x.bindings)


def _panels(entry: Entry, seen: View) -> dict[str, Panel]:
    """A panel for each head or sample by which the pattern differs, the first of them; one where it does not."""
    read = reads(entry.build(**entry.example.params).predicate)
    samples, heads, *_ = seen.live.shape
    if "h" in read:
        return {f"head {h}": seen.panel(0, h) for h in range(min(heads, MOST_PANELS))}
    if "b" in read:
        return {f"sample {b}": seen.panel(b, 0) for b in range(min(samples, MOST_PANELS))}
    return {"": seen.panel(0, 0)}


def _section(entry: Entry, seen: View) -> str:
    x = entry.example
    text = str(entry.build(**x.params))
    given = ", ".join(
        f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}" for name, value in x.params.items()
    )
    live, visited = int(seen.live.sum()), int((seen.pairs.full + seen.pairs.partial).sum())
    counts = f"{100 * live / seen.live.numel():.1f} % live, over-compute {visited / live:.2f}"
    lines = [
        f"### {entry.name}\n",
        f"{entry.summary}\n",
        f"![{entry.name}](gallery/{entry.name}.png)\n",
        f"```py\n{declaration(entry)}\n```\n",
        *([f"As text: `{text}`\n"] if len(text) <= MOST_TEXT else []),
        f"{x.q_len} x {x.k_len or x.q_len}{f', with {given}' if given else ''}: {counts}. Source: {entry.source}.\n",
    ]
    return "\n".join(lines)
