"""The judge: a small network that names the object and the color of a 64x64 picture, trained on sprites only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from starter.sprites import COLORS, OBJECTS

CLASSIFIER_FILE = Path(__file__).parent / "models" / "classifier.safetensors"
COLOR_NAMES = tuple(COLORS)
_WIDTHS = (24, 48, 96, 128)


@dataclass(frozen=True)
class Verdict:
    """The object and the color that the classifier sees in a picture, with its confidence in each (0..1)."""

    object: str
    color: str
    object_confidence: float
    color_confidence: float


class SpriteClassifier(nn.Module):
    """Four halvings of 64x64x3 pictures (-1..1), then one head for the 24 objects and one for the 8 colors."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in _WIDTHS:
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, 2, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
            before = width
        self.features = nn.Sequential(*layers)
        self.object_head = nn.Linear(4 * before, len(OBJECTS))
        self.color_head = nn.Linear(before, len(COLOR_NAMES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, 64, 64) to the logits of the objects (n, 24) and of the colors (n, 8)."""
        features = self.features(pictures)
        quarters = nn.functional.adaptive_avg_pool2d(features, 2).flatten(1)
        return self.object_head(quarters), self.color_head(features.mean(dim=(2, 3)))


def load_classifier(path: Path = CLASSIFIER_FILE) -> SpriteClassifier:
    """Return the trained classifier, in evaluation mode on the CPU."""
    classifier = SpriteClassifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval()


@torch.inference_mode()
def shares(classifier: SpriteClassifier, pictures: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
    """Return the classifier's shares, 0..1, of each of OBJECTS (n, 24) and of COLOR_NAMES (n, 8), on the CPU.

    Pictures of any size; they are brought to 64x64 first.
    """
    pixels = np.stack([np.asarray(picture.convert("RGB").resize((64, 64))) for picture in pictures])
    device = next(classifier.parameters()).device
    objects, colors = classifier(torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1)
    return objects.softmax(1).cpu(), colors.softmax(1).cpu()


def classify(classifier: SpriteClassifier, pictures: Sequence[Image.Image]) -> list[Verdict]:
    """Judge pictures of any size; they are brought to 64x64 first."""
    verdicts: list[Verdict] = []
    for start in range(0, len(pictures), 128):
        objects, colors = shares(classifier, pictures[start : start + 128])
        object_shares, object_indices = objects.max(1)
        color_shares, color_indices = colors.max(1)
        verdicts += [
            Verdict(OBJECTS[o], COLOR_NAMES[c], os, cs)
            for o, c, os, cs in zip(
                object_indices.tolist(),
                color_indices.tolist(),
                object_shares.tolist(),
                color_shares.tolist(),
                strict=True,
            )
        ]
    return verdicts
