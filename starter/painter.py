"""The starter's text-to-image model by the ordinary diffusers loader, with the settings that it is measured at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

MODEL_FOLDER = Path(__file__).parent / "models" / "text-to-image"
STEPS = 15
GUIDANCE = 3.0


def load_painter(folder: Path = MODEL_FOLDER) -> StableDiffusionPipeline:
    """Return the pipeline on the CPU in single precision."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    batch: int = 8,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> list[Image.Image]:
    """One 64x64 picture for each prompt; each has its own seed, so the batch changes nothing but the speed."""
    import torch

    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds[start : start + batch]]
        pictures += pipeline(
            list(prompts[start : start + batch]),
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
        ).images
    return pictures
