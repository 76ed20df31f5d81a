"""Deployments: what can be started and scheduled in the Prefect UI, one YAML file each."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from configs.documents.fields import Name, Schema, Text
from configs.documents.problems import InvalidInput, Problem, check
from configs.documents.yaml_source import read_yaml
from configs.recipe.source import recipe_names
from configs.settings.settings import Settings

BUILT_IN = Path(__file__).parents[1] / "data" / "deployments"
PROMPT = "{prompt}"


def _check_identifier(text: str) -> str:
    if not (text.isascii() and text.isidentifier()):
        raise ValueError("must be letters, digits and _, and begin with a letter: it becomes the name of a parameter")
    return text


def _check_template(text: str) -> str:
    if PROMPT not in text:
        raise ValueError(f"must contain {PROMPT}, where what the user wrote goes")
    return text


Identifier = Annotated[str, AfterValidator(_check_identifier)]


class Option(Schema):
    """The effect of one option of a choice on the job."""

    prompt: Annotated[Text, AfterValidator(_check_template)] = Field(
        default=PROMPT, description=f"Template of each prompt; {PROMPT} is what the user wrote."
    )
    parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Step id -> parameters, as in a job."
    )


class Choice(Schema):
    """A drop-down list. The first option is the default."""

    title: Text
    description: Text = ""
    options: dict[str, Option] = Field(min_length=2)


class Label(Schema):
    """How a variable of the recipe appears in the form."""

    title: Text
    description: Text = ""


class Schedule(Schema):
    """When the deployment starts by itself."""

    cron: str = Field(description="Five fields: minute, hour, day of month, month, day of week.")
    timezone: str = Field(default="UTC", description="Of the IANA database, as Europe/Berlin.")
    active: bool = Field(default=True, description="Whether it is active until it is switched in the UI.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Other than the deployment's.")


class Deployment(Schema):
    """Either `flow`, a flow of Pixelmill's, or `recipe`, for which a form is made."""

    name: Name
    flow: str | None = Field(default=None, description="Dotted path of a flow: package.module.name.")
    recipe: Name | None = Field(default=None, description="A recipe whose images the form requests.")
    description: Text = ""
    pool: Literal["bursts", "gpu"] = Field(
        default="bursts", description="gpu: needs a device, and runs where the shards do."
    )
    queue: Literal["interactive", "bulk"] | None = None
    tags: tuple[Text, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict, description="What the form begins with.")
    schedules: tuple[Schedule, ...] = ()
    choices: dict[Identifier, Choice] = Field(default_factory=dict, description="Drop-down lists, by parameter.")
    variables: dict[str, Label] | None = Field(
        default=None, description="The recipe's variables that the form shows; default: all."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.flow is None) == (self.recipe is None):
            raise ValueError("give either `flow` or `recipe`")
        if self.recipe is None and (self.choices or self.variables):
            raise ValueError("`choices` and `variables` are for deployments of a recipe")
        return self

    @property
    def identifier(self) -> str:
        """The name as an identifier of Python."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name)


def deployments(settings: Settings) -> tuple[Deployment, ...]:
    """Return all deployments by name: files in `deployments_path` and `configs/data/deployments/`, and other recipes.

    Of two files with one name, the first folder's counts. Raises InvalidInput with every mistake in any of them.
    """
    files: dict[str, Path] = {}
    for folder in (*settings.deployments_path, BUILT_IN):
        for path in sorted(folder.glob("*.yaml")):
            files.setdefault(path.stem, path)
    found = list[Deployment]()
    problems = list[Problem]()
    for path in files.values():
        try:
            document = read_yaml(path)
        except InvalidInput as refusal:
            problems += refusal.problems
            continue
        deployment, mistakes = check(Deployment, document.data)
        problems += [*document.problems, *document.locate(mistakes)]
        found += [deployment] if deployment is not None else []
    if problems:
        raise InvalidInput(problems)
    known = {deployment.recipe for deployment in found} | {deployment.name for deployment in found}
    found += [
        Deployment(name=name, recipe=name, description=f"Images by the recipe {name}.")
        for name in recipe_names(settings)
        if name not in known
    ]
    return tuple(sorted(found, key=lambda deployment: deployment.name))
