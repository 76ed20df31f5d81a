"""sprite_classifier: the starter's classifier, asked whether a picture shows the object and the color of a prompt."""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from configs.documents.fields import Schema
from steps.judge import Match
from steps.pixels.images import OPAQUE, SUBJECT, alpha_of
from steps.side_by_side import on_device

# A subject in the sprites that the classifier learned from takes about four fifths of the picture's side. Cut-outs are
# framed like that, over white: measured on sprites cut out and trimmed, without a frame 94 % are named rightly, and of
# those with a border as wide as the subject a third, framed all.
FRAME = 1.2  # side of the frame, over the subject's longer side
BACKDROP = (OPAQUE, OPAQUE, OPAQUE)


class SpriteOptions(Schema):
    """Options of a model part whose engine is `sprite_classifier`."""

    revision: str | None = Field(default=None, description="Free text: part of the model's digest, nothing else.")


def load(source: str, options: Mapping[str, Any], device: str) -> "SpriteJudge":
    """Return the starter's classifier over the weights of a safetensors file.

    Raises FileNotFoundError, ValueError for the weights of another network, and pydantic's ValidationError for options.
    """
    SpriteOptions.model_validate(dict(options))
    from starter.classifier import load_classifier

    if not Path(source).is_file():
        raise FileNotFoundError(f"{source} is not a file: put the classifier's weights there, or correct `source`")
    try:
        classifier = load_classifier(Path(source))
    except RuntimeError as error:
        raise ValueError(f"{source} holds another network than the starter's classifier: {error}") from error
    return SpriteJudge(classifier.to(device), device)


class SpriteJudge:
    """The loaded classifier. On a CPU each picture is computed alone: the same one gives the same shares."""

    def __init__(self, classifier: Any, device: str) -> None:
        self._classifier, self._device = classifier, device

    def match(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Match]:
        """Compare each RGB or RGBA image with its prompt. An image without a subject shows nothing."""
        return on_device(self._match, list(zip(images, prompts, strict=True)), self._device)

    def _match(self, pairs: Sequence[tuple[Image.Image, str]]) -> list[Match]:
        framed = [_framed(image) for image, _ in pairs]
        matches = [Match("nothing", *(0.0 if name else None for name in named_in(prompt))) for _, prompt in pairs]
        shown = [index for index, picture in enumerate(framed) if picture is not None]
        if not shown:
            return matches
        from starter.classifier import COLOR_NAMES, shares
        from starter.sprites import OBJECTS

        objects, colors = shares(self._classifier, [picture for picture in framed if picture is not None])
        for index, of_objects, of_colors in zip(shown, objects.tolist(), colors.tolist(), strict=True):
            thing, color = named_in(pairs[index][1])
            seen = f"{COLOR_NAMES[np.argmax(of_colors)]} {OBJECTS[np.argmax(of_objects)]}"
            matches[index] = Match(
                seen,
                None if thing is None else of_objects[OBJECTS.index(thing)],
                None if color is None else of_colors[COLOR_NAMES.index(color)],
            )
        return matches


def named_in(prompt: str) -> tuple[str | None, str | None]:
    """Return the object and the color that a prompt names, of the classifier's words.

    The object is the first one, or the last of several in a row, which the others describe (`apple tree`). The color
    is the last one before the object, else the first one after it. Plurals count; words with hyphens are others.
    """
    from starter.sprites import COLORS, OBJECTS

    words = re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", prompt.casefold())
    things = [_singular(word, OBJECTS) for word in words]
    first = next((index for index, thing in enumerate(things) if thing), None)
    if first is None:
        return None, next((word for word in words if word in COLORS), None)
    thing = list(takewhile(bool, things[first:]))[-1]
    before = [word for word in words[:first] if word in COLORS]
    after = [word for word in words[first:] if word in COLORS]
    return thing, next(iter([*before[::-1], *after]), None)


def _singular(word: str, known: Sequence[str]) -> str | None:
    return next((name for name in (word, word.removesuffix("s"), word.removesuffix("es")) if name in known), None)


def _framed(image: Image.Image) -> Image.Image | None:
    """RGB: an opaque image as it is, a cut-out's subject over white in the middle of a square; None without one."""
    alpha = alpha_of(image)
    if (alpha == OPAQUE).all():
        return image.convert("RGB")
    rows, columns = (np.flatnonzero((alpha >= SUBJECT).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    subject = image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    side = round(max(subject.size) * FRAME)
    frame = Image.new("RGB", (side, side), BACKDROP)
    corner = ((side - subject.width) // 2, (side - subject.height) // 2)
    frame.paste(subject.convert("RGB"), corner, subject.getchannel("A"))
    return frame
