"""The judge of generated pictures' subjects, held against masks that are known."""

from __future__ import annotations

import numpy as np
import pytest

from starter.measures.subject import clean_background, overlap, subject_mask
from starter.sprites import BACKGROUNDS, draw_sprite

pytestmark = pytest.mark.parts  # draws hundreds of pictures


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_estimated_subject_is_the_drawn_one(background: str) -> None:
    for name in ("key", "shield", "rocket", "flower"):
        sprite = draw_sprite(name, "purple", background, seed=4)
        estimate = subject_mask(np.asarray(sprite.image), background, name, "purple")
        assert overlap(estimate, np.asarray(sprite.mask) > 127) > 0.93


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_estimated_background_is_the_clean_one(background: str) -> None:
    sprite = draw_sprite("bomb", "red", background, seed=4)
    estimate = clean_background(np.asarray(sprite.image), background)
    assert np.abs(estimate - np.asarray(sprite.clean_background)).mean() < 3


def test_overlap_of_masks() -> None:
    left, all_of_it = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    left[:, :2] = True
    assert overlap(left, all_of_it) == 0.5
    assert overlap(~all_of_it, ~all_of_it) == 1.0
