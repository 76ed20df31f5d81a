"""Real-ESRGAN's network and tiler, imported although they ask for a module that torchvision has dropped."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

UPSCALER_FILE = Path(__file__).parent / "models" / "upscaler-x4.pth"
UPSCALER_SHAPE: dict[str, Any] = {
    "num_in_ch": 3,
    "num_out_ch": 3,
    "num_feat": 32,
    "num_conv": 12,
    "upscale": 4,
    "act_type": "prelu",
}


def supply_functional_tensor() -> None:
    """Stand in for `torchvision.transforms.functional_tensor`, of which basicsr wants one function.

    Does nothing where the module exists or a stand-in is in place already.
    """
    name = "torchvision.transforms.functional_tensor"
    if name in sys.modules:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    stand_in = types.ModuleType(name)
    stand_in.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[name] = stand_in


def new_network() -> Any:
    """The starter's upscaler, untrained: an SRVGGNetCompact of 12 layers of 32 channels."""
    supply_functional_tensor()
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(**UPSCALER_SHAPE)


def load_upscaler(path: Path = UPSCALER_FILE, *, tile: int = 0) -> Any:
    """The trained upscaler in Real-ESRGAN's own tiler, on the CPU."""
    supply_functional_tensor()
    import torch
    from realesrgan import RealESRGANer

    return RealESRGANer(
        scale=4,
        model_path=str(path),
        model=new_network(),
        tile=tile,
        tile_pad=10,
        pre_pad=0,
        half=False,
        device=torch.device("cpu"),
    )
