"""Items from templates: `matrix` takes each value with each, `zip` the first with the first and so on."""

import itertools
import math
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from configs.documents.fields import MAX_NAME_BYTES, MAX_TEXT, Scalar, check_name, check_variable_name, cut, slug
from configs.documents.problems import Problem, child, did_you_mean, problems_of
from configs.job.job import Grid, ItemEntry

Kind = Literal["matrix", "zip"]
_NOT_AXES = {"seed": "give `seeds_per_item`, or list the items", "vars": "give the job `vars`"}


@dataclass(frozen=True, slots=True)
class Template:
    """Text with `{name}` in it; `{{` and `}}` are braces."""

    parts: tuple[tuple[str, str | None], ...]  # literal text, and the name that follows it

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Parse a template. Raises ValueError for anything in braces but a name."""
        parts = []
        try:
            for literal, name, form, conversion in string.Formatter().parse(text):
                if name is not None and (form or conversion or not name.isidentifier()):
                    raise ValueError(f"`{{{name}}}` must be a plain name (write {{{{ and }}}} for braces)")
                parts.append((literal, name))
        except ValueError as error:
            reason = str(error)
            if not reason.startswith("`"):
                reason = "has a brace without its partner (write {{ and }} for braces)"
            raise ValueError(reason) from None
        return cls(tuple(parts))

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.parts if name is not None]

    def fill(self, values: Mapping[str, Scalar]) -> str:
        """Return the text with each name replaced by its value; cut where it is too long for any field."""
        pieces, length = list[str](), 0
        for literal, name in self.parts:
            pieces.append(literal + (in_text(values[name]) if name is not None else ""))
            length += len(pieces[-1])
            if length > MAX_TEXT:  # the field's own check reports it; a name can stand a thousand times for a long text
                break
        return "".join(pieces)


def in_text(value: Scalar) -> str:
    """Return a value as in a prompt or a name: `true` and `false` in lower case, an empty text for None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def grid_size(grid: Grid, kind: Kind) -> int:
    """Return the number of items it makes, without making them."""
    lengths = [len(values) for values in grid.axes.values()]
    return math.prod(lengths) if kind == "matrix" else max(lengths, default=0)


def grid_problems(grid: Grid, kind: Kind, job_vars: Mapping[str, Any]) -> list[Problem]:
    """Return what makes the grid impossible to expand."""
    problems = []
    if not grid.axes:
        problems.append(Problem(kind, "needs at least one list of values, such as `color: [red, blue]`"))
    for axis, values in grid.axes.items():
        path = child(kind, axis)
        if axis in _NOT_AXES:
            problems.append(Problem(path, f"cannot be a list of values: {_NOT_AXES[axis]}"))
            continue
        try:
            check_variable_name(axis)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
        if kind == "matrix":
            twice = {in_text(value) for value, count in Counter(values).items() if count > 1}
            problems += [Problem(path, f"lists `{value}` twice") for value in sorted(twice)]
    lengths = {axis: len(values) for axis, values in grid.axes.items()}
    if kind == "zip" and len(set(lengths.values())) > 1:
        counts = ", ".join(f"{axis} {length}" for axis, length in lengths.items())
        problems.append(Problem(kind, f"its lists must be equally long (they hold: {counts})"))
    return problems + _template_problems(grid, kind, job_vars)


def _template_problems(grid: Grid, kind: Kind, job_vars: Mapping[str, Any]) -> list[Problem]:
    problems = []
    known = {*grid.axes, *job_vars}
    for field, text in grid.templates.items():
        try:
            names = Template.parse(text).names
        except ValueError as error:
            problems.append(Problem(child(kind, field), str(error)))
            continue
        for name in dict.fromkeys(names):
            if name not in known:
                message = f"`{{{name}}}` names no list of the {kind} and no variable of the job"
                problems.append(Problem(child(kind, field), message + did_you_mean(name, known)))
    return problems


def expand_grid(grid: Grid, kind: Kind, job_vars: Mapping[str, Scalar]) -> Iterator[ItemEntry | list[Problem]]:
    """Yield an entry, or its problems, for each combination, last list fastest. Call grid_problems first."""
    axes = grid.axes
    templates = {field: Template.parse(text) for field, text in grid.templates.items()}
    slugs = {axis: [_value_slug(value, index) for index, value in enumerate(values)] for axis, values in axes.items()}
    indices = [range(len(values)) for values in axes.values()]
    combine = itertools.product(*indices) if kind == "matrix" else zip(*indices, strict=True)
    for combination in combine:
        values = {axis: axes[axis][index] for axis, index in zip(axes, combination, strict=True)}
        fields: dict[str, Any] = {
            field: template.fill({**job_vars, **values} if job_vars else values)
            for field, template in templates.items()
        }
        if "name" not in fields:
            fields["name"] = _default_name([slugs[axis][index] for axis, index in zip(axes, combination, strict=True)])
        fields["vars"] = values
        try:
            yield ItemEntry.model_validate(fields, strict=True)
        except ValidationError as error:
            made = ", ".join(f"{axis} {in_text(value)!r}" for axis, value in values.items())
            yield [
                Problem(child(kind, each.path), f"{each.message} (for {made})")
                for each in problems_of(error, ItemEntry, fields)
            ]


def _value_slug(value: Scalar, index: int) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return f"minus-{slug(in_text(-value))}"
    return slug(in_text(value)) or str(index + 1)


def _default_name(parts: list[str]) -> str:
    return check_name(cut("-".join(parts), MAX_NAME_BYTES).strip("-. ") or "item")
