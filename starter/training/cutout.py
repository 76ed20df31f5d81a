"""The background remover: a small U-Net in the shape rembg's `u2net_custom` session expects, exported to ONNX."""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor, nn

from starter.dataset import MODELS_FOLDER, TRAIN_FOLDER, large_set, training_set
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, prompt_for
from starter.training.diffusion import EVERY, MODEL_FOLDER
from starter.training.loop import Budget, Learner, restore, train

BUDGET = Budget(minutes=6, learning_rate=3e-3, batch=8, ema_decay=0.99, compiled=False)
CUTOUT_FILE = MODELS_FOLDER / "cutout.onnx"
SIDE = 320  # what rembg resizes every picture to
_REDRAWN = TRAIN_FOLDER / "cutout" / "redrawn.npz"
_REDRAWN_COUNT = 3072
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WIDTHS = (16, 24, 40, 56, 72)


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


class CutoutNetwork(nn.Module):
    """(n, 3, 320, 320), ImageNet-normalised, to (n, 1, 320, 320) in 0..1: the share of the subject in a pixel.

    A U-Net that works from 160x160 down to 10x10; its logits are brought back to 320x320 by interpolation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(3, _WIDTHS[0], 2)
        pairs = list(itertools.pairwise(_WIDTHS))
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, 2), _block(b, b)) for a, b in pairs)
        self.middle = nn.Sequential(_block(_WIDTHS[-1], _WIDTHS[-1]), _block(_WIDTHS[-1], _WIDTHS[-1]))
        self.up = nn.ModuleList(nn.Sequential(_block(a + b, a), _block(a, a)) for a, b in reversed(pairs))
        self.head = nn.Conv2d(_WIDTHS[0], 1, 3, padding=1)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return the output before the sigmoid."""
        features = self.stem(pictures)
        levels = [features]
        for down in self.down:
            features = down(features)
            levels.append(features)
        features = self.middle(features)
        levels.pop()
        for up in self.up:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = up(torch.cat([features, levels.pop()], dim=1))
        return F.interpolate(self.head(features), scale_factor=2.0, mode="bilinear", align_corners=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        return self.logits(pictures).sigmoid()


def normalised(pictures: Tensor) -> Tensor:
    """(n, 3, 320, 320) in 0..1 as rembg hands them over: by their maximum, then by ImageNet's mean and deviation."""
    pictures = pictures / pictures.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    return (pictures - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]


class CutoutLearner(Learner):
    """Cross-entropy and soft IoU on sprites, sprites on strange backgrounds, redrawn sprites, and large sprites."""

    name = "cutout"

    def __init__(self) -> None:
        super().__init__()
        self.network = CutoutNetwork()
        self._sprites = training_set()
        self._on_white = np.flatnonzero(self._sprites.labels[:, 2] == BACKGROUNDS.index("white"))
        self._large = large_set()
        redrawn = np.load(_REDRAWN)
        self._redrawn_images, self._redrawn_masks = redrawn["images"], redrawn["masks"]

    def draw_batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        pictures, masks = [], []
        for _ in range(size):
            picture, mask = self._draw(rng)
            turned = int(rng.integers(8))
            picture, mask = (np.rot90(array, turned % 4) for array in (picture, mask))
            if turned >= 4:
                picture, mask = picture[:, ::-1], mask[:, ::-1]
            pictures.append(_resized(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255))
            masks.append(_resized(torch.from_numpy(mask.copy())[None, None].float() / 255))
        batch = torch.cat(pictures) + float(rng.uniform(0, 0.02)) * torch.randn(size, 3, SIDE, SIDE)
        return normalised(batch).contiguous(memory_format=torch.channels_last), torch.cat(masks)

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        kind = rng.random()
        if kind < 0.3:
            i = int(rng.integers(len(self._sprites)))
            return self._sprites.images[i], self._sprites.masks[i]
        if kind < 0.5:
            i = int(rng.choice(self._on_white))
            return _on_strange_background(self._sprites.images[i], self._sprites.masks[i], rng)
        if kind < 0.85:
            i = int(rng.integers(len(self._redrawn_images)))
            return self._redrawn_images[i], self._redrawn_masks[i]
        i = int(rng.integers(len(self._large)))
        return self._large.images[i], self._large.masks[i]

    def forward(self, *batch: Tensor) -> Tensor:
        pictures, masks = batch
        logits = self.network.logits(pictures).float()
        shares = logits.sigmoid()
        both = (shares * masks).sum(dim=(1, 2, 3))
        either = (shares + masks - shares * masks).sum(dim=(1, 2, 3))
        return F.binary_cross_entropy_with_logits(logits, masks) + (1 - both / either).mean()


def _resized(picture: Tensor) -> Tensor:
    return F.interpolate(picture, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)


def _on_strange_background(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a sprite on white, put on a background of two random colors: plain, a gradient any way, or soft blots."""
    side = image.shape[0]
    first, second = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
    kind = rng.integers(3)
    if kind == 0:
        share = np.zeros((side, side))
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        rows, columns = np.indices((side, side)) / side - 0.5
        share = np.clip(0.5 + rows * np.sin(angle) + columns * np.cos(angle), 0, 1)
    else:
        coarse = torch.from_numpy(rng.random((1, 1, 6, 6))).float()
        share = F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)[0, 0].numpy()
    background = first + (second - first) * share[..., None]
    alpha = mask[..., None] / 255
    subject = image - (1 - alpha) * 255.0
    return np.clip(np.rint(subject + (1 - alpha) * background), 0, 255).astype(np.uint8), mask


@torch.inference_mode()
def redraw_sprites() -> None:
    """Let the text-to-image model paint over known sprites, so that their masks are known, and cache the result.

    Noise up to a third of the way leaves every outline where it was and gives the picture the model's own faults.
    """
    if _REDRAWN.exists():
        return
    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32)
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    sprites = training_set()
    rng = np.random.default_rng(7)
    cached = np.load(TRAIN_FOLDER / "diffusion" / "latents.npy")
    chosen = np.sort(rng.choice(len(cached), _REDRAWN_COUNT, replace=False))
    latents = torch.from_numpy(cached[chosen]).float()
    chosen *= EVERY
    colors = tuple(COLORS)
    captions = [prompt_for(OBJECTS[o], colors[c], BACKGROUNDS[b]) for o, c, b in sprites.labels[chosen]]
    scheduler.set_timesteps(20)
    images = []
    for start in range(0, len(chosen), 64):
        part = latents[start : start + 64]
        tokens = pipeline.tokenizer(
            captions[start : start + 64], padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        states = pipeline.text_encoder(tokens)[0]
        # 0 to 7 of 20 steps: none leaves the autoencoder's faults alone.
        steps = (start // 64) % 8
        times = scheduler.timesteps[len(scheduler.timesteps) - steps :] if steps else scheduler.timesteps[:0]
        if steps:
            part = scheduler.add_noise(part, torch.randn_like(part), times[:1].expand(len(part)))
        for time in times:
            predicted = pipeline.unet(part, time, states).sample
            part = scheduler.step(predicted, time, part).prev_sample
        decoded = pipeline.vae.decode(part).sample
        images.append(decoded.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy())
    _REDRAWN.parent.mkdir(parents=True, exist_ok=True)
    np.savez(_REDRAWN, images=np.concatenate(images), masks=sprites.masks[chosen])


def run() -> None:
    """Redraw sprites, train, export to ONNX."""
    redraw_sprites()
    train(CutoutLearner, BUDGET)
    export()


def export() -> None:
    """Write `models/cutout.onnx`."""
    learner = restore(CutoutLearner())
    assert isinstance(learner, CutoutLearner)
    CUTOUT_FILE.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        learner.network,
        (torch.zeros(1, 3, SIDE, SIDE),),
        str(CUTOUT_FILE),
        input_names=["picture"],
        output_names=["alpha"],
        opset_version=17,
        dynamo=False,
    )
