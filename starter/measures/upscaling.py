"""How much sharper than bicubic the upscaler is, through Real-ESRGAN's tiler."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from starter.dataset import HELD_OUT_SEED
from starter.realesrgan import load_upscaler
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, draw_sprite


def psnr_over_bicubic(sprites: int = 48) -> dict[str, float]:
    """Mean PSNR in dB at 256x256 from 64x64 sprites of seeds never trained on, of the network and of bicubic."""
    upscaler = load_upscaler()
    network, bicubic = [], []
    colors = tuple(COLORS)
    for i in range(sprites):
        large = draw_sprite(
            OBJECTS[i % 24],
            colors[(i + i // 24) % 8],
            BACKGROUNDS[(3 * i + i // 24) % 8],
            HELD_OUT_SEED + 40_000 + i,
            256,
        ).image
        small = large.reduce(4)
        wanted = np.asarray(large)
        # RealESRGANer speaks OpenCV's BGR.
        output = upscaler.enhance(np.ascontiguousarray(np.asarray(small)[..., ::-1]), outscale=4)[0][..., ::-1]
        network.append(_psnr(output, wanted))
        bicubic.append(_psnr(np.asarray(small.resize((256, 256), Image.Resampling.BICUBIC)), wanted))
    return {
        "upscale_gain_db": float(np.mean(network) - np.mean(bicubic)),
        "upscale_psnr_db": float(np.mean(network)),
        "bicubic_psnr_db": float(np.mean(bicubic)),
    }


def _psnr(picture: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    error = np.square(picture.astype(np.float64) - wanted.astype(np.float64)).mean()
    return float(10 * np.log10(255.0**2 / max(error, 1e-10)))
