"""Every Python block of the README and the docs runs, in order, in one namespace per page."""

from __future__ import annotations

import ast
import inspect
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


def calls_in_prose(page: str) -> list[str]:
    prose = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    code = [found.replace("\\|", "|") for found in re.findall(r"`([^`]*)`", prose)]  # tables have \| for |
    return [c for c in code if re.match(r"(\w+ = )?an\.[\w.]+\(", c)]


CALLS = [(page, code) for page in PAGES for code in calls_in_prose(page)]


@pytest.mark.parametrize("page, code", CALLS, ids=[f"{page}: {code}" for page, code in CALLS])
def test_calls_in_prose_fit_what_they_call(page: str, code: str) -> None:
    """Code in tables and sentences names what is there, with arguments that it has; `...` stands for one or more."""
    for call in ast.walk(ast.parse(code)):
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("an."):
            called = eval(ast.unparse(call.func), {"an": an})
            given = [a.value if isinstance(a, ast.Constant) else a for a in call.args]
            if called is an.catalog.build:
                name, *given = [a for a in given if a is not ...]
                called = an.catalog.get(name).build if isinstance(name, str) else called
                given = given if isinstance(name, str) else [name]
            inspect.signature(called).bind(*given, **{str(k.arg): k.value for k in call.keywords})


def test_the_shell_of_the_readme_explains_its_first_pattern() -> None:
    text = (ROOT / "README.md").read_text()
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    shown, *_ = re.findall(r'attnir explain "(.*?)"', text)
    assert an.parse(shown) == names["pattern"]
