"""An item: one image to make."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**63 - 1

Scalar = bool | int | float | str | None
ItemFile = Literal["image", "mask"]


class Item(BaseModel):
    """One image to make, fully expanded: the matrix, the templates and the seeds of the job are resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0, description="Place in the job, from 0.")
    name: str = Field(description="Unique in the job; names the final image.")
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int = Field(ge=0, le=MAX_SEED)
    vars: dict[str, Scalar] = Field(default_factory=dict)
    image: str | None = Field(default=None, description="Input image: an absolute path or a URI.")
    mask: str | None = Field(default=None, description="Inpainting mask: an absolute path or a URI.")
