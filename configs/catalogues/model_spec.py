"""What a model of the catalogue (`configs/data/models/*.yaml`) is made of."""

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

# What a part of a model does. diffusion paints, cutout finds the subject, upscaler enlarges; the others judge:
# classifier names what it sees, clip compares an image with words, aesthetic rates what clip saw, nsfw tells what is
# not safe for work, text reads.
Role = Literal["diffusion", "cutout", "upscaler", "classifier", "clip", "aesthetic", "nsfw", "text"]


class ModelRef(NamedTuple):
    """The part of a model that a step needs; the key of the model pool."""

    name: str
    role: Role

    def __str__(self) -> str:
        return f"{self.name}/{self.role}"


class ModelPart(BaseModel):
    """Weights for one role and the engine that loads them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = Field(description="An engine of the catalogue.")
    source: str = Field(description="File, folder, or the name that the engine's library knows the weights by.")
    revision: str | None = Field(default=None, description="Pins a source that is not on disk.")
    options: dict[str, Any] = Field(default_factory=dict, description="Checked by the engine.")
    memory_mb: int = Field(default=0, ge=0, description="Estimated device memory once loaded, MB; 0: measure.")


class ModelSpec(BaseModel):
    """A named model: one file of `configs/data/models/`. A name may serve several roles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    license: str = ""
    parts: dict[Role, ModelPart] = Field(min_length=1)
