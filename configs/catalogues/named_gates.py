"""Writes out the gates that a recipe lists by name: what a job did must not change with a file of gates."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from configs.catalogues.gates import NamedGate, UnknownGate
from configs.documents.problems import InvalidInput, Problem
from configs.documents.yaml_source import child

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def write_out_gates(recipe: Any, find: Callable[[str], NamedGate]) -> list[Problem]:
    """Puts condition and reason in place of each name in the `require` of a recipe as read from its file.

    `find` raises UnknownGate, or InvalidInput where a file of gates has mistakes. Returns what is wrong.
    """
    problems: list[Problem] = []
    for path, checks in _requirements(recipe, ""):
        for place, one in enumerate(checks):
            if not isinstance(one, str) or not _NAME.fullmatch(one):
                continue
            try:
                gate = find(one)
            except UnknownGate as error:
                problems.append(Problem(f"{path}[{place}]", str(error.args[0])))
                checks[place] = {"that": "true", "gate": one}
            except InvalidInput as error:
                return list(error.problems)
            else:
                checks[place] = {"that": gate.require, "because": gate.because, "gate": gate.name}
    return problems


def _requirements(value: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "require" and isinstance(inner, list):
                yield child(path, name), inner
            else:
                yield from _requirements(inner, child(path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _requirements(inner, child(path, place))
