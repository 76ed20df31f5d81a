"""convert: store the image in another format."""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Self

from PIL import Image
from pydantic import Field, model_validator
from typing_extensions import override

from steps.alpha import flatten
from steps.color import Color, rgb
from steps.contract import Encoding, ImageFormat, StepResult
from steps.transform import Transform

WITHOUT_ALPHA = ("jpeg",)
ALWAYS_LOSSY = ("jpeg", "avif")

# What decides the pixels of a lossy file besides the image. Must be what the store's encoder uses (a test compares).
SAVING: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "jpeg": lambda quality: {"quality": quality},
    "webp": lambda quality: {"quality": quality},
    "avif": lambda quality: {"quality": quality},
}


class Convert(Transform):
    """Decides how the image is stored. The result is what the stored file shows, so a later step sees what was kept,
    whether the image was computed now or read back."""

    format: ImageFormat = Field(default="webp", description="File format.")
    quality: int = Field(default=90, ge=1, le=100, description="Of a lossy file: 100 is best and largest.")
    lossless: bool = Field(default=False, description="Keep every pixel; png always does, jpeg and avif cannot.")
    background: Color = Field(default="white", description="Colour behind transparent pixels, for jpeg.")

    @model_validator(mode="after")
    def _can_be_lossless(self) -> Self:
        if self.lossless and self.format in ALWAYS_LOSSY:
            raise ValueError(f"{self.format} loses a little at any quality: choose png or webp, or leave lossless out")
        return self

    @override
    def transform(self, image: Image.Image) -> StepResult:
        lossless = self.lossless or self.format == "png"
        encoding = Encoding(self.format, self.quality, lossless)
        to_store = flatten(image, rgb(self.background)) if self.format in WITHOUT_ALPHA else image
        if lossless:
            return StepResult(to_store, encoding=encoding)
        return StepResult(_as_shown(to_store, encoding), encoding=encoding, to_store=to_store)


def _as_shown(image: Image.Image, encoding: Encoding) -> Image.Image:
    """What a viewer decodes from the stored file."""
    file = BytesIO()
    image.save(file, encoding.format, **SAVING[encoding.format](encoding.quality))
    with Image.open(file) as decoded:
        # A file whose image is opaque throughout may leave alpha out: the step's mode must not depend on the pixels.
        return decoded.convert(image.mode)
