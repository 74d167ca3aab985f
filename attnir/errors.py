"""Every error that attnir raises on purpose: what was given, what was expected, what to do."""

from __future__ import annotations


class AttnirError(Exception):
    """The base of every error of attnir."""


class DeclarationError(AttnirError):
    """A lambda or a declaration says something that the language does not have. Names the user's line."""


class ControlFlowError(DeclarationError, TypeError):
    """Python `and`, `or`, `not`, `if`, `in` or a chained comparison was used on a symbolic value."""


class IntegerExpectedError(DeclarationError, TypeError):
    """A float, or another type, stands where the language has integers."""


class ConditionExpectedError(DeclarationError, TypeError):
    """An integer stands where a condition belongs, or the other way round."""


class UnknownNameError(DeclarationError, NameError):
    """A predicate reads a name that does not exist."""


class DivisorError(DeclarationError, ZeroDivisionError):
    """A divisor that can be zero."""


class TextError(AttnirError, ValueError):
    """A text that is no pattern or tile program."""


class InvalidProgram(AttnirError):
    """A tile program that breaks a rule of its level; shows the program."""

    def __init__(self, problem: str, program: str = "") -> None:
        super().__init__(f"{problem}\n{program}" if program else problem)


class ShapeError(AttnirError, ValueError):
    """q, k, v with ranks or sizes that do not fit together."""


class HeadsError(ShapeError):
    """Query heads do not fit those of k and v: no multiple of them, or not what their maps say."""


class WidthError(ShapeError):
    """A head width outside 1 to 576."""


class DtypeError(AttnirError, TypeError):
    """A dtype that is not supported, or q, k, v of different dtypes."""


class DeviceError(AttnirError, ValueError):
    """Tensors on different devices."""


class StrideError(AttnirError, ValueError):
    """A tensor whose last axis is not contiguous."""


class ScaleError(AttnirError, ValueError):
    """A scale that is no finite number, or too large for one."""


class MissingBindingError(AttnirError, TypeError):
    """A field or a parameter that the pattern reads was not given."""


class UnknownBindingError(AttnirError, TypeError):
    """A keyword that is neither a field nor a parameter of the pattern."""


class FieldError(AttnirError, ValueError):
    """A field of the wrong length, rank, dtype or device, or with values too large for what the pattern computes."""


class NotSortedError(FieldError):
    """A field declared sorted that decreases somewhere."""


class TensorError(AttnirError, ValueError):
    """A tensor that a score reads, of the wrong rank, size or dtype."""


class SelectionError(AttnirError, ValueError):
    """A selection of the wrong rank or size."""


class RouteError(AttnirError, ValueError):
    """A route whose sizes, choice or tensors do not fit."""


class GraphError(AttnirError, TypeError):
    """Stages of a graph that do not fit together: values of other tokens, or of another kind."""


class ParamError(AttnirError, ValueError):
    """A parameter that is no number of its kind, or out of its range."""


class StatisticError(AttnirError, ValueError):
    """A statistic that does not exist, is asked for twice, or is measured by what does not fit."""


class BackendError(AttnirError, RuntimeError):
    """A backend that is unknown, or cannot run what was asked, and what to do instead."""


class NoLseError(AttnirError, TypeError):
    """An lse was asked for of weights that are not divided by their sum."""


class DerivativeError(AttnirError, RuntimeError):
    """A second derivative of an attention, a forward-mode one, or another transform of torch.func."""


class ConfigError(AttnirError, ValueError):
    """A kernel configuration that cannot work on the target."""


class VerificationError(AttnirError, AssertionError):
    """A call of a pattern that does not compute what the pattern means; shows a script that repeats it."""
