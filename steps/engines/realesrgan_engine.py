"""realesrgan: upscaling networks in the files that Real-ESRGAN publishes."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from steps.engines.realesrgan_compat import new_upscaler, read_weights, realesrgan


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: int = Field(default=4, ge=1, le=8, description="By how much the network itself upscales.")
    half: bool = Field(default=True, description="On cuda compute in float16; elsewhere never.")
    revision: str | None = Field(default=None, description="Free text: part of the model's digest, nothing else.")


class CompactOptions(_Options):
    """SRVGGNetCompact: realesr-general-x4v3, realesr-animevideov3 and the starter's upscaler."""

    arch: Literal["SRVGGNetCompact"]
    num_feat: int = Field(default=64, ge=1, le=1024, description="Channels.")
    num_conv: int = Field(default=32, ge=0, le=256, description="Convolutions in the body.")
    act_type: Literal["relu", "prelu", "leakyrelu"] = Field(default="prelu", description="Activation.")

    @property
    def reach(self) -> int:
        """How far the network sees, pixels of its input: one for each convolution of 3 x 3."""
        return self.num_conv + 2

    def network(self) -> Any:
        realesrgan()  # makes its parts importable
        from realesrgan.archs.srvgg_arch import SRVGGNetCompact

        return SRVGGNetCompact(
            num_feat=self.num_feat, num_conv=self.num_conv, upscale=self.scale, act_type=self.act_type
        )


class ResidualOptions(_Options):
    """RRDBNet: RealESRGAN_x4plus, RealESRGAN_x2plus and ESRGAN."""

    arch: Literal["RRDBNet"]
    num_feat: int = Field(default=64, ge=1, le=1024, description="Channels.")
    num_block: int = Field(default=23, ge=1, le=256, description="Residual blocks; 6 in the anime models.")
    num_grow_ch: int = Field(default=32, ge=1, le=1024, description="Channels that each layer of a block adds.")

    @property
    def reach(self) -> int:
        """How far the network sees, pixels of its input: 15 convolutions a block, and 4 around them.

        The last three see enlarged pixels, so that they count for less; networks for less than 4 x fold their input.
        """
        return (15 * self.num_block + 4) * max(1, 4 // self.scale)

    def network(self) -> Any:
        realesrgan()  # makes basicsr importable
        from basicsr.archs.rrdbnet_arch import RRDBNet

        return RRDBNet(
            num_in_ch=3,
            num_out_ch=3,
            scale=self.scale,
            num_feat=self.num_feat,
            num_block=self.num_block,
            num_grow_ch=self.num_grow_ch,
        )


RealesrganOptions = Annotated[CompactOptions | ResidualOptions, Field(discriminator="arch")]


def load(source: str, options: Mapping[str, Any], device: str) -> Any:
    """A RealESRGANer over the weights of a `.pth` file.

    Raises FileNotFoundError, pydantic's ValidationError for options, ValueError for weights of another shape than the
    options say, and pickle.UnpicklingError for a file that is damaged, or holds more than tensors.
    """
    checked: CompactOptions | ResidualOptions = TypeAdapter(RealesrganOptions).validate_python(dict(options))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{source} is no file: put the upscaler's .pth there, or correct `source`")
    network = checked.network()
    try:
        weights = read_weights(path)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        # torch's own words advise to load it without any protection.
        raise pickle.UnpicklingError(
            f"{source} cannot be read as weights: it is incomplete, of another kind, or holds more than tensors"
        ) from error
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{source} holds another network than the options say ({checked}): {error}") from error
    half = checked.half and device.startswith("cuda")
    return new_upscaler(network, checked.scale, device, half=half, reach=checked.reach)
