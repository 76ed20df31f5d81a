"""The judge's training: sprites only, roughened a little so that it looks at shapes and not at single pixels."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from starter.classifier import CLASSIFIER_FILE, SpriteClassifier
from starter.dataset import held_out_set, training_set
from starter.training.autoencoder import to_tensor
from starter.training.loop import Budget, Learner, restore, train

# One process: batch statistics of half batches would differ, and a few minutes are enough.
BUDGET = Budget(minutes=3, learning_rate=2e-3, batch=64, ema_decay=0.99, processes=1, compiled=False)


class ClassifierLearner(Learner):
    """Cross-entropy of object and color."""

    name = "classifier"

    def __init__(self) -> None:
        super().__init__()
        self.classifier = SpriteClassifier()
        self._sprites = training_set()

    def draw_batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        chosen = np.sort(rng.integers(len(self._sprites), size=size))
        images = to_tensor(self._sprites.images[chosen])
        images = torch.roll(images, tuple(rng.integers(-3, 4, size=2).tolist()), (2, 3))
        if rng.random() < 0.5:
            blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
            images = torch.lerp(images, blurred, float(rng.uniform(0.2, 1.0)))
        images = images + float(rng.uniform(0, 0.08)) * torch.randn_like(images)
        labels = torch.from_numpy(self._sprites.labels[chosen])
        return images.contiguous(memory_format=torch.channels_last), labels[:, 0], labels[:, 1]

    def forward(self, *batch: Tensor) -> Tensor:
        images, object_labels, color_labels = batch
        objects, colors = self.classifier(images)
        return F.cross_entropy(objects.float(), object_labels) + F.cross_entropy(colors.float(), color_labels)


def run() -> None:
    """Train, write the weights, and print how many held-out sprites are named rightly."""
    train(ClassifierLearner, BUDGET)
    learner = restore(ClassifierLearner())
    assert isinstance(learner, ClassifierLearner)
    CLASSIFIER_FILE.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in learner.classifier.state_dict().items()}, CLASSIFIER_FILE)
    held_out = held_out_set()
    with torch.inference_mode():
        objects, colors = learner.classifier(to_tensor(held_out.images))
    right_objects = (objects.argmax(1).numpy() == held_out.labels[:, 0]).mean()
    right_colors = (colors.argmax(1).numpy() == held_out.labels[:, 1]).mean()
    print(f"classifier: objects {right_objects:.4f}, colors {right_colors:.4f}", flush=True)
