"""A pattern by name: `module:name` is imported as Python would, from the current folder too.

What stands there is a mask, a pattern, a compiled attention, a graph, or a function without arguments that gives one.
Everything that can go wrong on the way is said in words, with the line of the module where it is the module's own.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import attnir as an
from attnir.compiled_graph import CompiledGraph
from attnir.errors import TextError
from attnir.facts import Given
from attnir.value import Value

NAMED = re.compile(r"(?P<module>[^\W\d][\w.]*):(?P<name>[^\W\d][\w.]*)")
Loaded = an.Mask | an.Pattern | an.Attention | an.Graph | CompiledGraph
WANTED = "a mask, a pattern, an attention, a graph, or a function without arguments that gives one"


def is_named(text: str) -> bool:
    """Whether a text is the name of a pattern, and not a pattern itself.

    >>> is_named("my_masks:near"), is_named("causal & window(8)")
    (True, False)
    """
    return NAMED.fullmatch(text.strip()) is not None


def load(text: str) -> Loaded:
    """The pattern that `module:name` says.

    Raises TextError where there is no such module or name, where it is no pattern, and where its module fails.
    """
    match = NAMED.fullmatch(text.strip())
    assert match is not None, "ask is_named first"
    module, name = match["module"], match["name"]
    found = _attribute(_module(module), name)
    if callable(found) and not isinstance(found, Loaded | Given | Value):  # a field is called with a token
        found = _run(f"{module}:{name}()", found)
    if not isinstance(found, Loaded):
        raise TextError(f"{module}:{name} is {_kind(found)}; expected {WANTED}")
    return found


def _module(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: ModuleType = _run(name, lambda: importlib.import_module(name))
        return found
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise TextError(f"there is no module {name!r} here, in {here}, or where Python looks for modules") from None
        raise TextError(f"the module {name} imports {error.name!r}, which is not installed") from None


def _attribute(module: ModuleType, name: str) -> object:
    try:
        return reduce(getattr, name.split("."), module)
    except AttributeError:
        known = [n for n, value in vars(module).items() if isinstance(value, Loaded)]
        shown = f"; patterns in it: {', '.join(known)}" if known else ""
        raise TextError(f"the module {module.__name__} has no {name!r}{shown}") from None


def _run(what: str, action: Callable[[], Any]) -> Any:
    """What somebody else's code gives. Its errors become words; a missing module is the caller's to explain."""
    try:
        return action()
    except ModuleNotFoundError:
        raise
    except (Exception, SystemExit) as error:
        said = "".join(traceback.format_exception_only(error)).strip()
        raise TextError(f"{what} fails{_place(error)}: {said}") from None


def _place(error: BaseException) -> str:
    """The last line of the error that is not attnir's or Python's own."""
    folders = (Path(an.__file__).parent, Path(__file__).resolve().parents[1] / "frontends", Path(os.__file__).parent)
    own = ("<frozen", *(f"{folder}{os.sep}" for folder in folders))
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(own)]
    return f", {lines[-1].filename}:{lines[-1].lineno}" if lines else ""


def _kind(value: object) -> str:
    return "a module" if isinstance(value, ModuleType) else f"of type {type(value).__name__}"
