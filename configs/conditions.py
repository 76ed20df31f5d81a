"""Conditions of a recipe: small Python-like expressions over an item and the facts measured on its images."""

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simpleeval import SimpleEval

from configs.item import Item
from configs.problems import did_you_mean

MAX_LENGTH = 500  # characters
_MAX_NODES = 200
_MAX_BASE = 1_000_000
_MAX_EXPONENT = 64

ITEM_NAMES: dict[str, Callable[[Item], Any]] = {
    "name": lambda item: item.name,
    "prompt": lambda item: item.prompt or "",
    "seed": lambda item: item.seed,
    "has_image": lambda item: item.image is not None,
    "has_mask": lambda item: item.mask is not None,
}
_CONSTANTS = {"true": True, "false": False, "null": None}
_FALSE_WORDS = frozenset({"false", "no", "off"})


class ConditionError(ValueError):
    """The expression is not a condition, or its values cannot be compared. The message says what to change."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition sees. `facts` maps the ids of the steps that the item visited to their facts."""

    item: Item
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _Missing(Exception):
    """The condition needs a variable or a fact that this item does not have."""


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A value that planning cannot know yet: a fact, or what was computed from one."""

    truth: bool | None = None


_UNKNOWN = _Unknown()
_UNKNOWN_BUT = {True: _Unknown(True), False: _Unknown(False)}


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; immutable and safe to share between threads."""

    text: str
    names: frozenset[tuple[str, ...]]  # ("vars", name), ("facts", step id, fact), ("item", name)
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Raises ConditionError for anything but comparisons, and/or/not, in, arithmetic, literals and lists."""
        tree = _parse(text)
        names: set[tuple[str, ...]] = set()
        _check(tree, names)
        return cls(ast.unparse(tree), frozenset(names), tree)

    def holds(self, scope: Scope) -> bool:
        """Whether it is true. False when it comes to a variable or a fact that the item does not have.

        Raises ConditionError when the values cannot be compared or computed.
        """
        return self._evaluate(lambda path: _look_up(path, scope)) is True

    def foresee(self, item: Item) -> bool | None:
        """The same before any fact is known; None when it depends on facts. Raises ConditionError likewise.

        Also evaluates what stands behind a fact, so that mistakes in it show before any work.
        """
        scope = Scope(item)
        return self._evaluate(lambda path: _UNKNOWN if path[0] == "facts" else _look_up(path, scope))

    def _evaluate(self, look_up: Callable[[tuple[str, ...]], Any]) -> bool | None:
        evaluator = _Evaluator(look_up)
        try:
            truth = _truth(evaluator.eval(self.text, previously_parsed=self._tree))
        except _Missing:
            truth = None if evaluator.met_unknown else False
        except (TypeError, ArithmeticError, ValueError) as error:
            raise ConditionError(f"`{self.text}` cannot be evaluated: {error}") from None
        # A fact that the item turns out not to have makes the whole condition false.
        return None if truth and evaluator.met_unknown else truth


class Foresight:
    """Condition.foresee for many items: those that look alike to the condition are evaluated once."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._names = sorted(name for name in condition.names if name[0] != "facts")
        self._known: dict[tuple[Any, ...], bool | ConditionError | None] = {}

    def of(self, item: Item) -> bool | None:
        """As Condition.foresee. Raises ConditionError likewise."""
        key = tuple(self._seen(name, item) for name in self._names)
        if key not in self._known:
            try:
                self._known[key] = self._condition.foresee(item)
            except ConditionError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, ConditionError):
            raise known
        return known

    @staticmethod
    def _seen(name: tuple[str, ...], item: Item) -> tuple[type, Any]:
        value = ITEM_NAMES[name[1]](item) if name[0] == "item" else item.vars.get(name[1], _Missing)
        return type(value), value


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
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return
    if isinstance(node, ast.Name | ast.Attribute):
        names.add(_name(node))
        return
    if isinstance(node, ast.operator | ast.unaryop | ast.cmpop):
        if type(node) not in _OPERATORS:
            raise ConditionError(_HINTS.get(type(node), f"the operator {type(node).__name__} is not supported"))
        return
    if not isinstance(node, _PLAIN_NODES):
        raise ConditionError(_HINTS.get(type(node), f"{type(node).__name__} is not supported in a condition"))
    for part in ast.iter_child_nodes(node):
        _check(part, names)


