"""The README and the docs: their code runs, what they name is there, and they build into a site without a warning."""

from __future__ import annotations

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import attnir as an
import docs.docstrings
import docs.hooks
import docs.tables
from attnir.frontends.cli import app
from docs import ROOT
from docs.blocks import BLOCK, commands, executed
from docs.hooks import with_bars

PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))]
BUILDER = {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}


def text(page: str) -> str:
    return (ROOT / page).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str) -> None:
    shown = executed(text(page), page)
    assert not re.search(r"^```\w+ (show|render)", shown, re.MULTILINE), "every block was run"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_one_that_runs_or_plain_text(page: str) -> None:
    opened = [line for line in text(page).splitlines() if line.lstrip().startswith("```") and line.strip() != "```"]
    blocks = [found[0].splitlines()[0] for found in BLOCK.finditer(text(page))]
    assert [line for line in opened if line != "```text"] == blocks


def calls_in_prose(page: str) -> list[str]:
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
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
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL)[0], names)
    shown, *_ = re.findall(r'attnir explain "(.*?)"', text("README.md"))
    assert an.parse(shown) == names["pattern"]


def shell(page: str) -> list[list[str]]:
    return [words for block in BLOCK.finditer(text(page)) if block[1] == "bash" for words in commands(block[4])]


COMMANDS: set[str] = set(vars(get_command(app))["commands"])
SHELL = [(page, words) for page in PAGES for words in shell(page)]


@pytest.mark.parametrize("page, words", SHELL, ids=[f"{page}: {' '.join(words)}" for page, words in SHELL])
def test_commands_are_there(page: str, words: list[str]) -> None:
    """Those of attnir run with their page, but for slow ones; of others, targets of make and paths are looked up."""
    if words[0] == "make":
        assert re.search(rf"^{words[1]}: ", text("Makefile"), re.MULTILINE)
    elif words[:3] == ["python", "-m", "pytest"]:
        assert all((ROOT / path).exists() for path in words[3:])
    else:
        assert words[:2] == ["pip", "install"] or (words[0] == "attnir" and words[1] in COMMANDS)


def names_in(page: str) -> list[str]:
    """Paths and targets of make that prose names."""
    folders = "attnir|codegen|frontends|tests|benchmarks|docs|examples"
    return re.findall(rf"`((?:{folders})/[\w./]+|make [\w-]+)`", text(page))


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_targets_in_prose_are_there(page: str) -> None:
    targets = {f"make {name}" for name in re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE)}
    assert [name for name in names_in(page) if name not in targets and not (ROOT / name).exists()] == []


def test_every_public_name_is_in_the_reference() -> None:
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: ([\w.]+)", text("docs/api.md"), re.MULTILINE)}
    assert set(an.__all__) - {"catalog"} <= shown
    assert set(an.catalog.__all__) <= shown


def test_output_stands_below_its_code() -> None:
    page = "```python show\nprint(1 + 1)\n```\n\n```python render\nprint('*two*')\n```\n"
    assert executed(page, "a page") == "```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n\n*two*\n\n"
    assert executed("```python\nx = 3\n```\n```python show python\nprint(x)\n```", "p").endswith("```python\n3\n```")


def test_code_that_fails_fails_the_page() -> None:
    with pytest.raises(ZeroDivisionError):
        executed("```python\n1 // 0\n```", "a page")
    with pytest.raises(AssertionError, match="exits with 2"):
        executed('```bash\nattnir explain "causal &" 16\n```', "a page")


def test_what_a_page_adds_to_the_catalog_stays_on_it() -> None:
    executed(text("docs/extending.md"), "docs/extending.md")
    assert "sparse-fixed" not in an.catalog.names()


@pytest.mark.parametrize("module", [docs.docstrings, docs.hooks, docs.tables], ids=lambda module: module.__name__)
def test_the_examples_of_the_builder_run(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]  # parametrize hands over objects
    assert tried and not failed


def test_bars_of_code_in_tables() -> None:
    assert with_bars("| `a \\| b` | c \\| d |\n`a \\| b`") == "| `a | b` | c \\| d |\n`a \\| b`"


@pytest.mark.slow
def test_the_tests_that_a_page_shows_pass(tmp_path: Path) -> None:
    code = [b[4] for b in BLOCK.finditer(text("docs/extending.md")) if b[1] == "python"]
    (tmp_path / "test_page.py").write_text("\n".join(code))
    run = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "test_page.py"]
    done = subprocess.run(run, cwd=tmp_path, env=os.environ | BUILDER, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "14 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(the built site, what the builder said)."""
    out = tmp_path_factory.mktemp("site")
    run = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(run, cwd=ROOT, env=os.environ | BUILDER, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout + done.stderr


@pytest.mark.slow
def test_the_site_builds_without_a_warning(site: tuple[Path, str]) -> None:
    """Links to pages and anchors that are not there are warnings, and so are pages that the navigation leaves out."""
    assert "warn" not in site[1].lower()


@pytest.mark.slow
def test_every_page_of_the_navigation_is_built(site: tuple[Path, str]) -> None:
    found = re.findall(r": (\w+)\.md$", text("mkdocs.yml"), re.MULTILINE)
    assert sorted(f"docs/{name}.md" for name in found) == sorted(PAGES[1:])
    assert {f"{name}.html" for name in found} <= {p.name for p in site[0].iterdir()}
    assert not list(site[0].glob("*.py"))


@pytest.mark.slow
def test_nothing_in_the_site_comes_from_another_server(site: tuple[Path, str]) -> None:
    pages = [page.read_text() for page in site[0].glob("*.html")]
    loaded = [tag for page in pages for tag in re.findall(r"<(?:script|link|img)[^>]*>", page)]
    assert loaded and [tag for tag in loaded if re.search(r"(src|href)=[\"']?(https?:)?//", tag)] == []


@pytest.mark.parametrize("link, fails", [("index.md#here", False), ("index.md#nowhere", True), ("gone.md", True)])
def test_links_to_what_is_not_there_fail_the_build(link: str, fails: bool, tmp_path: Path) -> None:
    config = yaml.safe_load(text("mkdocs.yml"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Here\n\n[there]({link})\n")
    small = {"site_name": "small", "strict": config["strict"], "validation": config["validation"]}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(small))
    run = [sys.executable, "-m", "mkdocs", "build"]
    done = subprocess.run(run, cwd=tmp_path, env=os.environ | BUILDER, capture_output=True, text=True, timeout=100)
    assert (done.returncode != 0) is fails, done.stderr
