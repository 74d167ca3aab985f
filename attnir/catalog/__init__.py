"""The catalog: attention mechanisms of the literature, each a few lines in the language of patterns.

>>> import attnir as an
>>> an.compile(an.catalog.build("streaming-llm", sinks=4, window=256))
<Attention (k <= q) & ((k < 4) | (q - k < 256))>
"""

from attnir.catalog import windows as windows
from attnir.catalog.registry import Entry, Example, build, get, names

__all__ = ["Entry", "Example", "build", "get", "names"]
