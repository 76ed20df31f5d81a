"""A job's own parameters for the steps of its recipe."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from configs.documents.problems import Problem, did_you_mean
from configs.documents.validation import check
from configs.documents.yaml_source import Document
from configs.recipe.recipe import Distinction, RecipeStep


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
