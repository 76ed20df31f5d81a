"""A second round for the decoder alone: it learns to draw clean lines from latents that are a little off.

The latents stay what they are, so the noise predictor trained on them stays valid. Generated latents are never quite
right; a decoder that saw only exact ones draws their errors as wobbling outlines.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from starter.dataset import training_set
from starter.training import diffusion
from starter.training.autoencoder import FINISHED, reconstruction_loss, report, to_tensor, trained_autoencoder
from starter.training.loop import Budget, Learner, train

BUDGET = Budget(minutes=6, learning_rate=6e-4, batch=8, ema_decay=0.99, compiled=False)
NOISE = 0.2  # the most that is added, in standard deviations of the latents

logger = logging.getLogger(__name__)


class DecoderLearner(Learner):
    """The autoencoder's loss from cached latents with noise of a random strength."""

    name = "decoder"

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder = trained_autoencoder()
        self.autoencoder.encoder.requires_grad_(False)
        self.autoencoder.quant_conv.requires_grad_(False)
        self._latents = np.load(diffusion.LATENTS, mmap_mode="r")
        self._images = training_set().images

    def draw_batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        chosen = np.sort(rng.integers(len(self._latents), size=size))
        latents = torch.from_numpy(self._latents[chosen].astype(np.float32))
        strength = torch.from_numpy(rng.uniform(0, NOISE, (size, 1, 1, 1))).float()
        images = to_tensor(self._images[chosen * diffusion.EVERY])
        noisy = latents + strength * torch.randn_like(latents)
        return noisy.contiguous(memory_format=torch.channels_last), images

    def forward(self, *batch: Tensor) -> Tensor:
        latents, images = batch
        return reconstruction_loss(self.autoencoder.decode(latents).sample.float(), images)


def run() -> None:
    """Train, keep the decoder if held-out sprites come back better than before, and export the pipeline again."""
    before = report(trained_autoencoder())
    learner = train(DecoderLearner, BUDGET)
    assert isinstance(learner, DecoderLearner)
    after = report(learner.autoencoder)
    if after <= before:
        logger.warning("the decoder's second round made it worse (%.2f dB from %.2f): left out", after, before)
        return
    torch.save(learner.autoencoder.state_dict(), FINISHED)
    diffusion.export()
