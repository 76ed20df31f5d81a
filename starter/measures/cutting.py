"""How well backgrounds are removed, through rembg: on held-out sprites and on generated pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from starter.dataset import HELD_OUT_SEED
from starter.measures.generation import Painted
from starter.measures.subject import overlap, subject_mask
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, draw_sprite
from steps.engines.rembg_engine import late_pymatting

CUTOUT_FILE = Path(__file__).parent.parent / "models" / "cutout.onnx"


def load_remover(path: Path = CUTOUT_FILE) -> Callable[[Image.Image], Image.Image]:
    """Return rembg with the starter's network: a picture to its mask (L, 0..255).

    rembg takes model files from its home folder only, so the home is set to where the file lies.
    """
    os.environ["U2NET_HOME"] = str(path.parent)
    with late_pymatting():
        import rembg

    session = rembg.new_session("u2net_custom", model_path=str(path))

    def mask_of(picture: Image.Image) -> Image.Image:
        mask = rembg.remove(picture, session=session, only_mask=True)
        assert isinstance(mask, Image.Image)
        return mask

    return mask_of


def on_sprites(mask_of: Callable[[Image.Image], Image.Image], each: int = 2) -> dict[str, float]:
    """Return the overlap with the exact masks, on `each` x 192 sprites of seeds never trained on.

    The same sprites show how far `subject_mask` can be trusted as the judge of generated pictures.
    """
    overlaps, estimates = [], []
    colors = tuple(COLORS)
    for i, name in enumerate(OBJECTS):
        for j, background in enumerate(BACKGROUNDS):
            for k in range(each):
                color = colors[(i + j + 3 * k) % len(colors)]
                sprite = draw_sprite(name, color, background, HELD_OUT_SEED + 30_000 + k)
                exact = np.asarray(sprite.mask) > 127
                overlaps.append(overlap(_binary(mask_of(sprite.image)), exact))
                estimates.append(overlap(subject_mask(np.asarray(sprite.image), background, name, color), exact))
    return {
        "cutout_iou_sprites": float(np.mean(overlaps)),
        "cutout_iou_sprites_worst": float(np.min(overlaps)),
        "subject_estimate_iou": float(np.mean(estimates)),
    }


def on_generated(mask_of: Callable[[Image.Image], Image.Image], painted: Sequence[Painted]) -> dict[str, float]:
    """Overlap with the subject as judged against each picture's own clean background."""
    overlaps = [
        overlap(
            _binary(mask_of(one.picture)),
            subject_mask(np.asarray(one.picture), one.background, one.object, one.color),
        )
        for one in painted
    ]
    by_kind = {
        f"cutout_iou_generated_{kind}": float(
            np.mean([value for one, value in zip(painted, overlaps, strict=True) if one.background == kind])
        )
        for kind in BACKGROUNDS
    }
    return {"cutout_iou_generated": float(np.mean(overlaps)), **by_kind}


def _binary(mask: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(np.asarray(mask) > 127)
