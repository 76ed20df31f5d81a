"""A job: a recipe and a list of items, as its YAML file has it; and the items that its templates make."""

import itertools
import math
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from configs.documents.fields import (
    MAX_NAME_BYTES,
    MAX_TEXT,
    Location,
    Name,
    Prompt,
    Scalar,
    Schema,
    Seed,
    Text,
    Uri,
    Value,
    Vars,
    check_name,
    check_variable_name,
    cut,
    slug,
)
from configs.documents.problems import Problem, Salvaged, child, describe, did_you_mean, problems_of, salvage
from configs.documents.yaml_source import Document
from configs.recipe.recipe import Distinction


class AtReview(StrEnum):
    """The action of a burst once nothing is left to compute but quarantined images can still be accepted."""

    END = "end"
    WAIT = "wait"


ARTEFACTS = "artefacts"  # the store's folder of images by fingerprint, beside those of the jobs


class ItemEntry(Schema):
    """One item as written: in the job, or as a row of a table."""

    name: Name | None = Field(default=None, description="Names the final image; default: words of the prompt.")
    prompt: Prompt | None = None
    negative_prompt: Text | None = None
    seed: Seed | None = Field(
        default=None, description="Default, and for -1: derived from the job's seed and the name."
    )
    image: Uri | None = Field(default=None, description="Input image: a path, an s3:// or an https:// URI.")
    mask: Uri | None = Field(default=None, description="Inpainting mask: a path, an s3:// or an https:// URI.")
    vars: Vars = Field(default_factory=dict, description="Variables for conditions.")


class Grid(BaseModel):
    """Templates, and lists of values to fill them with: `matrix` (each with each) or `zip` (first with first …).

    Whatever is not a template is a list of values, which also become the item's variables.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]]

    name: Text | None = Field(default=None, description="Template; default: the values, joined by hyphens.")
    prompt: Prompt | None = Field(default=None, description="Template, such as `a {color} key`.")
    negative_prompt: Text | None = Field(default=None, description="Template.")
    image: Text | None = Field(default=None, description="Template of a path, an s3:// or an https:// URI.")
    mask: Text | None = Field(default=None, description="Template of a path, an s3:// or an https:// URI.")

    @property
    def axes(self) -> dict[str, tuple[Scalar, ...]]:
        """The lists of values, in the order they are written."""
        return dict(self.__pydantic_extra__)

    @property
    def templates(self) -> dict[str, str]:
        """The templates that are given, by field."""
        return {name: text for name in Grid.model_fields if (text := getattr(self, name)) is not None}


def _not_reserved(name: str) -> str:
    if name.casefold() == ARTEFACTS:
        raise ValueError(f"must not be `{ARTEFACTS}`, which is the folder of all jobs' images")
    return name


class Job(Schema):
    """A bulk request. At least one of `items`, `matrix` and `zip` must be there; together they are concatenated."""

    name: Annotated[Name, AfterValidator(_not_reserved)] = Field(description="Names the job's folder of final images.")
    description: Text = ""
    recipe: Uri = Field(description="Name of a recipe, or a path or URI of its file.")
    output: Location = Field(description="Folder or s3://bucket/prefix that the images go to.")
    seed: Seed = Field(default=0, description="Base of the items' seeds; -1: the default.")
    seeds_per_item: int = Field(default=1, ge=1, le=10_000, description="Images of each item.")
    vars: Vars = Field(default_factory=dict, description="Variables of every item; an item's own win.")
    dynamic_prompts: bool = Field(
        default=False, description="Whether `{red|blue}` and `__colors__` in prompts are choices, made by each seed."
    )
    wildcards: Location | None = Field(
        default=None, description="Folder or s3://bucket/prefix of word lists: colors.txt is `__colors__`."
    )
    parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Step id -> parameters that this job sets otherwise than the recipe."
    )
    distinct: Distinction | None = Field(
        default=None, description="Whether no image may repeat another one; default: the recipe's setting."
    )
    budget: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="What a run may cost; it stops when that is spent."
    )
    review: AtReview = Field(
        default=AtReview.END,
        description="What a burst does when gates have quarantined items: `end`, or `wait` until people have decided.",
    )
    items: (
        Annotated[
            Annotated[tuple[ItemEntry, ...], Tag("list")] | Annotated[Uri, Tag("table")],
            Discriminator(lambda value: "table" if isinstance(value, str) else "list"),
        ]
        | None
    ) = Field(
        default=None,
        description="The items; a path or URI of a CSV, JSONL or Parquet file, or of a .txt with a prompt a line; or "
        "input images: a folder, a glob such as `photos/**`, or an s3:// prefix that ends in a slash.",
    )
    matrix: Grid | None = Field(default=None, description="Items from all combinations of values.")
    zip: Grid | None = Field(default=None, description="Items from lists of values read side by side.")


SOURCES = ("items", "matrix", "zip")
_STAND_INS = {"name": "job", "recipe": "recipe", "output": "."}


def read_job(document: Document) -> Salvaged[Job]:
    """Return the job, or the part that can be checked further, with every mistake of its form."""
    read = salvage(Job, document.data, "items", _STAND_INS)
    problems = [*document.problems, *map(_hint_at_template, read.problems)]
    if all(document.data.get(source) is None for source in SOURCES):
        problems.append(Problem("items", "is missing: give `items`, a `matrix` or a `zip`"))
    elif read.value is not None and read.value.items == () and "items" not in read.bad:
        problems.append(Problem("items", "must have at least 1 entry"))
    return Salvaged(read.value, problems, read.bad, read.kept)


def _hint_at_template(problem: Problem) -> Problem:
    """Add a hint to a misspelled template, which is taken for a list of values."""
    parent, _, key = problem.path.partition(".")
    if parent in ("matrix", "zip") and problem.message.startswith("must be a list") and key:
        hint = did_you_mean(key, Grid.model_fields)
        hint = hint if "did you mean" in hint else ""
        return Problem(problem.path, problem.message + hint, problem.file, problem.line)
    return problem


# -- items from templates --------------------------------------------------------------------------------------------

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
            made = "-".join(slugs[axis][index] for axis, index in zip(axes, combination, strict=True))
            fields["name"] = check_name(cut(made, MAX_NAME_BYTES).strip("-. ") or "item")
        fields["vars"] = values
        try:
            yield ItemEntry.model_validate(fields, strict=True)
        except ValidationError as error:
            made = ", ".join(f"{axis} {in_text(value)!r}" for axis, value in values.items())
            yield [
                Problem(child(kind, each.path), f"{each.message} (for {made})")
                for each in problems_of(error.errors(include_url=False), ItemEntry, fields)
            ]


def _value_slug(value: Scalar, index: int) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return f"minus-{slug(in_text(-value))}"
    return slug(in_text(value)) or str(index + 1)


def as_declared(value: Scalar, default: Scalar) -> tuple[Scalar, str | None]:
    """Return the value in the kind of its variable's default, where that is a boolean or a number, and what is wrong.

    0 and 1 count as booleans; no text does, and none as a number.
    """
    if isinstance(default, bool):
        if isinstance(value, bool | None):
            return value, None
        if value in (0, 1):
            return bool(value), None
        return value, f"must be true or false, as the variable's default is, not {describe(value)}"
    if isinstance(default, int | float) and isinstance(value, bool | str):
        return value, f"must be a number, as the variable's default is, not {describe(value)}"
    return value, None
