"""The rendered training set: sprites as memory-mapped arrays, drawn once by every core."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, draw_sprite

TRAIN_FOLDER = Path(__file__).parent / ".train"
MODELS_FOLDER = Path(__file__).parent / "models"
SEEDS_PER_COMBINATION = 40
HELD_OUT_SEED = 1_000_000  # training draws seeds below it, tests and the evaluation from it on
_COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True)
class SpriteSet:
    """`images` (n, side, side, 3), `masks` (n, side, side) in 0..255; `labels` (n, 3): object, color, background."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def _combination(index: int) -> tuple[int, int, int]:
    per_object = len(_COLOR_NAMES) * len(BACKGROUNDS)
    return index // per_object, index % per_object // len(BACKGROUNDS), index % len(BACKGROUNDS)


def _draw_block(first_seed: int, seeds: int, size: int, combinations: range) -> SpriteSet:
    images, masks, labels = [], [], []
    for index in combinations:
        object_index, color_index, background_index = _combination(index)
        for seed in range(first_seed, first_seed + seeds):
            sprite = draw_sprite(
                OBJECTS[object_index], _COLOR_NAMES[color_index], BACKGROUNDS[background_index], seed, size
            )
            images.append(np.asarray(sprite.image))
            masks.append(np.asarray(sprite.mask))
            labels.append((object_index, color_index, background_index))
    return SpriteSet(np.stack(images), np.stack(masks), np.array(labels))


def draw_set(first_seed: int, seeds: int, size: int = 64, workers: int = 2) -> SpriteSet:
    """Draw `seeds` sprites of `size` pixels of each of the 1,536 combinations of object, color and background."""
    total = len(OBJECTS) * len(_COLOR_NAMES) * len(BACKGROUNDS)
    block = 32
    blocks = [range(start, min(start + block, total)) for start in range(0, total, block)]
    with ProcessPoolExecutor(workers) as pool:
        count = len(blocks)
        parts = list(pool.map(_draw_block, [first_seed] * count, [seeds] * count, [size] * count, blocks))
    return SpriteSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def _cached(name: str, first_seed: int, seeds: int, size: int = 64) -> SpriteSet:
    folder = TRAIN_FOLDER / name
    done = folder / "done.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        drawn = draw_set(first_seed, seeds, size)
        np.save(folder / "images.npy", drawn.images)
        np.save(folder / "masks.npy", drawn.masks)
        np.save(folder / "labels.npy", drawn.labels)
        done.write_text(json.dumps({"first_seed": first_seed, "seeds": seeds}))
    return SpriteSet(
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "masks.npy", mmap_mode="r"),
        np.load(folder / "labels.npy"),
    )


def training_set() -> SpriteSet:
    """Return the 61,440 sprites that the models are trained on (drawn on the first call, a few minutes)."""
    return _cached("sprites", 0, SEEDS_PER_COMBINATION)


def large_set() -> SpriteSet:
    """1,536 sprites of 256x256 pixels, one of each combination, for the upscaler and the edges of the cut-out."""
    return _cached("large", 500_000, 1, 256)


def held_out_set() -> SpriteSet:
    """1,536 sprites, one of each combination, that no model is trained on."""
    return _cached("held-out", HELD_OUT_SEED, 1)


if __name__ == "__main__":
    print(len(training_set()), len(held_out_set()))
