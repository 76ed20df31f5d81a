"""The autoencoder: 64x64 images to 16x16x4 latents and back, sharp enough that outlines survive."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from starter.contact_sheet import grid
from starter.dataset import TRAIN_FOLDER, held_out_set, training_set
from starter.networks import new_autoencoder
from starter.training.loop import Budget, Learner, train

BUDGET = Budget(minutes=24, learning_rate=2e-3, batch=8)
KL_WEIGHT = 1e-4
FINISHED = TRAIN_FOLDER / "autoencoder" / "finished.pt"


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
        loss: Tensor = reconstruction_loss(decoded, images) + KL_WEIGHT * posterior.kl().mean() / 1024
        return loss


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """L1 of the pixels, of their horizontal and vertical differences (edges), and of a 4x smaller picture (tints)."""
    error = decoded - images
    loss = error.abs().mean() + error.square().mean()
    loss = loss + error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
    return loss + F.avg_pool2d(error, 4).abs().mean()


def run() -> None:
    """Train, standardise the latents, keep the weights for the later stages, and measure them on held-out sprites."""
    learner = train(AutoencoderLearner, BUDGET)
    assert isinstance(learner, AutoencoderLearner)
    standardise(learner.autoencoder, to_tensor(training_set().images[::60]))
    torch.save(learner.autoencoder.state_dict(), FINISHED)
    report(learner.autoencoder)


def trained_autoencoder() -> AutoencoderKL:
    """Return the trained autoencoder; its latents have mean 0 and deviation 1, so their scaling factor is 1."""
    autoencoder = new_autoencoder()
    autoencoder.load_state_dict(torch.load(FINISHED, weights_only=True))
    return autoencoder.eval()


@torch.inference_mode()
def standardise(autoencoder: AutoencoderKL, images: Tensor) -> None:
    """Bring each channel of the latents to mean 0 and standard deviation 1, inside the two 1x1 convolutions.

    Pictures decode exactly as before. Pipelines know one scaling factor for all channels, and left alone one channel
    is three times as loud as another: the noise predictor would spend its effort on it.
    """
    latents = torch.cat([autoencoder.encode(part).latent_dist.mode() for part in torch.split(images, 64)])
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    before, after, channels = autoencoder.quant_conv, autoencoder.post_quant_conv, len(mean)
    before.weight[:channels] /= std[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) / std
    before.bias[channels:] -= 2 * std.log()  # the other half is the logarithm of the variance
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= std[None, :, None, None]


def report(autoencoder: AutoencoderKL) -> float:
    """Draw originals over reconstructions of held-out sprites; return the mean PSNR in dB."""
    images = to_tensor(held_out_set().images[::6])
    with torch.inference_mode():
        latents = torch.cat([autoencoder.encode(part).latent_dist.mode() for part in torch.split(images, 64)])
        decoded = torch.cat([autoencoder.decode(part).sample for part in torch.split(latents, 64)])
    error = (decoded.clamp(-1, 1) - images).square().mean(dim=(1, 2, 3)) / 4
    psnr = float((-10 * error.log10()).mean())
    originals, copies = to_pictures(images[::5]), to_pictures(decoded[::5])
    rows = [picture for i in range(0, 48, 12) for picture in originals[i : i + 12] + copies[i : i + 12]]
    grid(rows, 12, 2).save(FINISHED.with_name("reconstructions.png"))
    means, stds = latents.mean(dim=(0, 2, 3)).tolist(), latents.std(dim=(0, 2, 3)).tolist()
    print(f"autoencoder: {psnr:.2f} dB; latents by channel: mean {means}, deviation {stds}", flush=True)
    return psnr
