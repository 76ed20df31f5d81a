"""A step as a user would write it, outside Pixelmill's own packages."""

from pydantic import Field

from steps.contract import Step


class Invert(Step):
    makes_image = True

    amount: int = Field(default=1, ge=1, le=10)