def _name(node: ast.expr) -> tuple[str, ...]:
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.insert(0, inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name):
        raise ConditionError(f"`{ast.unparse(node)}`: only vars, facts and item have parts")
    path = (inner.id, *parts)
    length = {"vars": 2, "facts": 3, "item": 2}.get(path[0])
    if length is None:
        hint = did_you_mean(path[0], ("vars", "facts", "item"))
        raise ConditionError(f"unknown name `{path[0]}`: write vars.<name>, facts.<step>.<fact> or a quoted text{hint}")
    if len(path) != length:
        form = {"vars": "vars.<name>", "facts": "facts.<step id>.<fact>", "item": "item.<name>"}[path[0]]
        raise ConditionError(f"`{'.'.join(path)}` must have the form {form}")
    if path[0] == "item" and path[1] not in ITEM_NAMES:
        raise ConditionError(f"an item has no `{path[1]}`{did_you_mean(path[1], ITEM_NAMES)}")
    return path


def _look_up(path: tuple[str, ...], scope: Scope) -> Any:
    try:
        if path[0] == "item":
            return ITEM_NAMES[path[1]](scope.item)
        return scope.item.vars[path[1]] if path[0] == "vars" else scope.facts[path[1]][path[2]]
    except KeyError:
        raise _Missing from None


def _truth(value: Any) -> bool | None:
    """Python's truth, but the texts that only look false are refused; None for what is unknown."""
    if isinstance(value, _Unknown):
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
    truth = _truth(value)
    return _UNKNOWN if truth is None else not truth


def _lift(function: Callable[..., Any]) -> Callable[..., Any]:
    """Unknown in, unknown out."""

    def compute(*values: Any) -> Any:
        return _UNKNOWN if any(_is_unknown(value) for value in values) else function(*values)

    return compute


def _is_unknown(value: Any) -> bool:
    return isinstance(value, _Unknown) or (isinstance(value, list | tuple) and any(map(_is_unknown, value)))


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
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
_OPERATORS[ast.Not] = _negate


class _Evaluator(SimpleEval):  # type: ignore[misc]
    """simpleeval with our names, our operators, lists, and values that may be unknown."""

    def __init__(self, look_up: Callable[[tuple[str, ...]], Any]) -> None:
        super().__init__(operators=_OPERATORS, functions={}, names=_CONSTANTS)
        self._look_up = look_up
        self.met_unknown = False
        self.nodes = {
            ast.Constant: self._eval_constant,
            ast.Name: self._eval_name,
            ast.Attribute: self._eval_path,
            ast.UnaryOp: self._eval_unaryop,
            ast.BinOp: self._eval_binop,
            ast.BoolOp: self._eval_logic,
            ast.Compare: self._eval_chain,
            ast.List: self._eval_sequence,
            ast.Tuple: self._eval_sequence,
        }

    def _eval_path(self, node: ast.Attribute) -> Any:
        value = self._look_up(_name(node))
        self.met_unknown = self.met_unknown or isinstance(value, _Unknown)
        return value

    def _eval_sequence(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self._eval(part) for part in node.elts]

    def _eval_logic(self, node: ast.BoolOp) -> Any:
        """`and`, `or` as in Python; what follows an unknown value is still evaluated, to find its mistakes."""
        decisive = isinstance(node.op, ast.Or)
        unknown = False
        value: Any = None
        for part in node.values:
            value = self._eval(part)
            truth = _truth(value)
            unknown = unknown or truth is None
            if truth is decisive:
                return _UNKNOWN_BUT[decisive] if unknown else value
        return _UNKNOWN if unknown else value

    def _eval_chain(self, node: ast.Compare) -> Any:
        left = self._eval(node.left)
        unknown = False
        for operation, part in zip(node.ops, node.comparators, strict=True):
            right = self._eval(part)
            result = self.operators[type(operation)](left, right)
            if isinstance(result, _Unknown):
                unknown = True
            elif not result:
                return False
            left = right
        return _UNKNOWN if unknown else True
