"""Every Python block of the README and the docs runs, in order, in one namespace per page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import attnir as an

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        exec(compile(block, page, "exec"), names)


def test_the_shell_of_the_readme_explains_its_first_pattern() -> None:
    text = (ROOT / "README.md").read_text()
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    (shown,) = re.findall(r'attnir explain "(.*?)"', text)
    assert an.parse(shown) == names["pattern"]
