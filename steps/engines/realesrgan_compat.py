"""What it takes to run Real-ESRGAN 0.3.0 with today's torch and torchvision, and only that.

* Its dependency basicsr imports `torchvision.transforms.functional_tensor`, gone since torchvision 0.17, for one
  function that moved to `torchvision.transforms.functional`.
* `RealESRGANer` reads `gpu_id=0` as "no GPU chosen" and takes any GPU it sees; it opens weights without asking for
  tensors only; it pads at most one side by reflection, which fails for images smaller than the padding.
* Its tiling prints a line a tile, and when a tile fails it prints the error and writes the tile before it again.
"""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

from steps.contract import MemoryFallback

_MISSING = "torchvision.transforms.functional_tensor"
_importing = threading.Lock()


def realesrgan() -> Any:
    """The package `realesrgan`, importable again."""
    with _importing, _functional_tensor():
        import realesrgan as package
    return package


@contextmanager
def _functional_tensor() -> Iterator[None]:
    """Stands in for the module that basicsr asks for, only while it is imported."""
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
    """The state dictionary in a Real-ESRGAN checkpoint, on the CPU. Never runs code from the file."""
    import torch

    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("params_ema", "params"):
        if key in checkpoint:
            weights: Mapping[str, Any] = checkpoint[key]
            return weights
    return dict(checkpoint)


def new_upscaler(network: Any, scale: int, device: str, *, half: bool, reach: int) -> Any:
    """A RealESRGANer over a network whose weights are loaded in float32 on the CPU, computing on `device`.

    `reach`: how far away, in pixels of the input, a pixel may still have a say in the result.
    """
    import torch

    class Upscaler(realesrgan().RealESRGANer):  # type: ignore[misc]
        def __init__(self) -> None:
            # Not RealESRGANer's own: it would read a file, and choose the device.
            self.scale, self.device, self.half = scale, torch.device(device), half
            self.tile_size = self.tile_pad = self.pre_pad = 0
            self.mod_scale: int | None = None
            self.reach = reach
            self.reliefs = (MemoryFallback.TILE,) if device == "cpu" else (MemoryFallback.TILE, MemoryFallback.OFFLOAD)
            # The weights stay in the host's memory too, at most 70 MB: on a device that is full there would be no
            # room to begin a copy from.
            self._on_cpu = network.eval()
            self.model = (
                network
                if device == "cpu"
                else deepcopy(network).to(self.device, torch.float16 if half else torch.float32)
            )

        def on_cpu(self) -> Any:
            """The same, but computing on the CPU, in float32."""
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
