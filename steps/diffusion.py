"""The common part of `generate` and `inpaint`: the fields of a diffusion step, and the loaded model's protocol."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

from PIL import Image
from pydantic import Field, model_validator
from typing_extensions import override

from configs.catalogues.models import ModelRef
from configs.documents.fields import DERIVED_SEEDS, MAX_SEED, Item
from configs.documents.notes import Notes
from steps.contract import Frame, MemoryFallback, Step, StepContext
from steps.template import MAX_PROMPT, Template, fill, filled_length, placeholders, too_long, unknown_variables

Task = Literal["text_to_image", "image_to_image", "inpaint"]
SchedulerName = Literal["ddim", "dpmpp_2m", "euler", "euler_ancestral", "heun", "lcm", "unipc"]

# Name -> class in diffusers. Only schedulers whose noise comes from the item's generator: the others (SDE) draw from
# the whole batch, so that an image would depend on its neighbors.
SCHEDULERS: Mapping[SchedulerName, str] = {
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "unipc": "UniPCMultistepScheduler",
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of a micro-batch. `width` and `height` in pixels, multiples of the model's `size_multiple`."""

    steps: int
    guidance: float
    width: int
    height: int
    strength: float = 1.0
    scheduler: SchedulerName | None = None


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to compute. `image` (RGB) and `mask` (L, 255: paint) have the sampling's size."""

    prompt: str
    negative_prompt: str
    seed: int
    image: Image.Image | None = None
    mask: Image.Image | None = None


class DiffusionModel(Protocol):
    """The result of the diffusers engine. One set of weights for all tasks."""

    @property
    def size_multiple(self) -> int:
        """Width and height must be multiples of this, pixels."""
        ...

    @property
    def latent_block(self) -> int:
        """Side of the square of pixels that one latent stands for."""
        ...

    @property
    def default_size(self) -> tuple[int, int]:
        """Width and height that the model was trained for, pixels."""
        ...

    @property
    def fallbacks(self) -> Collection[MemoryFallback]:
        """The measures of `paint` against a lack of memory."""
        ...

    def paint(
        self,
        task: Task,
        requests: Sequence[ImageRequest],
        sampling: Sampling,
        fallback: MemoryFallback = MemoryFallback.NONE,
    ) -> list[Image.Image]:
        """One RGB image per request, in order, each the same whatever its neighbors are."""
        ...

    def is_truncated(self, prompt: str) -> bool:
        """Whether the text encoder sees only the prompt's beginning."""
        ...


# Parameters that change the image, but not the memory it takes.
_FREE = {"prompt", "negative_prompt", "steps", "scheduler", "seed_offset", "strength"}


class DiffusionStep(Step):
    """Base of the steps that paint by a prompt."""

    model: str = Field(min_length=1, description="A model of the catalogue with a diffusion part.")
    prompt: Template = Field(
        default="{prompt}", max_length=MAX_PROMPT, description="Template: {prompt}, {name} and the item's variables."
    )
    negative_prompt: Template = Field(
        default="",
        max_length=MAX_PROMPT,
        description="Template of what to keep out; an item's own negative prompt wins.",
    )
    steps: int = Field(default=20, ge=1, le=200, description="Denoising steps.")
    guidance: float = Field(
        default=7.5, ge=0, le=50, description="How closely to follow the prompt; up to 1: no guidance (turbo models)."
    )
    scheduler: SchedulerName | None = Field(default=None, description="Sampler; default: the model's own.")
    seed_offset: int = Field(
        default=0, ge=0, le=2**31, description="Added to the item's seed, so that two steps draw different noise."
    )

    @model_validator(mode="after")
    def _paints_at_all(self) -> Self:
        strength = self.painted_share
        if int(self.steps * strength) < 1:  # diffusers rounds down
            raise ValueError(
                f"{self.steps} steps at strength {strength} come to no step at all: "
                f"raise strength to at least {1 / self.steps:.3g}, or steps"
            )
        return self

    @property
    def painted_share(self) -> float:
        """The share of the denoising steps that are gone through, 0 … 1: less than 1 for a start from an image."""
        return 1.0

    @override
    def model_refs(self) -> tuple[ModelRef, ...]:
        return (ModelRef(self.model, "diffusion"),)

    @override
    def fallbacks(self, context: StepContext) -> Collection[MemoryFallback]:
        model: DiffusionModel = context.model(self.model_refs()[0])
        return model.fallbacks

    @override
    def memory_key(self, frame: Frame) -> Any:
        parameters, *sizes = super().memory_key(frame)
        return [{name: value for name, value in parameters.items() if name not in _FREE}, *sizes]

    @override
    def item_problems(self, item: Item) -> list[str]:
        problems = []
        if "prompt" in placeholders(self.prompt) and not (item.prompt or "").strip():
            problems.append("has no prompt: give it one, or a prompt template without {prompt} to the step")
        own = item.negative_prompt
        problems += unknown_variables("prompt", self.prompt, item)
        problems += unknown_variables("negative_prompt", self.negative_prompt, item) if own is None else []
        if not problems:
            problems += too_long("prompt", filled_length(self.prompt, item))
            negative_length = filled_length(self.negative_prompt, item) if own is None else len(own)
            problems += too_long("negative prompt", negative_length)
        return problems

    @override
    def identity(self, item: Item) -> dict[str, Any]:
        parameters = super().identity(item)
        del parameters["seed_offset"]
        return parameters | {
            "prompt": self._prompt(item),
            "negative_prompt": self._negative_prompt(item),
            "seed": self._seed(item),
        }

    @override
    @classmethod
    def split_identity(cls, identity: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        fields = ("prompt", "negative_prompt", "seed")
        parameters = {name: value for name, value in identity.items() if name not in fields}
        # The texts are filled in already: whatever braces they hold are braces.
        parameters |= {"prompt": "{prompt}", "seed_offset": 0}
        return parameters, {name: identity[name] for name in fields if name in identity}

    def request(self, item: Item, image: Image.Image | None = None, mask: Image.Image | None = None) -> ImageRequest:
        """Return what to compute for the item."""
        return ImageRequest(self._prompt(item), self._negative_prompt(item), self._seed(item), image, mask)

    def sampling(self, width: int, height: int) -> Sampling:
        """Return the settings for images of this size, pixels."""
        return Sampling(self.steps, self.guidance, width, height, self.painted_share, self.scheduler)

    def with_notes(self, image: Image.Image, painted: Image.Image, start: Notes = Notes()) -> Image.Image:
        """Note on the image what decided its painting, beside the notes of what it started from. Returns it."""
        drawn = {**Notes.of(painted).drawn, "Size": f"{image.width}x{image.height}"}
        replace(start, drawn=drawn, more_frames=False, damaged=False).put_on(image)
        return image

    def _prompt(self, item: Item) -> str:
        return fill(self.prompt, item)

    def _negative_prompt(self, item: Item) -> str:
        return fill(self.negative_prompt, item) if item.negative_prompt is None else item.negative_prompt

    def _seed(self, item: Item) -> int:
        is_short = item.seed < DERIVED_SEEDS and not item.wide_seeds
        return (item.seed + self.seed_offset) % (DERIVED_SEEDS if is_short else MAX_SEED + 1)
