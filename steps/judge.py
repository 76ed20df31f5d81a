"""judge: measures that need a model, and the distance to a palette; passes its image on."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import AfterValidator, Field, model_validator
from typing_extensions import override

from configs.catalogues.models import ModelRef, Role
from configs.documents.fields import Item
from steps.contract import Fact, Frame, Step, StepContext, StepResult
from steps.pixels.images import Color, flatten, palette_distance, rgb
from steps.template import MAX_PROMPT, Template, fill, filled_length, too_long, unknown_variables

MeasureName = Literal["classifier", "clip", "aesthetic", "nsfw", "text"]
Vector = NDArray[np.float32]  # shape (width of the model,), of length 1
Facts = dict[str, Fact]

DIGITS = 6
MAX_TEXT = 500  # characters of a fact


class Match(NamedTuple):
    """The object that a classifier sees (`red key`), and the shares, 0 … 1, of the prompt's, or None if it has none."""

    seen: str
    object: float | None
    color: float | None


class RecognizedLine(NamedTuple):
    """A line of text in an image, or a part of one, and how sure its reader is, 0 … 1."""

    text: str
    share: float


class ClassifierModel(Protocol):
    """The result of engines of the role `classifier`."""

    def match(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Match]:
        """Return one for each RGB or RGBA image, in order, each the same whatever its neighbors are."""
        ...


class ClipModel(Protocol):
    """The result of engines of the role `clip`. Images are RGB."""

    def image_vectors(self, images: Sequence[Image.Image]) -> list[Vector]: ...
    def text_vectors(self, texts: Sequence[str]) -> list[Vector]: ...


class AestheticModel(Protocol):
    """The result of engines of the role `aesthetic`."""

    def scores(self, vectors: Sequence[Vector]) -> list[float]:
        """Return a rating for each image vector of the same model's clip part."""
        ...


class NsfwModel(Protocol):
    """The result of engines of the role `nsfw`."""

    def shares(self, images: Sequence[Image.Image]) -> list[float]:
        """Return 0 … 1 for each RGB image."""
        ...


class TextModel(Protocol):
    """The result of engines of the role `text`."""

    def read(self, images: Sequence[Image.Image]) -> list[list[RecognizedLine]]:
        """Return the lines of each RGB image, in reading order."""
        ...


@dataclass
class Batch:
    """Images (RGB or RGBA) that are judged together, and what several measures may need of them."""

    images: Sequence[Image.Image]
    opaque: Sequence[Image.Image]  # RGB: laid over the step's background
    prompts: Sequence[str]
    least_share: float  # of a line of text that counts
    model: Callable[[Role], Any]

    @cached_property
    def vectors(self) -> list[Vector]:
        clip: ClipModel = self.model("clip")
        return clip.image_vectors(self.opaque)


def _classified(batch: Batch) -> list[Facts]:
    classifier: ClassifierModel = batch.model("classifier")
    return [_match_facts(match) for match in classifier.match(batch.images, batch.prompts)]


def _match_facts(match: Match) -> Facts:
    shares = {"object_match": match.object, "color_match": match.color}
    named = {name: share for name, share in shares.items() if share is not None}
    facts: Facts = {name: round(share, DIGITS) for name, share in named.items()}
    if named:
        facts["prompt_match"] = round(float(np.prod(list(named.values()))), DIGITS)
    return facts | {"seen": match.seen}


def _aligned(batch: Batch) -> list[Facts]:
    clip: ClipModel = batch.model("clip")
    texts = clip.text_vectors(batch.prompts)
    cosines = [float(np.dot(image, text)) for image, text in zip(batch.vectors, texts, strict=True)]
    return [{"clip_score": round(max(-1.0, min(1.0, cosine)), DIGITS)} for cosine in cosines]


def _rated(batch: Batch) -> list[Facts]:
    head: AestheticModel = batch.model("aesthetic")
    return [{"aesthetic": round(score, DIGITS)} for score in head.scores(batch.vectors)]


def _screened(batch: Batch) -> list[Facts]:
    model: NsfwModel = batch.model("nsfw")
    return [{"nsfw": round(share, DIGITS)} for share in model.shares(batch.opaque)]


