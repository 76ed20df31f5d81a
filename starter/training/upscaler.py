"""The 4x upscaler: pairs of 256x256 sprites and their 64x64 versions, clean, roughened, and as the autoencoder sees."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from starter.dataset import TRAIN_FOLDER, large_set
from starter.realesrgan import UPSCALER_FILE, new_network
from starter.training.autoencoder import to_tensor, trained_autoencoder
from starter.training.loop import Budget, Learner, restore, train

BUDGET = Budget(minutes=5, learning_rate=1.5e-3, batch=8, ema_decay=0.99, weight_decay=0.0, compiled=False)
CROP = 32  # of the small picture: a batch of crops shows more pictures a second than whole ones
_SMALL = TRAIN_FOLDER / "upscaler" / "small.npz"


def _to_unit(images: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) in 0..255 to (n, 3, h, w) in 0..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


class UpscalerLearner(Learner):
    """L1 of the pixels and of their differences, on random crops."""

    name = "upscaler"

    def __init__(self) -> None:
        super().__init__()
        self.network = new_network()
        self._large = large_set().images
        small = np.load(_SMALL)
        self._clean, self._decoded = small["clean"], small["decoded"]

    def draw_batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        smalls, larges = [], []
        for i in rng.integers(len(self._large), size=size):
            # A third as the autoencoder gives them back: what the upscaler will meet after `generate`.
            source = self._decoded if rng.random() < 0.35 else self._clean
            x, y = rng.integers(0, 64 - CROP + 1, 2).tolist()
            smalls.append(source[i, y : y + CROP, x : x + CROP])
            larges.append(self._large[i, 4 * y : 4 * (y + CROP), 4 * x : 4 * (x + CROP)])
        small, large = _to_unit(np.stack(smalls)), _to_unit(np.stack(larges))
        kind = rng.random()
        if kind < 0.15:
            blurred = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, 1)
            small = torch.lerp(small, blurred, float(rng.uniform(0.1, 0.5)))
        elif kind < 0.3:
            small = small + float(rng.uniform(0, 0.03)) * torch.randn_like(small)
        if rng.random() < 0.5:
            small, large = small.flip(3), large.flip(3)
        if rng.random() < 0.5:
            small, large = small.transpose(2, 3), large.transpose(2, 3)
        return small.contiguous(memory_format=torch.channels_last), large

    def forward(self, *batch: Tensor) -> Tensor:
        small, large = batch
        error: Tensor = self.network(small).float() - large
        return error.abs().mean() + 0.5 * (error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean())


@torch.inference_mode()
def make_small_versions() -> None:
    """Cache the large sprites at 64x64, clean and through the autoencoder."""
    if _SMALL.exists():
        return
    clean = np.stack([np.asarray(Image.fromarray(image).reduce(4)) for image in large_set().images])
    autoencoder = trained_autoencoder().to(memory_format=torch.channels_last)
    parts = []
    for start in range(0, len(clean), 64):
        images = to_tensor(clean[start : start + 64])
        decoded = autoencoder.decode(autoencoder.encode(images).latent_dist.mode()).sample
        parts.append(decoded.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy())
    _SMALL.parent.mkdir(parents=True, exist_ok=True)
    np.savez(_SMALL, clean=clean, decoded=np.concatenate(parts))


def run() -> None:
    """Prepare the pairs, train, and write the checkpoint in Real-ESRGAN's own format."""
    make_small_versions()
    train(UpscalerLearner, BUDGET)
    export()


def export() -> None:
    """Write `models/upscaler-x4.pth`."""
    learner = restore(UpscalerLearner())
    assert isinstance(learner, UpscalerLearner)
    UPSCALER_FILE.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in learner.network.state_dict().items()}
    torch.save({"params": weights}, UPSCALER_FILE)
