"""How good generated pictures are: named rightly by the judge, varied between seeds, and fast."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from starter.classifier import Verdict, classify, load_classifier
from starter.dataset import HELD_OUT_SEED
from starter.painter import paint
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, draw_sprite, prompt_for

_COLORS = tuple(COLORS)
_SEED = 2_000_000  # noise no training or tuning has seen


@dataclass(frozen=True)
class Painted:
    """A generated picture and what was asked for."""

    object: str
    color: str
    background: str
    picture: Image.Image


def paint_everything(pipeline: StableDiffusionPipeline, backgrounds_each: int = 3) -> list[Painted]:
    """Every object in every color, each on `backgrounds_each` of the eight backgrounds in turn: 576 pictures for 3."""
    wanted = [
        (name, color, BACKGROUNDS[(i + j * 3 + k * 3) % len(BACKGROUNDS)])
        for (i, name), (j, color) in itertools.product(enumerate(OBJECTS), enumerate(_COLORS))
        for k in range(backgrounds_each)
    ]
    pictures = paint(pipeline, [prompt_for(*one) for one in wanted], range(_SEED, _SEED + len(wanted)), batch=16)
    return [Painted(*one, picture) for one, picture in zip(wanted, pictures, strict=True)]


def named_rightly(painted: Sequence[Painted]) -> dict[str, float]:
    """Return the shares of pictures whose object and whose color the classifier names as requested."""
    verdicts = judge(painted)
    return {
        "generated_object_share": _share(v.object == p.object for p, v in zip(painted, verdicts, strict=True)),
        "generated_color_share": _share(v.color == p.color for p, v in zip(painted, verdicts, strict=True)),
        "generated_pictures": float(len(painted)),
    }


def judge(painted: Sequence[Painted]) -> list[Verdict]:
    """Return the classifier's verdict on each picture."""
    return classify(load_classifier(), [one.picture for one in painted])


def judge_of_sprites(sprites: int = 768) -> dict[str, float]:
    """How often the judge itself is right, on sprites that it was not trained on."""
    wanted = [_combination(i) for i in range(sprites)]
    drawn = [draw_sprite(*one, HELD_OUT_SEED + 10_000 + i) for i, one in enumerate(wanted)]
    verdicts = classify(load_classifier(), [sprite.image for sprite in drawn])
    return {
        "classifier_object_share": _share(v.object == s.object for s, v in zip(drawn, verdicts, strict=True)),
        "classifier_color_share": _share(v.color == s.color for s, v in zip(drawn, verdicts, strict=True)),
    }


def variety(pipeline: StableDiffusionPipeline, seeds: int = 6) -> dict[str, float]:
    """Mean difference of pixels between the seeds of one prompt, over that of the sprites of the same prompt."""
    generated, drawn = [], []
    for i, name in enumerate(OBJECTS):
        color, background = _COLORS[(3 * i + 1) % len(_COLORS)], BACKGROUNDS[i % len(BACKGROUNDS)]
        numbers = range(_SEED + 10_000 + 100 * i, _SEED + 10_000 + 100 * i + seeds)
        prompts = [prompt_for(name, color, background)] * seeds
        generated.append(_difference([np.asarray(picture) for picture in paint(pipeline, prompts, numbers)]))
        sprites = [draw_sprite(name, color, background, HELD_OUT_SEED + 20_000 + k) for k in range(seeds)]
        drawn.append(_difference([np.asarray(sprite.image) for sprite in sprites]))
    return {
        "variety_ratio": float(np.mean(generated) / np.mean(drawn)),
        "variety_generated": float(np.mean(generated)),
        "variety_sprites": float(np.mean(drawn)),
    }


def speed(pipeline: StableDiffusionPipeline) -> dict[str, float]:
    """Return the seconds for one picture, alone and in batches of 8: the quickest of some rounds, after one to warm up.

    The quickest of many rounds is the one that other programs disturbed least; on a busy machine even that one is slow.
    `core_seconds_alone`, the processor time of a picture, separates these cases: on two free cores it is twice as much.
    """
    prompts = [prompt_for(*_combination(i)) for i in range(8)]
    paint(pipeline, prompts[:1], [0])
    alone = [_seconds(lambda: paint(pipeline, prompts[:1], [1], batch=1)) for _ in range(10)]
    together = [_seconds(lambda: paint(pipeline, prompts, range(8), batch=8)) for _ in range(3)]
    return {
        "seconds_alone": min(wall for wall, _ in alone),
        "core_seconds_alone": min(cores for _, cores in alone),
        "seconds_in_batch_of_8": min(wall for wall, _ in together) / 8,
    }


def _combination(index: int) -> tuple[str, str, str]:
    """Run through all objects, with colors and backgrounds in changing company."""
    turn = index // len(OBJECTS)
    return OBJECTS[index % 24], _COLORS[(index + turn) % 8], BACKGROUNDS[(index + 3 * turn + turn // 8) % 8]


def _difference(pictures: Sequence[NDArray[np.uint8]]) -> float:
    pairs = itertools.combinations(pictures, 2)
    return float(np.mean([np.abs(a.astype(np.int16) - b.astype(np.int16)).mean() for a, b in pairs]))


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of `work`."""
    wall, cores = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cores


def _share(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))
