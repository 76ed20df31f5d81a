"""What a judge can measure: of each measure the parts of a model that it needs, its facts, and how they are taken."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.catalogues.models import Role
from steps.contract import Fact

MeasureName = Literal["classifier", "clip", "aesthetic", "nsfw", "text"]
Vector = NDArray[np.float32]  # shape (width of the model,), of length 1
Facts = dict[str, Fact]

DIGITS = 6
MAX_TEXT = 500  # characters of a fact


class Match(NamedTuple):
    """What a classifier sees (`red key`), and the shares, 0 … 1, of what the prompt names; None: it names nothing."""

    seen: str
    object: float | None
    color: float | None


class RecognizedLine(NamedTuple):
    """A line of text in an image, or a part of one, and how sure its reader is, 0 … 1."""

    text: str
    share: float


class ClassifierModel(Protocol):
    """What engines of the role `classifier` return."""

    def match(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Match]:
        """One for each RGB or RGBA image, in order, each the same whatever its neighbors are."""
        ...


class ClipModel(Protocol):
    """What engines of the role `clip` return. Images are RGB."""

    def image_vectors(self, images: Sequence[Image.Image]) -> list[Vector]: ...
    def text_vectors(self, texts: Sequence[str]) -> list[Vector]: ...


class AestheticModel(Protocol):
    """What engines of the role `aesthetic` return."""

    def scores(self, vectors: Sequence[Vector]) -> list[float]:
        """A rating for each image vector of the same model's clip part."""
        ...


class NsfwModel(Protocol):
    """What engines of the role `nsfw` return."""

    def shares(self, images: Sequence[Image.Image]) -> list[float]:
        """0 … 1 for each RGB image."""
        ...


class TextModel(Protocol):
    """What engines of the role `text` return."""

    def read(self, images: Sequence[Image.Image]) -> list[list[RecognizedLine]]:
        """The lines of each RGB image, in reading order."""
        ...


@dataclass
class Batch:
    """Images (RGB or RGBA) that are judged together, and what of them several measures may need."""

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
            "where it names none that the classifier knows.",
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
