"""Near-duplicates: what repeats what, whatever the order and the number."""

import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from starter.sprites import COLORS, OBJECTS, draw_sprite
from steps.facts import likeness as likeness_module
from steps.facts import measure
from steps.facts.likeness import DISTANCE, LENGTH, LEVELS, distance_between, near_duplicates
from tests.steps import images


def likeness(image: Image.Image) -> str:
    return str(measure(image, ["likeness"])["likeness"])


def cut_out(name: str, color: str, seed: int) -> Image.Image:
    sprite = draw_sprite(name, color, "white", seed)
    image = sprite.image.copy()
    image.putalpha(sprite.mask)
    return image


def changed(text: str, places: int, levels: int) -> str:
    """The same with some of its first characters moved by so many levels."""
    moved = [LEVELS[(LEVELS.index(character) + levels) % 32] for character in text[:places]]
    return "".join(moved) + text[places:]


FLAT = "g" * LENGTH


def test_a_likeness_has_one_character_for_each_value() -> None:
    text = likeness(images.disc(64))
    assert len(text) == LENGTH and set(text) <= set(LEVELS)


def test_the_perceptual_hash_is_sixty_four_bits() -> None:
    text = measure(images.disc(64))["perceptual_hash"]
    assert len(str(text)) == 16 and int(str(text), 16) >= 0


def test_a_copy_repeats_the_first_of_its_kind() -> None:
    a, b = likeness(images.disc(64)), likeness(images.noise(64, 64))
    assert near_duplicates([a, b, a, b, a]) == [None, None, 0, 1, 0]


def test_what_is_repeated_is_no_repetition_itself() -> None:
    # Each is one step from the one before it, and the third too far from the first.
    chain = [FLAT, changed(FLAT, 144, 1), changed(FLAT, 144, 2)]
    assert near_duplicates(chain, distance=9) == [None, 0, None]


def test_the_distance_is_the_root_of_the_mean_square_in_levels() -> None:
    moved = changed(FLAT, 144, 2)  # all of luma by 2 of 32: 16 of 255
    assert near_duplicates([FLAT, moved], distance=15.99) == [None, None]
    assert near_duplicates([FLAT, moved], distance=16) == [None, 0]


def test_what_has_no_likeness_repeats_nothing() -> None:
    assert near_duplicates([None, FLAT, None, FLAT]) == [None, None, None, 1]
    assert near_duplicates([]) == []
    assert near_duplicates([None]) == [None]


@pytest.mark.parametrize("text", ["", "0" * 16, "z" * LENGTH, "g" * (LENGTH - 1) + "é"])
def test_another_text_is_refused_by_its_number(text: str) -> None:
    with pytest.raises(ValueError, match="number 1 is not a likeness"):
        near_duplicates([FLAT, text])


@given(values=st.lists(st.integers(0, 3), max_size=12), distance=st.sampled_from([0.0, 8.0, 16.0]))
def test_it_agrees_with_the_definition(values: list[int], distance: float) -> None:
    texts = [changed(FLAT, 144, value) for value in values]
    expected: list[Any] = []
    for index, value in enumerate(values):
        near = (j for j in range(index) if expected[j] is None and 8 * abs(values[j] - value) <= distance)
        expected.append(next(near, None))
    assert near_duplicates(texts, distance) == expected


def test_more_than_a_block_of_them() -> None:
    rng = random.Random(1)
    texts = ["".join(rng.choices(LEVELS, k=LENGTH)) for _ in range(1100)]
    assert near_duplicates([*texts, *texts]) == [None] * 1100 + list(range(1100))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    texts = [changed(FLAT, 144, rng.randrange(32)) for _ in range(60)]
    kept = rng.sample(range(60), 6)
    whole = near_duplicates(texts, kept=kept)
    monkeypatch.setattr(likeness_module, "_BLOCK", 7)
    monkeypatch.setattr(likeness_module, "_COLUMNS", 5)
    assert near_duplicates(texts, kept=kept) == whole
    assert len({first for first in whole if first is not None}) > 5


def test_what_is_kept_repeats_nothing_and_is_repeated() -> None:
    other = changed(FLAT, 144, 2)
    assert near_duplicates([FLAT, FLAT, other, FLAT, other], kept=[1, 2]) == [None, None, None, 0, 2]


def test_the_distance_between_two() -> None:
    assert distance_between(FLAT, FLAT) == 0
    assert distance_between(FLAT, changed(FLAT, 144, 2)) == 16


@pytest.mark.parts
def test_ten_thousand_within_seconds() -> None:
    values = np.random.default_rng(0).integers(0, 32, (10_000, LENGTH))
    texts = ["".join(row) for row in np.array(list(LEVELS))[values].tolist()]
    started = time.process_time()
    assert near_duplicates(texts) == [None] * 10_000
    assert time.process_time() - started < 10  # about one on a free core: bounds a blow-up, not the speed


def test_different_sprites_of_one_color_do_not_repeat() -> None:
    texts = [likeness(cut_out(name, "blue", 1)) for name in OBJECTS]
    assert near_duplicates(texts) == [None] * len(texts)


def test_different_colors_of_one_sprite_do_not_repeat() -> None:
    texts = [likeness(cut_out("star", color, 1)) for color in COLORS]
    assert near_duplicates(texts) == [None] * len(texts)


def test_small_changes_repeat() -> None:
    image = cut_out("cup", "green", 3)
    smaller = image.resize((52, 52), Image.Resampling.BICUBIC).resize((64, 64), Image.Resampling.BICUBIC)
    lighter = Image.merge(
        "RGBA", [band.point(lambda level: min(255, level + 8)) for band in image.split()[:3]] + [image.getchannel("A")]
    )
    larger = image.resize((256, 256), Image.Resampling.BICUBIC)
    assert near_duplicates([likeness(each) for each in (image, smaller, lighter, larger)]) == [None, 0, 0, 0]
    assert DISTANCE == 12
