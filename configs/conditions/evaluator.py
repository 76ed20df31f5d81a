"""Goes through the expression of a condition, with values that may not be known yet."""

import ast
import threading
from collections.abc import Callable
from typing import Any

from simpleeval import SimpleEval

from configs.conditions.operators import OPERATORS, UNKNOWN, UNKNOWN_BUT, Unknown, truth_of
from configs.conditions.text import CONSTANTS, name_of

LookUp = Callable[[tuple[str, ...]], Any]


class Evaluator(SimpleEval):  # type: ignore[misc]
    """simpleeval with our names, our operators, lists, and values that may be unknown."""

    def __init__(self) -> None:
        super().__init__(operators=OPERATORS, functions={}, names=CONSTANTS)
        self.begin(lambda path: None)  # noqa: ARG005
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

    def begin(self, look_up: "LookUp") -> None:
        """With other values."""
        self._look_up: LookUp = look_up
        self.met_unknown = False

    def _eval_path(self, node: ast.Attribute) -> Any:
        value = self._look_up(name_of(node))
        self.met_unknown = self.met_unknown or isinstance(value, Unknown)
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
            truth = truth_of(value)
            unknown = unknown or truth is None
            if truth is decisive:
                return UNKNOWN_BUT[decisive] if unknown else value
        return UNKNOWN if unknown else value

    def _eval_chain(self, node: ast.Compare) -> Any:
        left = self._eval(node.left)
        unknown = False
        for operation, part in zip(node.ops, node.comparators, strict=True):
            right = self._eval(part)
            result = self.operators[type(operation)](left, right)
            if isinstance(result, Unknown):
                unknown = True
            elif not result:
                return False
            left = right
        return UNKNOWN if unknown else True


_of_this_thread = threading.local()


def evaluator_of_thread(look_up: LookUp) -> Evaluator:
    """One a thread: making one takes longer than most evaluations, and changes the process's filters of warnings."""
    evaluator: Evaluator | None = getattr(_of_this_thread, "evaluator", None)
    if evaluator is None:
        evaluator = _of_this_thread.evaluator = Evaluator()
    evaluator.begin(look_up)
    return evaluator
