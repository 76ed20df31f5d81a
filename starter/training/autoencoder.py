"""The autoencoder: 64x64 images to 16x16x4 latents and back, sharp enough that outlines survive."""

from __future__ import annotations

import json

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from starter.contact_sheet import grid
from starter.dataset import TRAIN_FOLDER, held_out_set, training_set
from starter.networks import new_autoencoder
from starter.training.loop import Budget, Learner, restore, train

BUDGET = Budget(minutes=24, learning_rate=2e-3, batch=8)
KL_WEIGHT = 1e-4
STATISTICS = TRAIN_FOLDER / "autoencoder" / "latents.json"


def to_tensor(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """(n, h, w, 3) in 0..255 to (n, 3, h, w) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_pictures(images: Tensor) -> list[Image.Image]:
    """(n, 3, h, w) in -1..1 to pictures."""
    pixels = images.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(picture) for picture in pixels]


class AutoencoderLearner(Learner):
    """Pixel, edge and coarse errors, and a light pull of the latents to a normal distribution."""

    name = "autoencoder"

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder = new_autoencoder()
        self._images = training_set().images

    def draw_batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        chosen = np.sort(rng.integers(len(self._images), size=size))
        images = to_tensor(self._images[chosen])
        # Half of them mirrored: other shapes for nothing, so that the decoder learns edges and not the 24 objects.
        images = torch.where(torch.from_numpy(rng.random(size) < 0.5)[:, None, None, None], images.flip(3), images)
        return (images.contiguous(memory_format=torch.channels_last),)

    def forward(self, *batch: Tensor) -> Tensor:
        (images,) = batch
        posterior = self.autoencoder.encode(images).latent_dist
        decoded = self.autoencoder.decode(posterior.sample()).sample.float()
        return reconstruction_loss(decoded, images) + KL_WEIGHT * posterior.kl().mean() / 1024


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """L1 of the pixels, of their horizontal and vertical differences (edges), and of a 4x smaller picture (tints)."""
    error = decoded - images
    loss = error.abs().mean() + error.square().mean()
    loss = loss + error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
    return loss + F.avg_pool2d(error, 4).abs().mean()


def run() -> None:
    """Train, then measure the latents and the quality on held-out sprites."""
    learner = train(AutoencoderLearner, BUDGET)
    report(learner)


def report(learner: Learner | None = None) -> float:
    """Write the latents' statistics and a picture of originals over reconstructions; return the PSNR in dB."""
    learner = learner or restore(AutoencoderLearner())
    assert isinstance(learner, AutoencoderLearner)
    held_out = held_out_set()
    images = to_tensor(held_out.images[::6])
    with torch.inference_mode():
        latents = learner.autoencoder.encode(images).latent_dist.mode()
        decoded = torch.cat([learner.autoencoder.decode(part).sample for part in latents.split(64)])
    error = (decoded.clamp(-1, 1) - images).square().mean(dim=(1, 2, 3)) / 4
    psnr = float((-10 * error.log10()).mean())
    STATISTICS.write_text(json.dumps({"std": float(latents.std()), "mean": float(latents.mean()), "psnr": psnr}))
    originals, copies = to_pictures(images[::8]), to_pictures(decoded[::8])
    rows = [p for i in range(0, 32, 8) for p in originals[i : i + 8] + copies[i : i + 8]]
    grid(rows, 8, 3).save(learner.folder() / "reconstructions.png")
    channels = latents.std(dim=(0, 2, 3)).tolist()
    print(f"autoencoder: {psnr:.2f} dB, latent std {float(latents.std()):.3f} by channel {channels}", flush=True)
    return psnr
