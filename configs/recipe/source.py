"""Recipe files: found by name in `recipes_path` and `configs/data/recipes/`, or by path; and a job's overrides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from configs.documents.fields import Schema
from configs.documents.problems import Problem, check, did_you_mean
from configs.documents.yaml_source import Document
from configs.recipe.recipe import Distinction, RecipeStep
from configs.settings.settings import Settings

BUILT_IN = Path(__file__).parents[1] / "data" / "recipes"
_SUFFIXES = (".yaml", ".yml")


def recipe_folders(settings: Settings) -> tuple[Path, ...]:
    """Return the folders of recipes, in the order they are searched."""
    return (*(path.expanduser() for path in settings.recipes_path), BUILT_IN)


def recipe_names(settings: Settings) -> tuple[str, ...]:
    """Return the sorted names of the recipes that a job can use without a path."""
    return tuple(sorted({path.stem for folder in recipe_folders(settings) for path in folder.glob("*.yaml")}))


def find_recipe(name: str, settings: Settings) -> Path | None:
    """Return the file of the recipe with a name, or None if there is none."""
    paths = (folder / f"{name}.yaml" for folder in recipe_folders(settings))
    return next((path for path in paths if path.is_file()), None)


def is_recipe_path(text: str) -> bool:
    """Return whether a job's `recipe` is a path or a URI rather than a name."""
    return "/" in text or "\\" in text or text.endswith(_SUFFIXES)


def misnamed(path: str) -> str | None:
    """Return why the file of this name is not read as a recipe, or None if it is.

    Only files named as YAML are opened, for a message about any other file may repeat parts of it.
    """
    return None if path.endswith(_SUFFIXES) else f"the name of a recipe's file must end in {' or '.join(_SUFFIXES)}"


class Overrides(Schema):
    """Settings of a job that differ from its recipe."""

    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict, description="By step id.")
    distinct: Distinction | None = Field(default=None, description="Default: the recipe's setting.")

    def __or__(self, other: "Overrides") -> "Overrides":
        """Return both; where both set something, `other` wins."""
        steps = dict.fromkeys([*self.parameters, *other.parameters])
        return Overrides(
            parameters={step: {**self.parameters.get(step, {}), **other.parameters.get(step, {})} for step in steps},
            distinct=self.distinct if other.distinct is None else other.distinct,
        )


class RecordedOverrides(NamedTuple):
    """The overrides that a kept recipe records; None where they were unknown when it was kept."""

    overrides: Overrides | None


def take_overrides(document: Document) -> tuple[RecordedOverrides | None, list[Problem]]:
    """Take `overrides` out of a recipe as read; None if it has no such field.

    Recipes have it that were kept when a job got another one.
    """
    if "overrides" not in document.data:
        return None, []
    written = document.data.pop("overrides")
    if written is None:
        return RecordedOverrides(None), []
    if not isinstance(written, dict):
        return None, [Problem("overrides", "must be `parameters` and `distinct` that a job has set in this recipe")]
    overrides, problems = check(Overrides, written, "overrides")
    return RecordedOverrides(overrides), problems


# Fields that make a step what it is and decide when it runs: a change would make another recipe.
_FIXED = frozenset(RecipeStep.model_fields) | {field.alias for field in RecipeStep.model_fields.values()}


def override_distinct(recipe: dict[str, Any], job: Mapping[str, Any]) -> dict[str, str]:
    """Set the job's `distinct` in the recipe as read from its file. Returns what was set, as override_parameters."""
    if job.get("distinct") is None:
        return {}
    recipe["distinct"] = job["distinct"]
    return {"distinct": "distinct"}


def override_parameters(
    recipe: dict[str, Any], parameters: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, str], list[Problem]]:
    """Set the parameters in the recipe as read from its file.

    Returns the path of each that was set, in the recipe -> in the job, and the job's mistakes. Values are
    checked later, by the steps.
    """
    listed = recipe.get("steps")
    steps = {
        entry["id"]: (position, entry)
        for position, entry in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }
    sources: dict[str, str] = {}
    problems = []
    for step_id, values in parameters.items():
        if step_id not in steps:
            hint = did_you_mean(step_id, steps)
            problems.append(Problem(f"parameters.{step_id}", f"the recipe has no step `{step_id}`{hint}"))
            continue
        position, entry = steps[step_id]
        for name, value in values.items():
            if name in _FIXED:
                message = f"`{name}` of a step is the recipe's: write a recipe of your own to change it"
                problems.append(Problem(f"parameters.{step_id}.{name}", message))
                continue
            entry[name] = value
            sources[f"steps[{position}].{name}"] = f"parameters.{step_id}.{name}"
    return sources, problems
