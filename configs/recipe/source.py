"""Finds recipes: by name in the folders of `recipes_path` and in `configs/data/recipes/`, or by path."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from configs.documents.problems import Problem, check, did_you_mean
from configs.documents.yaml_source import Document
from configs.recipe.recipe import Distinction, RecipeStep
from configs.settings.settings import Settings

BUILT_IN = Path(__file__).parents[1] / "data" / "recipes"
_SUFFIXES = (".yaml", ".yml")


def recipe_folders(settings: Settings) -> tuple[Path, ...]:
    """In the order they are searched."""
    return (*(path.expanduser() for path in settings.recipes_path), BUILT_IN)


def recipe_names(settings: Settings) -> tuple[str, ...]:
    """Sorted names of the recipes that a job can use without a path."""
    return tuple(sorted({path.stem for folder in recipe_folders(settings) for path in folder.glob("*.yaml")}))


def find_recipe(name: str, settings: Settings) -> Path | None:
    """The file of a recipe's name; None if there is none."""
    paths = (folder / f"{name}.yaml" for folder in recipe_folders(settings))
    return next((path for path in paths if path.is_file()), None)


def is_recipe_path(text: str) -> bool:
    """Whether a job's `recipe` is a path or a URI rather than a name."""
    return "/" in text or "\\" in text or text.endswith(_SUFFIXES)


def misnamed(path: str) -> str | None:
    """Why the file of this name is not read as a recipe; None if it is.

    What is said about a file that holds something else may repeat parts of it: only what calls itself YAML is opened.
    """
    return None if path.endswith(_SUFFIXES) else f"the name of a recipe's file must end in {' or '.join(_SUFFIXES)}"


class Overrides(BaseModel):
    """What a job sets otherwise than its recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict, description="By step id.")
    distinct: Distinction | None = Field(default=None, description="None: as the recipe says.")

    def __or__(self, other: "Overrides") -> "Overrides":
        """Both; where both set something, `other` counts."""
        steps = dict.fromkeys([*self.parameters, *other.parameters])
        return Overrides(
            parameters={step: {**self.parameters.get(step, {}), **other.parameters.get(step, {})} for step in steps},
            distinct=self.distinct if other.distinct is None else other.distinct,
        )


class Told(NamedTuple):
    """What a recipe as read says that a job had set in it: None where nobody knew that."""

    overrides: Overrides | None


def take_overrides(document: Document) -> tuple[Told | None, list[Problem]]:
    """Takes `overrides` out of a recipe as read, which is whole without it; None: it says nothing of that.

    Recipes say it that were kept when a job got another one.
    """
    if "overrides" not in document.data:
        return None, []
    written = document.data.pop("overrides")
    if written is None:
        return Told(None), []
    if not isinstance(written, dict):
        return None, [Problem("overrides", "must be `parameters` and `distinct` that a job has set in this recipe")]
    overrides, problems = check(Overrides, written, "overrides")
    return Told(overrides), problems


# What a step is and when it runs: another one would be another recipe.
_FIXED = frozenset(RecipeStep.model_fields) | {field.alias for field in RecipeStep.model_fields.values()}


def override_distinct(recipe: dict[str, Any], job: Mapping[str, Any]) -> dict[str, str]:
    """Sets the job's `distinct` in the recipe as read from its file. Returns what was set, as override_parameters."""
    if job.get("distinct") is None:
        return {}
    recipe["distinct"] = job["distinct"]
    return {"distinct": "distinct"}


def override_parameters(
    recipe: dict[str, Any], parameters: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, str], list[Problem]]:
    """Sets the parameters in the recipe as read from its file.

    Returns the path of each that was set, in the recipe -> in the job, and what the job has wrong. Values are not
    checked: that is for the steps.
    """
    listed = recipe.get("steps")
    steps = {
        entry["id"]: (position, entry)
        for position, entry in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }
    places: dict[str, str] = {}
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
            places[f"steps[{position}].{name}"] = f"parameters.{step_id}.{name}"
    return places, problems
