"""What operators come to: values are numbers, texts, booleans, lists, or not known yet."""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MAX_BASE = 1_000_000
_MAX_EXPONENT = 64
_FALSE_WORDS = frozenset({"false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that planning cannot know yet: a fact, or what was computed from one."""

    truth: bool | None = None


UNKNOWN = Unknown()
UNKNOWN_BUT = {True: Unknown(True), False: Unknown(False)}


def truth_of(value: Any) -> bool | None:
    """Python's truth, but the texts that only look false are refused; None for what is unknown."""
    if isinstance(value, Unknown):
        return value.truth
    if isinstance(value, str) and value.casefold() in _FALSE_WORDS:
        raise TypeError(f"the text {value!r} would count as true; write false, or compare it")
    return bool(value)


def _numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Arithmetic for numbers only, so that no text or list can be multiplied."""

    def compute(*values: Any) -> Any:
        for value in values:
            if not isinstance(value, int | float):
                raise TypeError(f"arithmetic works on numbers, not on {value!r}")
        return function(*values)

    return compute


def _power(base: float, exponent: float) -> Any:
    if abs(base) > _MAX_BASE or abs(exponent) > _MAX_EXPONENT:
        raise ArithmeticError(f"{base} ** {exponent} is out of bounds")
    result = base**exponent
    if isinstance(result, complex):
        raise TypeError(f"{base} ** {exponent} is not a real number")
    return result


def _ordered(sign: str, function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        try:
            return function(left, right)
        except TypeError:
            raise TypeError(f"{left!r} {sign} {right!r} compares different kinds of values") from None

    return compare


def _contains(item: Any, container: Any) -> bool:
    if isinstance(container, str) and not isinstance(item, str):
        raise TypeError(f"{item!r} cannot be in the text {container!r}")
    if not isinstance(container, str | list | tuple):
        raise TypeError(f"`in` needs a list or a text, not {container!r}")
    return item in container


def _negate(value: Any) -> Any:
    truth = truth_of(value)
    return UNKNOWN if truth is None else not truth


def _lift(function: Callable[..., Any]) -> Callable[..., Any]:
    """Unknown in, unknown out."""

    def compute(*values: Any) -> Any:
        return UNKNOWN if any(_is_unknown(value) for value in values) else function(*values)

    return compute


def _is_unknown(value: Any) -> bool:
    return isinstance(value, Unknown) or (isinstance(value, list | tuple) and any(map(_is_unknown, value)))


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    kind: _lift(function)
    for kind, function in {
        ast.Add: _numbers(operator.add),
        ast.Sub: _numbers(operator.sub),
        ast.Mult: _numbers(operator.mul),
        ast.Div: _numbers(operator.truediv),
        ast.FloorDiv: _numbers(operator.floordiv),
        ast.Mod: _numbers(operator.mod),
        ast.Pow: _numbers(_power),
        ast.USub: _numbers(operator.neg),
        ast.UAdd: _numbers(operator.pos),
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: _ordered("<", operator.lt),
        ast.LtE: _ordered("<=", operator.le),
        ast.Gt: _ordered(">", operator.gt),
        ast.GtE: _ordered(">=", operator.ge),
        ast.In: _contains,
        ast.NotIn: lambda item, container: not _contains(item, container),
    }.items()
}
OPERATORS[ast.Not] = _negate
