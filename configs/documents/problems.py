"""All mistakes of an input at once, each with the file and line that a user must change."""

import json
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from rapidfuzz import fuzz, process

from configs.documents.uris import shown
from configs.failures import PixelmillError

_SHOWN = 3  # names as examples
MAX_PROBLEMS = 500
_MAX_WORD = 200  # characters
_MAX_NAMES = 1_000  # that a misspelled one is compared with


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    `path` is its path in the document, dotted with list positions (`items[3].seed`); `file` and `line` (from 1) are
    set when the input came from a file.
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        source = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (source, self.path, self.message) if part)


class InvalidInput(PixelmillError):
    """The input was refused and nothing was written. Carries every problem found, not only the first.

    Beyond MAX_PROBLEMS it carries their number: every one of a million lines would be logged, stored and sent around.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        every = tuple(problems)
        if len(every) > MAX_PROBLEMS:
            more = len(every) - MAX_PROBLEMS
            every = (*every[:MAX_PROBLEMS], Problem("", f"and {more:,} more mistakes: mend these first"))
        self.problems: tuple[Problem, ...] = every
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str], *, limit: int = 1, cutoff: int = 60) -> list[str]:
    """Return at most `limit` names that look like the word in any case, best first; `cutoff` is 0 … 100 (equal)."""
    names = sorted(set(known))[:_MAX_NAMES]
    found = process.extract(
        word[:_MAX_WORD], names, scorer=fuzz.ratio, processor=str.casefold, limit=limit, score_cutoff=cutoff
    )
    return [name for name, _, _ in found]


def did_you_mean(word: str, known: Collection[str], limit: int = 12) -> str:
    """Return `; did you mean `x`?` when a known name is close, else the known names (at most `limit`), if any."""
    if near := nearest(word, known):
        return f"; did you mean `{near[0]}`?"
    names = sorted(set(known))
    if not names:
        return ""
    shown = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
    return f"; known: {shown}"


def some_of(names: Sequence[str]) -> str:
    """Return the first names for a message that needs an example of them."""
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")


def child(path: str, key: str | int) -> str:
    """Return the dotted path of a value inside the one at `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def describe(value: Any) -> str:
    """Return a value in the words of an error message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        value = shown(value)
        return f"the text {value[:60]!r}" + ("…" if len(value) > 60 else "")
    if isinstance(value, int | float):
        return str(value) if not isinstance(value, int) or abs(value) < 10**40 else "a very large number"
    return "fields" if isinstance(value, dict) else "a list"


M = TypeVar("M", bound=BaseModel)

_WANTED = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be fields (`name: value`)",
    "model_type": "must be fields (`name: value`)",
    "model_attributes_type": "must be fields (`name: value`)",
    "none_required": "must be left empty",
}
_MAX_DETAILS = 2 * MAX_PROBLEMS  # a path may have more than one
_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
}


@dataclass(frozen=True, slots=True)
class Salvaged(Generic[M]):
    """The readable part of a document, for further checks: bad fields hold their defaults, bad entries are left out.

    `kept` are the positions of the good entries, `bad` the top-level fields with mistakes. `value` is None where
    nothing could be read.
    """

    value: M | None
    problems: list[Problem]
    bad: frozenset[str] = frozenset()
    kept: tuple[int, ...] = ()


def check(
    model: type[M], data: Mapping[str, Any], path: str = "", *, also_known: Sequence[str] = ()
) -> tuple[M | None, list[Problem]]:
    """Return the validated model, or None and every mistake. Types are strict: no number is read from a text.

    `also_known` are further names that a misspelled field may have meant.
    """
    try:
        return model.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as error:
        return None, problems_of(error.errors(include_url=False), model, data, path, also_known)


def salvage(model: type[M], data: dict[str, Any], entries: str, stand_ins: Mapping[str, Any]) -> Salvaged[M]:
    """Validate like `check`, but where there are mistakes, return the model of what is left.

    `entries` is the list field whose bad entries are left out one by one; `stand_ins` replace bad required fields.
    """
    listed = data.get(entries)
    positions = range(len(listed)) if isinstance(listed, list) else range(0)
    try:
        return Salvaged(model.model_validate_json(json.dumps(data), strict=True), [], kept=tuple(positions))
    except ValidationError as error:
        details = error.errors(include_url=False)
    paths = [path for each in details if (path := _location(data, each))]
    bad_entries = {path[1] for path in paths if path[0] == entries and len(path) > 1}
    bad_fields = {str(path[0]) for path in paths if path[0] != entries or len(path) == 1}
    good = {**stand_ins, **{field: value for field, value in data.items() if field not in bad_fields}}
    kept: tuple[int, ...] = ()
    if isinstance(good.get(entries), list):
        kept = tuple(position for position in positions if position not in bad_entries)
        good[entries] = [good[entries][position] for position in kept]
    value, _ = check(model, good)
    bad = bad_fields | ({entries} if bad_entries else set())
    return Salvaged(value, problems_of(details, model, data), frozenset(bad), kept)


def problems_of(
    errors: Sequence[Mapping[str, Any]],  # of pydantic's ValidationError
    model: type[BaseModel],
    data: Any,
    path: str = "",
    also_known: Sequence[str] = (),
) -> list[Problem]:
    """Return one problem per path, with the alternatives of a union joined; at most the first thousand mistakes."""
    found: dict[str, list[str]] = {}
    for details in errors[:_MAX_DETAILS]:
        if _is_echo(details):
            continue
        location = _location(data, details)
        where = path
        for part in location:
            where = child(where, part)
        messages = found.setdefault(where, [])
        message = _message(details, model, location, also_known)
        if message not in messages:
            messages.append(message)
    return [Problem(where, _join(messages)) for where, messages in found.items()]


def _is_echo(details: Mapping[str, Any]) -> bool:
    """Return whether a list is too short only because pydantic has left out bad entries, which it also reports."""
    if details["type"] != "too_short" or not isinstance(details["input"], list):
        return False
    return len(details["input"]) >= int(details["ctx"]["min_length"])


def _join(messages: list[str]) -> str:
    if len(messages) > 1 and all(message.startswith("must be ") for message in messages):
        alternatives = [message.removeprefix("must be ").split(", not ")[0] for message in messages]
        tail = messages[-1].partition(", not ")
        return "must be " + " or ".join(alternatives) + tail[1] + tail[2]
    return "; ".join(messages)


def _location(data: Any, details: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Return pydantic's location without the names of union members and validators, which no document has."""
    location: list[str | int] = []
    parts = details["loc"]
    for position, part in enumerate(parts):
        last_missing = details["type"] == "missing" and position == len(parts) - 1
        if (
            last_missing
            or (isinstance(data, dict) and part in data)
            or (isinstance(data, list) and isinstance(part, int))
        ):
            location.append(part)
            data = None if last_missing else data[part]
    return tuple(location)


def _message(
    details: Mapping[str, Any], model: type[BaseModel], location: Sequence[str | int], also_known: Sequence[str]
) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details.get("input")
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        known = [*_fields(model, location[:-1]), *also_known]
        return f"unknown field{did_you_mean(str(location[-1]), known)}"
    if kind == "string_unicode":
        return "must not hold half a character (a lone surrogate escape)"
    if kind == "value_error":
        return str(context["error"])
    if kind in _WANTED:
        return f"{_WANTED[kind]}, not {describe(value)}"
    if kind in _BOUNDS:
        message = _BOUNDS[kind].format(**context)
        return f"{message}, not {describe(value)}" if isinstance(value, str | int | float) else message
    return str(details["msg"]).replace("Input should", "must").replace("Value should", "must")


def _fields(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the names of the fields that a model's document may have at a path."""
    models: list[type[BaseModel]] = [model]
    for part in location:
        annotations = [
            field.annotation
            for inner in models
            for name, field in inner.model_fields.items()
            if part in (name, field.alias)
        ]
        if not annotations:
            continue  # a position in a list or a key of a mapping
        models = [found for annotation in annotations for found in _models_in(annotation)]
    return [field.alias or name for inner in models for name, field in inner.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [found for argument in typing.get_args(annotation) for found in _models_in(argument)]