def _read(batch: Batch) -> list[Facts]:
    reader: TextModel = batch.model("text")
    texts = [
        " ".join(line.text for line in lines if line.share >= batch.least_share) for lines in reader.read(batch.opaque)
    ]
    return [{"text": text[:MAX_TEXT], "text_length": len("".join(text.split()))} for text in texts]


@dataclass(frozen=True, slots=True)
class JudgeMeasure:
    """One entry of a judge's `measure`. `take` gives the facts of each image of a batch, in order."""

    roles: tuple[Role, ...]
    facts: Mapping[str, str]
    take: Callable[[Batch], list[Facts]]
    reads_prompt: bool = False


MEASURES: Mapping[MeasureName, JudgeMeasure] = {
    "classifier": JudgeMeasure(
        ("classifier",),
        {
            "object_match": "Share that the classifier gives to the object that the prompt names, 0 … 1; left out "
            "where it names none of the classifier's words.",
            "color_match": "Share that it gives to the color that the prompt names, 0 … 1; left out like object_match.",
            "prompt_match": "object_match times color_match, or the one that there is; left out with both.",
            "seen": "What the classifier sees, such as `red key`; `nothing` for an image without a subject.",
        },
        _classified,
        reads_prompt=True,
    ),
    "clip": JudgeMeasure(
        ("clip",),
        {
            "clip_score": "Cosine of the angle between image and prompt, -1 … 1; what is a good one depends on the "
            "model, most pairs lie between 0.1 and 0.4."
        },
        _aligned,
        reads_prompt=True,
    ),
    "aesthetic": JudgeMeasure(
        ("clip", "aesthetic"),
        {"aesthetic": "Predicted rating by people, of LAION's predictors about 1 (poor) … 10 (splendid)."},
        _rated,
    ),
    "nsfw": JudgeMeasure(
        ("nsfw",),
        {"nsfw": "Share that the model gives to not being safe for work, 0 … 1 (surely not safe)."},
        _screened,
    ),
    "text": JudgeMeasure(
        ("text",),
        {
            "text": f"The lines of text in the image, joined by spaces; the first {MAX_TEXT} characters.",
            "text_length": "Characters of all of it, without spaces; 0: no text.",
        },
        _read,
    ),
}


PALETTE_FACTS: Mapping[str, str] = {
    "palette_distance": "Mean CIEDE2000 distance of the visible pixels to the nearest color of `palette`, weighed by "
    "alpha, 0 (all pixels have a color of it) … about 100; left out for an empty image."
}


def _each_once(names: tuple[MeasureName, ...]) -> tuple[MeasureName, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names one measure twice: name each once")
    return names


class Judge(Step):
    """Measures what needs a model, and how close the colors are to a palette. The image stays as it is."""

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
        default=0.5, ge=0, le=1, description="text: lines with less confidence of the model are left out."
    )

    @model_validator(mode="after")
    def _has_something_to_measure(self) -> Self:
        if self.measure and self.model is None:
            raise ValueError(f"needs a model to measure {', '.join(self.measure)}: name one")
        if self.model is not None and not self.measure:
            raise ValueError(f"`measure` is empty for {self.model}: list some of {', '.join(MEASURES)}")
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
        problems = unknown_variables("prompt", self.prompt, item)
        problems = problems or too_long("prompt", filled_length(self.prompt, item))
        if not problems and "clip" in self.measure and not self._prompt(item).strip():
            return ["has no prompt to compare the image with: give it one, or leave `clip` out of the step's `measure`"]
        return problems

    @override
    def identity(self, item: Item) -> dict[str, Any]:
        """Leave out what changes no fact: the order of a list, other names of a color, an unused prompt."""
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
        images = [frame.input_image for frame in frames]
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


def _finite(frame: Frame, facts: Mapping[str, Fact]) -> Mapping[str, Fact]:
    """Return the facts. Raises ValueError for NaN and infinity, which would pass or fail a gate by accident."""
    wrong = [name for name, fact in facts.items() if isinstance(fact, float) and not math.isfinite(fact)]
    if wrong:
        raise ValueError(f"{frame.item.name}: the model gave no number for {', '.join(wrong)}: check its weights")
    return facts
