"""The documentation: Markdown pages, and the few modules that run their code and fill in what is made at build time."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
