"""realesrgan: upscaling networks in the files that Real-ESRGAN publishes.

Real-ESRGAN 0.3.0 needs some help to run with today's torch and torchvision:

* Its dependency basicsr imports `torchvision.transforms.functional_tensor`, gone since torchvision 0.17, for one
  function that moved to `torchvision.transforms.functional`.
* `RealESRGANer` reads `gpu_id=0` as "no GPU chosen" and takes any GPU it sees; it opens weights without limiting them
  to tensors; it pads at most one side by reflection, which fails for images smaller than the padding.
* Its tiling prints a line a tile, and when a tile fails it prints the error and writes the previous tile again.
"""

import pickle
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from configs.documents.fields import Schema
from steps.contract import MemoryFallback


class _Options(Schema):
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

        return SRVGGNetCompact(upscale=self.scale, **self.model_dump(include={"num_feat", "num_conv", "act_type"}))


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

        return RRDBNet(3, 3, **self.model_dump(include={"scale", "num_feat", "num_block", "num_grow_ch"}))


RealesrganOptions = Annotated[CompactOptions | ResidualOptions, Field(discriminator="arch")]


def load(source: str, options: Mapping[str, Any], device: str) -> Any:
    """Return a RealESRGANer over the weights of a `.pth` file.

    Raises FileNotFoundError, pydantic's ValidationError for options, ValueError for weights of another shape than in
    the options, and pickle.UnpicklingError for a file that is damaged, or holds more than tensors.
    """
    checked: CompactOptions | ResidualOptions = TypeAdapter(RealesrganOptions).validate_python(dict(options))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{source} is not a file: put the upscaler's .pth there, or correct `source`")
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
        raise ValueError(f"{source} holds another network than the options describe ({checked}): {error}") from error
    half = checked.half and device.startswith("cuda")
    return new_upscaler(network, checked.scale, device, half=half, reach=checked.reach)


_MISSING = "torchvision.transforms.functional_tensor"
_importing = threading.Lock()


def realesrgan() -> Any:
    """Import the package `realesrgan` with today's torchvision."""
    with _importing, _functional_tensor():
        import realesrgan as package
    return package


@contextmanager
def _functional_tensor() -> Iterator[None]:
    """Provide the module that basicsr needs, only while it is imported."""
    from torchvision.transforms.functional import rgb_to_grayscale

    stand_in = ModuleType(_MISSING)
    stand_in.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules.setdefault(_MISSING, stand_in)
    try:
        yield
    finally:
        if sys.modules.get(_MISSING) is stand_in:
            del sys.modules[_MISSING]


def read_weights(path: Path) -> Mapping[str, Any]:
    """Return the state dictionary in a Real-ESRGAN checkpoint, on the CPU. Never runs code from the file."""
    import torch

    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("params_ema", "params"):
        if key in checkpoint:
            weights: Mapping[str, Any] = checkpoint[key]
            return weights
    return dict(checkpoint)


def new_upscaler(network: Any, scale: int, device: str, *, half: bool, reach: int) -> Any:
    """Return a RealESRGANer over a network whose weights are loaded in float32 on the CPU, computing on `device`.

    `reach`: how far away, in pixels of the input, a pixel may still influence the result.
    """
    import torch

    class Upscaler(realesrgan().RealESRGANer):  # type: ignore[misc]
        def __init__(self) -> None:
            # Not RealESRGANer's own: it would read a file, and choose the device.
            self.scale, self.device, self.half = scale, torch.device(device), half
            self.tile_size = self.tile_pad = self.pre_pad = 0
            self.mod_scale: int | None = None
            self.reach = reach
            self.fallbacks = (
                (MemoryFallback.TILE,) if device == "cpu" else (MemoryFallback.TILE, MemoryFallback.OFFLOAD)
            )
            # The weights stay in the host's memory too, at most 70 MB: on a device that is full there would be no
            # room to begin a copy from.
            self._on_cpu = network.eval()
            self.model = (
                network
                if device == "cpu"
                else deepcopy(network).to(self.device, torch.float16 if half else torch.float32)
            )

        def on_cpu(self) -> Any:
            """Return a copy that computes on the CPU, in float32."""
            other = copy(self)
            other.device, other.half, other.model = torch.device("cpu"), False, self._on_cpu
            return other

        def tile_process(self) -> None:
            # Tiles overlap by tile_pad, and only their middles are kept: as in RealESRGANer, but a failure is raised.
            size, pad, scale = self.tile_size, self.tile_pad, self.scale
            batch, channels, height, width = self.img.shape
            self.output = self.img.new_zeros((batch, channels, height * scale, width * scale))
            for top in range(0, height, size):
                for left in range(0, width, size):
                    bottom, right = min(top + size, height), min(left + size, width)
                    y, x = max(top - pad, 0), max(left - pad, 0)
                    tile = self.model(self.img[:, :, y : bottom + pad, x : right + pad])
                    self.output[:, :, top * scale : bottom * scale, left * scale : right * scale] = tile[
                        :, :, (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale
                    ]

    return Upscaler()
