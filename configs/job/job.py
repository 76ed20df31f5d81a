"""A job: a recipe and a list of items, as its YAML file has it."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from configs.documents.fields import Location, Name, Prompt, Scalar, Schema, Seed, Text, Uri, Value, Vars
from configs.documents.problems import Problem, Salvaged, did_you_mean, salvage
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
    seed: Seed | None = Field(default=None, description="Default: derived from the job's seed and the name.")
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
    seed: Seed = Field(default=0, description="Base of the items' seeds.")
    seeds_per_item: int = Field(default=1, ge=1, le=10_000, description="Images of each item.")
    vars: Vars = Field(default_factory=dict, description="Variables of every item; an item's own win.")
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
    ) = Field(default=None, description="The items, or a path or URI of a CSV, JSONL or Parquet file.")
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
