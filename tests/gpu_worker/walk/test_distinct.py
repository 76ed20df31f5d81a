"""Which items of a job repeat an earlier one, from facts alone."""

import random

from configs.recipe.recipe import Distinct
from gpu_worker.walk.distinct import Finished, repetitions
from steps.facts.likeness import LENGTH, LEVELS

RULE = Distinct()


def likeness(level: int) -> str:
    """A picture whose luma alone is at this level of 32."""
    return LEVELS[level] * 144 + "g" * (LENGTH - 144)


def items(*levels: int | None) -> list[Finished]:
    return [
        Finished(index, f"item-{index}", None if level is None else likeness(level))
        for index, level in enumerate(levels)
    ]


def repeated(found: dict) -> dict[int, int]:
    return {index: repetition.index for index, repetition in found.items()}


def test_the_first_in_the_jobs_order_stays():
    assert repeated(repetitions(RULE, items(5, 20, 6, 20))) == {2: 0, 3: 1}


def test_the_order_in_which_they_were_made_does_not_matter():
    rng = random.Random(4)
    listed = items(*(rng.randrange(32) for _ in range(200)))
    found = repetitions(RULE, listed)
    rng.shuffle(listed)
    assert repetitions(RULE, listed) == found
    assert 100 < len(found) < 200


def test_a_repetition_says_of_what_and_how_near():
    (found,) = repetitions(RULE, items(5, 6)).values()
    assert (found.name, found.distance) == ("item-0", 8.0)  # a level of 32 is 8 of 255
    assert found.reason == "near-duplicate of item item-0 (distance 8.0)"


def test_the_distance_is_the_rules():
    assert repeated(repetitions(Distinct(distance=7.9), items(5, 6, 6))) == {2: 1}


def test_what_was_never_measured_repeats_nothing_and_is_not_repeated():
    assert repetitions(RULE, items(None, 5, None)) == {}


def test_an_accepted_image_is_kept_and_repeated_by_others():
    first, accepted, third = items(5, 5, 6)
    accepted = Finished(accepted.index, accepted.name, accepted.likeness, accepted=True)
    assert repeated(repetitions(RULE, [first, accepted, third])) == {2: 0}
    assert repeated(repetitions(RULE, [accepted, third])) == {2: 1}
