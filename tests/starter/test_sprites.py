"""Sprites: the same names and seed give the same pixels, masks are exact, every drawing works."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from starter.drawing.registry import background_painters, draws, object_painters
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, draw_sprite, prompt_for

pytestmark = pytest.mark.parts  # draws hundreds of pictures


def test_every_drawing_has_a_public_name() -> None:
    assert set(object_painters) == set(OBJECTS)
    assert set(background_painters) == set(BACKGROUNDS)
    assert len(OBJECTS) >= 20
    assert len(COLORS) == 8


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_is_drawn_in_every_color_and_on_every_background(name: str) -> None:
    for i, color in enumerate(COLORS):
        sprite = draw_sprite(name, color, BACKGROUNDS[i], seed=i)
        covered = np.asarray(sprite.mask).mean() / 255
        assert sprite.image.size == sprite.mask.size == (64, 64)
        assert (sprite.image.mode, sprite.mask.mode) == ("RGB", "L")
        assert 0.08 < covered < 0.6


def test_the_same_seed_draws_the_same_pixels_and_another_does_not() -> None:
    first, again, other = (draw_sprite("potion", "red", "striped", seed) for seed in (5, 5, 6))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parts
def test_a_fresh_process_draws_the_same_pixels() -> None:
    code = (
        "import hashlib, sys; from starter.sprites import draw_sprite;"
        "print(hashlib.sha256(draw_sprite('key', 'teal', 'dotted', 9).image.tobytes()).hexdigest());"
        "sys.exit(bool({'torch', 'diffusers', 'rembg'} & set(sys.modules)))"
    )
    digests = {subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_mask_is_the_exact_alpha(background: str) -> None:
    sprite = draw_sprite("key", "blue", background, seed=3)
    alpha = np.asarray(sprite.mask)
    same = (np.asarray(sprite.image) == np.asarray(sprite.clean_background)).all(axis=2)
    assert same[alpha == 0].all()
    assert not same[alpha == 255].any()


def test_one_sees_the_background_through_the_ring_of_a_key() -> None:
    mask = np.asarray(draw_sprite("key", "yellow", "white", seed=1).mask)
    outside = mask == 0
    reached = np.zeros_like(outside)
    reached[0] = outside[0]
    for _ in range(4 * 64):
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        reached = grown & outside
    assert (outside & ~reached).sum() > 20


def test_a_larger_sprite_is_the_same_picture() -> None:
    small = np.asarray(draw_sprite("rocket", "green", "checkered", seed=8).image, dtype=float)
    large = np.asarray(draw_sprite("rocket", "green", "checkered", seed=8, size=256).image.reduce(4), dtype=float)
    assert np.abs(small - large).mean() < 3


def test_prompts_read_well() -> None:
    assert prompt_for("potion", "red", "white") == "a red potion, game icon, white background"
    assert draw_sprite("star", "orange", "black", 0).prompt == "an orange star, game icon, black background"


@pytest.mark.parametrize("names", [("dragon", "red", "white"), ("potion", "beige", "white"), ("potion", "red", "sea")])
def test_an_unknown_name_is_refused_with_the_known_ones(names: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="choose one of"):
        draw_sprite(*names, seed=0)


def test_a_second_drawing_of_one_name_is_refused() -> None:
    before = object_painters["potion"]
    with pytest.raises(ValueError, match="potion"):
        draws("potion")(lambda canvas, color, rng: None)
    assert object_painters["potion"] is before
