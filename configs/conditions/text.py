"""The text of a condition: which expressions make one, and the names in it."""

import ast
import warnings
from collections.abc import Callable
from typing import Any

from configs.conditions.operators import OPERATORS
from configs.documents.fields import Item
from configs.documents.problems import did_you_mean
from configs.reporting import PixelmillError

MAX_LENGTH = 500  # characters
_MAX_NODES = 200

ITEM_NAMES: dict[str, Callable[[Item], Any]] = {
    "name": lambda item: item.name,
    "prompt": lambda item: item.prompt or "",
    "seed": lambda item: item.seed,
    "has_image": lambda item: item.image is not None,
    "has_mask": lambda item: item.mask is not None,
}
STEP_NAMES = ("visited", "attempts", "passed")
CONSTANTS = {"true": True, "false": False, "null": None}


class ConditionError(PixelmillError, ValueError):
    """The expression is not a condition, or its values cannot be compared. The message says what to change."""


def parse(text: str) -> tuple[ast.expr, frozenset[tuple[str, ...]]]:
    """The expression and the names in it. Raises ConditionError."""
    tree = _parse(text)
    names: set[tuple[str, ...]] = set()
    _check(tree, names)
    return tree, frozenset(names)


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"longer than {MAX_LENGTH} characters")
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines:
        raise ConditionError("is empty: write a condition or leave `when` out")
    if len(lines) > 1 and "#" in text:
        raise ConditionError("a condition of several lines cannot hold `#`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as an invalid escape in a text
            tree = ast.parse(" ".join(lines), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConditionError(f"`{' '.join(lines)}` is not an expression: {reason or 'too complex'}") from None
    if sum(1 for _ in ast.walk(tree)) > _MAX_NODES:
        raise ConditionError("too complex: split it, or measure less")
    return tree


_HINTS: dict[type[ast.AST], str] = {
    ast.Call: "functions cannot be called",
    ast.Subscript: "`[…]` cannot look things up: write vars.name",
    ast.IfExp: "`if … else` is not supported: use and, or",
    ast.Is: "use == instead of `is`",
    ast.IsNot: "use != instead of `is not`",
    ast.NamedExpr: "a condition cannot assign",
    ast.BitAnd: "use `and` instead of &",
    ast.BitOr: "use `or` instead of |",
    ast.Invert: "use `not` instead of ~",
}
_PLAIN_NODES = (ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.List, ast.Tuple, ast.boolop, ast.Load)


def _check(node: ast.AST, names: set[tuple[str, ...]]) -> None:
    """Refuses what is not listed; collects the names."""
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, bool | int | float | str | None):
            raise ConditionError(f"{ast.unparse(node)} is not a text, number or boolean")
        return
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return
    if isinstance(node, ast.Name | ast.Attribute):
        names.add(name_of(node))
        return
    if isinstance(node, ast.operator | ast.unaryop | ast.cmpop):
        if type(node) not in OPERATORS:
            raise ConditionError(_HINTS.get(type(node), f"the operator {type(node).__name__} is not supported"))
        return
    if not isinstance(node, _PLAIN_NODES):
        raise ConditionError(_HINTS.get(type(node), f"{type(node).__name__} is not supported in a condition"))
    for part in ast.iter_child_nodes(node):
        _check(part, names)


def name_of(node: ast.expr) -> tuple[str, ...]:
    """The name that this is, such as ("vars", "kind"). Raises ConditionError."""
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.insert(0, inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name):
        raise ConditionError(f"`{ast.unparse(node)}`: only vars, facts, steps and item have parts")
    path = (inner.id, *parts)
    form = _FORMS.get(path[0])
    if form is None:
        hint = did_you_mean(path[0], _FORMS)
        raise ConditionError(f"unknown name `{path[0]}`: write vars.<name>, facts.<step>.<fact> or a quoted text{hint}")
    if len(path) != 1 + form.count("."):
        raise ConditionError(f"`{'.'.join(path)}` must have the form {form}")
    if path[0] == "steps" and path[2] not in STEP_NAMES:
        raise ConditionError(f"`{'.'.join(path)}`: of a step there is {', '.join(STEP_NAMES)}")
    if path[0] == "item" and path[1] not in ITEM_NAMES:
        raise ConditionError(f"an item has no `{path[1]}`{did_you_mean(path[1], ITEM_NAMES)}")
    return path


_FORMS = {
    "vars": "vars.<name>",
    "facts": "facts.<step id>.<fact>",
    "steps": "steps.<step id>.<name>",
    "item": "item.<name>",
}
