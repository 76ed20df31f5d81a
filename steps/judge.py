"""judge: measures what only a model can, and hands its image on."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from PIL import Image
from pydantic import AfterValidator, Field, model_validator
from typing_extensions import override

from configs.catalogues.models import ModelRef
from configs.documents.fields import Item
from steps.contract import Fact, Frame, Step, StepContext, StepResult
from steps.judging import DIGITS, MEASURES, Batch, JudgeMeasure, MeasureName
from steps.pixels.alpha import flatten
from steps.pixels.color import Color, rgb
from steps.pixels.palette import palette_distance
from steps.template import MAX_PROMPT, Template, fill, filled_length, unknown_placeholders

PALETTE_FACTS: Mapping[str, str] = {
    "palette_distance": "Mean CIEDE2000 distance of the visible pixels to the nearest color of `palette`, weighed by "
    "alpha, 0 (all pixels have a color of it) … about 100; left out for an empty image."
}


def _each_once(names: tuple[MeasureName, ...]) -> tuple[MeasureName, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names one measure twice: name each once")
    return names


class Judge(Step):
    """Measures what only a model can tell, and how close the colors are to a palette. The image stays as it is."""

    keeps_image: ClassVar[bool] = True
    own_facts: ClassVar[Mapping[str, str]] = {
        name: text for facts in (*(m.facts for m in MEASURES.values()), PALETTE_FACTS) for name, text in facts.items()
    }

    model: str | None = Field(
        default=None, min_length=1, description="A model of the catalogue with the parts that `measure` needs."
    )
    measure: Annotated[tuple[MeasureName, ...], AfterValidator(_each_once)] = Field(
        default=(),
        max_length=len(MEASURES),
        description="What the model measures, by the names of its parts; aesthetic needs its clip part too.",
    )
    palette: tuple[Color, ...] = Field(
        default=(), max_length=64, description="Colors to measure the distance to; needs no model."
    )
    prompt: Template = Field(
        default="{prompt}",
        max_length=MAX_PROMPT,
        description="classifier, clip: what the image is to show. Template: {prompt}, {name} and the item's variables.",
    )
    background: Color = Field(
        default="white",
        description="Color behind transparent pixels, as models see them; classifier always sees them over white.",
    )
    text_confidence: float = Field(
        default=0.5, ge=0, le=1, description="text: lines of which the model is less sure are left out."
    )

    @model_validator(mode="after")
    def _has_something_to_measure(self) -> Self:
        if self.measure and self.model is None:
            raise ValueError(f"needs a model to measure {', '.join(self.measure)}: name one")
        if self.model is not None and not self.measure:
            raise ValueError(f"say what to measure with {self.model}: some of {', '.join(MEASURES)}")
        if not self.measure and not self.palette:
            raise ValueError("give it something to measure: a model with `measure`, a `palette`, or both")
        return self

    @override
    def measured_facts(self) -> Mapping[str, str]:
        kinds = [*(measure.facts for measure in self._measures()), *([PALETTE_FACTS] if self.palette else [])]
        return {name: text for facts in kinds for name, text in facts.items()}

    @override
    def model_refs(self) -> tuple[ModelRef, ...]:
        if self.model is None:
            return ()
        roles = dict.fromkeys(role for measure in self._measures() for role in measure.roles)
        return tuple(ModelRef(self.model, role) for role in roles)

    @override
    def item_problems(self, item: Item) -> list[str]:
        if not self._reads_prompt():
            return []
        unknown = unknown_placeholders(self.prompt, item)
        if unknown:
            return [f"has no variable {name!r}, which the step's prompt asks for: add it to vars" for name in unknown]
        length = filled_length(self.prompt, item)
        if length > MAX_PROMPT:
            return [f"has a prompt of {length:,} characters: shorten it to {MAX_PROMPT:,}"]
        if "clip" in self.measure and not self._prompt(item).strip():
            return ["has no prompt to compare the image with: give it one, or leave `clip` out of the step's `measure`"]
        return []

    @override
    def identity(self, item: Item) -> dict[str, Any]:
        """Whatever changes no fact is left out: the order of a list, other names of a color, a prompt nobody reads."""
        parameters = super().identity(item)
        parameters["measure"] = sorted(self.measure)
        parameters["palette"] = [list(color) for color in sorted({rgb(color) for color in self.palette})]
        if self._reads_prompt():
            return parameters | {"prompt": self._prompt(item)}
        del parameters["prompt"]
        return parameters

    @override
    def batch_key(self, frame: Frame) -> Hashable:
        return frame.image.size if frame.image else None

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        images = [_image_of(frame) for frame in frames]
        refs = {ref.role: ref for ref in self.model_refs()}
        batch = Batch(
            images,
            [flatten(image, rgb(self.background)) for image in images],
            [self._prompt(frame.item) if self._reads_prompt() else "" for frame in frames],
            self.text_confidence,
            lambda role: context.model(refs[role]),
        )
        facts: list[dict[str, Fact]] = [self._palette_facts(image) for image in images]
        for measure in self._measures():
            facts = [known | new for known, new in zip(facts, measure.take(batch), strict=True)]
        return [
            StepResult(image, _finite(frame, known)) for frame, image, known in zip(frames, images, facts, strict=True)
        ]

    def _measures(self) -> list[JudgeMeasure]:
        return [MEASURES[name] for name in self.measure]

    def _reads_prompt(self) -> bool:
        return any(measure.reads_prompt for measure in self._measures())

    def _prompt(self, item: Item) -> str:
        return fill(self.prompt, item)

    def _palette_facts(self, image: Image.Image) -> dict[str, Fact]:
        distance = palette_distance(image, [rgb(color) for color in self.palette]) if self.palette else None
        return {} if distance is None else {"palette_distance": round(distance, DIGITS)}


def _image_of(frame: Frame) -> Image.Image:
    if frame.image is None:
        raise ValueError(f"{frame.item.name}: has no image yet: put a step that makes one first")
    return frame.image


def _finite(frame: Frame, facts: Mapping[str, Fact]) -> Mapping[str, Fact]:
    """A number that is none would pass or fail a gate by accident."""
    wrong = [name for name, fact in facts.items() if isinstance(fact, float) and not math.isfinite(fact)]
    if wrong:
        raise ValueError(f"{frame.item.name}: the model gave no number for {', '.join(wrong)}: check its weights")
    return facts
