"""The text-to-image model: text encoder and noise predictor, trained together on the latents of the sprites."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from torch import Tensor

from starter.dataset import MODELS_FOLDER, TRAIN_FOLDER, training_set
from starter.networks import new_sampler, new_scheduler, new_text_encoder, new_unet
from starter.training.autoencoder import to_tensor, trained_autoencoder
from starter.training.loop import Budget, Learner, restore, train
from starter.training.vocabulary import caption_for, new_tokenizer

BUDGET = Budget(minutes=47, learning_rate=1.2e-3, batch=16, warmup=0.01, ema_decay=0.999)
MODEL_FOLDER = MODELS_FOLDER / "text-to-image"
EVERY = 2  # a few epochs over half of the sprites take all the time there is
LATENTS = TRAIN_FOLDER / "diffusion" / "latents.npy"

logger = logging.getLogger(__name__)


class DiffusionLearner(Learner):
    """v-prediction at evenly drawn times of a cosine schedule (Salimans & Ho, arXiv 2202.00512).

    The error of v is not weighted: min-SNR weights would all but ignore the noisiest steps, which decide what object
    is drawn and where, and with a zero terminal SNR they would ignore the first sampling step altogether.
    """

    name = "diffusion"

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = new_tokenizer()
        self.text_encoder = new_text_encoder(self.tokenizer)
        self.unet = new_unet()
        alphas = new_scheduler().alphas_cumprod
        self.register_buffer("signal", alphas.sqrt(), persistent=False)
        self.register_buffer("noise", (1 - alphas).sqrt(), persistent=False)
        self._latents = np.load(LATENTS) if LATENTS.exists() else np.zeros((0, 4, 16, 16), np.float16)
        self._labels = training_set().labels[::EVERY]

    def draw_batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        chosen = rng.integers(len(self._latents), size=size)
        captions = [caption_for(tuple(self._labels[i].tolist()), rng) for i in chosen]
        tokens = self.tokenizer(
            captions,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
        latents = torch.from_numpy(self._latents[chosen]).float().contiguous(memory_format=torch.channels_last)
        # One time from each of `size` equal stretches: every batch sees all noise levels.
        times = torch.from_numpy((np.arange(size) + rng.random(size)) / size * len(self.get_buffer("signal"))).long()
        return latents, torch.randn_like(latents), times, tokens

    def forward(self, *batch: Tensor) -> Tensor:
        latents, noise, times, tokens = batch
        signal_share = self.get_buffer("signal")[times][:, None, None, None]
        noise_share = self.get_buffer("noise")[times][:, None, None, None]
        noisy = signal_share * latents + noise_share * noise
        states = self.text_encoder(tokens)[0]
        predicted = self.unet(noisy, times, states, return_dict=False)[0]
        return F.mse_loss(predicted.float(), signal_share * noise - noise_share * latents)


@torch.inference_mode()
def cache_latents() -> None:
    """Encode every second sprite of the training set once: 30,720 latents as float16 (63 MB)."""
    if LATENTS.exists():
        return
    encoder = trained_autoencoder().to(memory_format=torch.channels_last)
    images = training_set().images[::EVERY]
    parts = []
    for start in range(0, len(images), 256):
        with torch.autocast("cpu", torch.bfloat16):
            latents = encoder.encode(to_tensor(images[start : start + 256])).latent_dist.mean
        parts.append(latents.contiguous().half().numpy())
    LATENTS.parent.mkdir(parents=True, exist_ok=True)
    np.save(LATENTS, np.concatenate(parts))


def export() -> None:
    """Write the pipeline with the averaged weights, in half precision, over `models/text-to-image`."""
    learner = restore(DiffusionLearner())
    assert isinstance(learner, DiffusionLearner)
    pipeline = StableDiffusionPipeline(
        vae=trained_autoencoder(),
        text_encoder=learner.text_encoder,
        tokenizer=learner.tokenizer,
        unet=learner.unet,
        scheduler=new_sampler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16)
    shutil.rmtree(MODEL_FOLDER, ignore_errors=True)
    pipeline.save_pretrained(MODEL_FOLDER)
    # transformers loads in the precision that the configuration names, diffusers in single precision by default:
    # a pipeline loaded without a word about precision would mix the two and fail.
    config_file = MODEL_FOLDER / "text_encoder" / "config.json"
    config = json.loads(config_file.read_text()) | {"dtype": "float32"}
    config_file.write_text(json.dumps(config, indent=2) + "\n")


def run() -> None:
    """Cache the latents, train, export."""
    cache_latents()
    train(DiffusionLearner, BUDGET)
    export()
