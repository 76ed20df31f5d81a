"""A recipe: the ordered steps with their parameters and conditions, and which artefacts are final."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from configs.fields import Name, Text, Vars


class RecipeStep(BaseModel):
    """One entry of `steps:`. Whatever is not `id`, `step` or `when` is a parameter of the step's own class."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Names the step in conditions and in reports.")
    step: str = Field(description="A step of the catalogue.")
    when: str | None = Field(default=None, description="Condition under which an item visits the step.")

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as written, not yet checked by the step's class."""
        return dict(self.model_extra or {})


class Recipe(BaseModel):
    """An ordered list of steps. `keep` defaults to the last step that an item visited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    description: Text = ""
    vars: Vars = Field(default_factory=dict, description="Defaults of the variables that its conditions read.")
    steps: tuple[RecipeStep, ...] = Field(min_length=1, max_length=64)
    keep: tuple[str, ...] = Field(default=(), description="Ids of the steps whose images are final.")
