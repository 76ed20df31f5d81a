"""The starter's upscaler: its network, and Real-ESRGAN's own tiler over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.engines.realesrgan_engine import realesrgan

UPSCALER_FILE = Path(__file__).parent / "models" / "upscaler-x4.pth"
UPSCALER_SHAPE: dict[str, Any] = {
    "num_in_ch": 3,
    "num_out_ch": 3,
    "num_feat": 32,
    "num_conv": 12,
    "upscale": 4,
    "act_type": "prelu",
}


def new_network() -> Any:
    """Return the starter's upscaler, untrained: an SRVGGNetCompact of 12 layers of 32 channels."""
    realesrgan()  # makes its modules importable
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(**UPSCALER_SHAPE)


def load_upscaler(path: Path = UPSCALER_FILE, *, tile: int = 0) -> Any:
    """Return the trained upscaler in Real-ESRGAN's own tiler, on the CPU."""
    import torch

    return realesrgan().RealESRGANer(
        scale=4,
        model_path=str(path),
        model=new_network(),
        tile=tile,
        tile_pad=10,
        pre_pad=0,
        half=False,
        device=torch.device("cpu"),
    )
