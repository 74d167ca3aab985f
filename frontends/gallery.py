"""The gallery: a page with every entry of the catalog, written by a command.

An entry is shown as it is used: what its parameters and fields mean, a call, the pattern that it gives, a picture.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import attnir as an
from attnir.catalog import Entry
from attnir.pictures.figure import plot_small
from attnir.pictures.panels import Panel, View
from attnir.printing import wrapped
from attnir.traverse import reads

TILE = (8, 8)
WIDTH, MOST_LINES = 110, 6  # of a pattern's text on the page; what chance draws would fill many more
MOST_PANELS = 4
PARAMETER = re.compile(r"(\w+(?:, \w+)*) {2,}(\S.*)")

GROUPS = {
    "Windows along the sequence": ("windows", "long_documents"),
    "Documents and branches": ("documents", "branches"),
    "Blocks, blanks and thoughts": ("block_diffusion", "infilling", "latent_thoughts"),
    "Images": ("neighborhoods", "image_windows", "image_positions", "clear", "regions", "edits"),
    "Videos": ("radial", "shots"),
    "Heads of several kinds": ("head_groups", "head_windows", "decoupled_heads", "latent"),
    "Cross-attention": ("vision_cross", "dual_cross"),
    "Series and tables": ("series", "multivariate", "tables"),
    "Scores": ("score_terms",),
    "Weights": ("normalizers",),
    "Keys chosen from content": ("chosen_blocks", "chosen_keys", "chosen_regions", "hip", "clustered"),
    "Fewer tokens, and several resolutions": ("summarised", "levels"),
    "Keys that are listed": ("listed",),
    "Chance": ("sampled_keys",),
    "Plain attention of other tensors": ("prologues",),
    "Without structure": ("benchmark",),
}

HEAD = f"""# The gallery

Every entry of the catalog, at the size of its example: what its parameters and fields mean, the call that builds it,
and the first {MOST_LINES} lines of the pattern that the call gives. Compile it as any other mask.

```python
import attnir as an
```

In the pictures rows are queries, columns are keys, live pairs are dark. Tiles of {TILE[0]} x {TILE[1]} tokens are green
where they are proved FULL, yellow where they are PARTIAL, grey where nothing is visited. Over-compute is pairs visited
to a live pair, inside the picture; at so few tokens it is not the cost at a real length. What is a graph of several
stages shows them in the place of a picture. `attnir gallery` writes this page.
"""


def write_gallery(out: Path) -> list[Path]:
    """Write gallery.md and gallery/<name>.png under a folder; the files written, the page first."""
    pictures = out / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    sections, written = [HEAD], [out / "gallery.md"]
    for title, entries in grouped().items():
        sections.append(f"## {title}\n")
        for entry in entries:
            if entry.is_graph:
                sections.append(_stages(entry))
                continue
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


def call_of(entry: Entry) -> str:
    """The call that builds an entry's example, as Python."""
    given = [f"{name}={_as_python(value)}" for name, value in entry.example.params.items()]
    return f"an.catalog.build({', '.join([_as_python(entry.name), *given])})"


def _as_python(value: object) -> str:
    if isinstance(value, an.Space):
        return re.sub(r"\b(grid|concat)\(", r"an.\1(", str(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(_as_python, value))}{',' * (len(value) == 1)})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def description(entry: Entry) -> list[str]:
    """What an entry's docstring says between its summary and its example: paragraphs, parameters as lists."""
    text = inspect.getdoc(entry.build) or ""
    _, *between = text.partition("\n>>>")[0].strip().split("\n\n")
    return [listed(paragraph) for paragraph in between]


def listed(paragraph: str) -> str:
    """A paragraph as it is; a list where its lines are names, two spaces, and what they mean."""
    if not PARAMETER.match(paragraph):
        return paragraph
    items: list[str] = []
    for line in paragraph.splitlines():
        if found := PARAMETER.match(line):
            items.append(f"- `{found[1]}`: {found[2]}")
        else:
            items[-1] += f" {line.strip()}"
    return "\n".join(items)


def view_of(entry: Entry) -> View:
    """The pairs of an entry's example."""
    x = entry.example
    given: dict[str, Any] = {"heads": x.heads, "batch": x.batch, **x.bindings}
    return View(an.compile(entry.build(**x.params)).explain(x.q_len, x.k_len, tile=TILE, **given))


def _panels(entry: Entry, seen: View) -> dict[str, Panel]:
    """A panel for each head or sample by which the pattern differs, the first of them; one where it does not."""
    read = reads(entry.build(**entry.example.params).predicate)
    samples, heads, *_ = seen.live.shape
    if "h" in read:
        return {f"head {h}": seen.panel(0, h) for h in range(min(heads, MOST_PANELS))}
    if "b" in read:
        return {f"sample {b}": seen.panel(b, 0) for b in range(min(samples, MOST_PANELS))}
    return {"": seen.panel(0, 0)}


def _stages(entry: Entry) -> str:
    """An entry that is a graph: its stages in the place of a picture."""
    x = entry.example
    given = f", with {' and '.join(f'`{name}`' for name in x.bindings)} given" if x.bindings else ""
    lines = [
        f"### {entry.name}\n",
        f"{entry.summary}\n",
        *(f"{paragraph}\n" for paragraph in description(entry)),
        f"```python\n{call_of(entry)}\n```\n",
        f"```text\n{entry.build(**x.params)}\n```\n",
        f"A graph of stages{given}. Source: {entry.source}.\n",
    ]
    return "\n".join(lines)


def _section(entry: Entry, seen: View) -> str:
    x = entry.example
    text = "\n".join(wrapped(str(entry.build(**x.params)), WIDTH, MOST_LINES))
    copies = [f"{n} {what}" for n, what in ((x.batch, "samples"), (x.heads, "heads")) if n > 1]
    given = [f"with {' and '.join(f'`{name}`' for name in x.bindings)} given"] if x.bindings else []
    size = ", ".join([f"{x.q_len} queries, {x.k_len or x.q_len} keys", *copies, *given])
    every = [seen.panel(b, h) for b in range(x.batch) for h in range(x.heads)]
    live, visited = int(seen.live.sum()), sum(panel.visited for panel in every)
    counts = f"{100 * live / seen.live.numel():.1f} % live, over-compute {visited / live:.2f}"
    lines = [
        f"### {entry.name}\n",
        f"{entry.summary}\n",
        f"![{entry.name}](gallery/{entry.name}.png)\n",
        *(f"{paragraph}\n" for paragraph in description(entry)),
        f"```python\n{call_of(entry)}\n```\n",
        f"```text\n{text}\n```\n",
        f"{size}: {counts}. Source: {entry.source}.\n",
    ]
    return "\n".join(lines)
