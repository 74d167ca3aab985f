"""Tracing: a lambda over tokens becomes an expression, once."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable, Mapping

from attnir import expr as ex
from attnir import real
from attnir.errors import ConditionExpectedError, DeclarationError, IntegerExpectedError, UnknownNameError
from attnir.expr import Expr
from attnir.value import (
    Value,
    fail,
    in_score,
    integer_argument,
    is_condition,
    is_real,
    line_of,
    no_functions,
    number_argument,
    read_a_tensor,
)

_OF_OURS = re.compile(r"\b(Value|Token)\b")  # how torch and NumPy name what a lambda is called with
# How other libraries name the arguments.
OTHER_NAMES = {"q_idx": "q", "query": "q", "q_index": "q", "kv_idx": "k", "k_idx": "k", "key": "k", "kv": "k"}
OTHER_NAMES |= {"batch": "b", "b_idx": "b", "head": "h", "h_idx": "h", "score": "s"}


def trace(function: Callable[..., object], tokens: Mapping[str, Value] | None = None) -> Expr:
    """The condition that a function of tokens gives; its arguments are recognised by name: q, k, b, h."""
    result, line = called("mask", function, tokens or {})
    if isinstance(result, Value) and result.expr.is_bool:
        return result.expr
    if isinstance(result, bool):
        return ex.boolean(result)
    fail(ConditionExpectedError, f"a mask is a condition over tokens; this one returns {_shown(result)}", line)


def trace_count(function: Callable[..., object], tokens: Mapping[str, Value]) -> Expr:
    """The integer that a function of tokens gives."""
    result, line = called("multiplicity", function, tokens)
    if isinstance(result, Value | int) and not is_condition(result) and not is_real(result):
        return integer_argument(result)
    fail(IntegerExpectedError, f"a multiplicity is an integer over tokens; this one returns {_shown(result)}", line)


def trace_score(function: Callable[..., object], tokens: Mapping[str, Value]) -> Expr:
    """The real number that a function of the score `s` and of tokens gives."""
    return trace_real("score", function, {"s": Value(real.SCORE), **tokens})


def trace_real(what: str, function: Callable[..., object], tokens: Mapping[str, Value]) -> Expr:
    """The real number that a function of tokens gives; `what` it declares."""
    inside = in_score.set(True)
    try:
        result, line = called(what, function, tokens)
    finally:
        in_score.reset(inside)
    if isinstance(result, Value | int | float) and not is_condition(result):
        return real.of_integer(number_argument(result))
    over = "s and tokens" if "s" in tokens else "tokens"
    fail(DeclarationError, f"a {what} is a real number over {over}; this one returns {_shown(result)}", line)


def _shown(result: object) -> str:
    if isinstance(result, Value):
        kind = "condition" if result.expr.is_bool else "real number" if result.expr.is_real else "integer"
        return f"the {kind} `{result.expr}`"
    return f"{result!r} of type {type(result).__name__}"


def called(what: str, function: Callable[..., object], tokens: Mapping[str, Value]) -> tuple[object, str]:
    """(what a function gives for symbolic tokens, the line it stands on); `what` it declares. It is called once."""
    known = {n: Value(e) for n, e in ex.TOKENS.items()} | dict(tokens)
    names = ", ".join(n for n in ("s", *ex.TOKENS) if n in known)
    if not callable(function):
        fail(DeclarationError, f"a {what} is declared by a function of q and k, not by {function!r}")
    code = getattr(function, "__code__", None)
    line = code.co_firstlineno if code else 0
    where_ = (
        f"{code.co_filename}:{line}: {linecache.getline(code.co_filename, line).strip()}" if code else repr(function)
    )
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        fail(DeclarationError, f"a {what} is declared by a function of q and k, not by {function!r}")
    if starred := [n for n, p in parameters.items() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]:
        fail(UnknownNameError, f"a {what}'s arguments are named, among {names}; `*{starred[0]}` is not", where_)
    if unknown := [n for n in parameters if n not in known]:
        problem = f"a {what}'s arguments are among {names}; `{', '.join(unknown)}` is none of them"
        if any(parameters[n].default is not inspect.Parameter.empty for n in unknown):
            problem += "; take a value from outside the lambda, from a variable or from a function that makes it"
        if renamed := [f"{n} to {OTHER_NAMES[n]}" for n in unknown if OTHER_NAMES.get(n) in known]:
            problem += f"; rename {', '.join(renamed)}"
        fail(UnknownNameError, problem, where_)
    try:
        by_name = {n: known[n] for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        result = function(*(known[n] for n in parameters if n not in by_name), **by_name)
    except NameError as error:
        if isinstance(error, DeclarationError):
            raise
        fail(UnknownNameError, f"the {what} reads an unknown name: {error}", where_)
    except TypeError as error:
        if isinstance(error, DeclarationError) or not _OF_OURS.search(str(error)):
            raise
        problem = f"a function that takes no symbolic values was given one: {str(error).splitlines()[0]}"
        fail(IntegerExpectedError, f"{problem}; {no_functions()}", line_of(error))
    except IndexError as error:
        error.add_note(f"in a {what}: {read_a_tensor()}")  # NumPy says nothing of what it was given
        raise
    return result, where_
