"""convert: store the image in another format."""

from typing import ClassVar, Self

from PIL import Image
from pydantic import Field, model_validator
from typing_extensions import override

from steps.contract import Encoding, ImageFormat, StepResult, Transform
from steps.pixels.images import Color, alpha_of, bleed, flatten, rgb, with_alpha

WITHOUT_ALPHA = ("jpeg",)
ALWAYS_LOSSY = ("jpeg", "avif")  # AVIF codes in another color space: even its best quality is off by a level or two


class Convert(Transform):
    """Decides how the image is stored. The pixels stay as they are, but for a background where the format needs one.

    In a lossy file with alpha, pixels that are wholly transparent take the color of the nearest visible one: codecs
    mix neighbors, and what is hidden would show in soft edges. Alpha itself is kept exactly.

    What a lossy file loses, later steps do not see either: the worker reads such an image back from its file before it
    passes it on, so that a step sees the same whether the image was computed now or in an earlier run.
    """

    version: ClassVar[int] = 2

    format: ImageFormat = Field(default="webp", description="File format.")
    quality: int = Field(default=90, ge=1, le=100, description="Of a lossy file: 100 is best and largest.")
    lossless: bool = Field(default=False, description="Keep every pixel; png always does, jpeg and avif cannot.")
    background: Color = Field(default="white", description="Color behind transparent pixels, for jpeg.")

    @model_validator(mode="after")
    def _can_be_lossless(self) -> Self:
        if self.lossless and self.format in ALWAYS_LOSSY:
            raise ValueError(f"{self.format} loses a little at any quality: choose png or webp, or leave lossless out")
        return self

    @override
    def transform(self, image: Image.Image) -> StepResult:
        shown = flatten(image, rgb(self.background)) if self.format in WITHOUT_ALPHA else image
        lossless = self.lossless or self.format == "png"
        if not lossless and shown.mode == "RGBA":
            shown = with_alpha(bleed(shown, 1), alpha_of(shown))
        return StepResult(shown, encoding=Encoding(self.format, self.quality, lossless))
