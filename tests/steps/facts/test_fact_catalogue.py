"""The catalogue of facts keeps its word for any image."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from steps.facts import ALWAYS, FACTS, IMAGE_FACTS, measure
from tests.steps import images

UNHURRIED = settings(max_examples=50, deadline=None)  # whichever call is the first imports what measures
HEAVY = ("cv2", "imagehash", "scipy", "skimage", "torch", "pywt")


def any_image(longest: int = 12) -> st.SearchStrategy[Any]:
    shape = st.tuples(st.integers(1, longest), st.integers(1, longest), st.sampled_from([3, 4]))
    return arrays.arrays(np.uint8, shape).map(Image.fromarray)


@UNHURRIED
@given(image=any_image(), source=any_image())
def test_every_value_has_its_kind_and_lies_in_its_bounds(image: Image.Image, source: Image.Image) -> None:
    facts = measure(image, FACTS, source=source)
    assert list(facts) == list(FACTS)
    for name, value in facts.items():
        spec = FACTS[name]
        assert type(value) is spec.kind
        if not isinstance(value, str):
            assert value == value  # no NaN
            assert spec.low is None or value >= spec.low
            assert spec.high is None or value <= spec.high
            assert value == round(value, 6)


@UNHURRIED
@given(image=any_image(), source=any_image())
def test_the_same_pixels_give_the_same_facts(image: Image.Image, source: Image.Image) -> None:
    assert measure(image, FACTS, source=source) == measure(image.copy(), FACTS, source=source.copy())


@UNHURRIED
@given(under=st.integers(0, 255))
def test_what_lies_under_transparent_pixels_counts_for_no_fact(under: int) -> None:
    source = images.noise(24, 24)
    facts = [measure(images.disc(48, hole=4, under=gray), FACTS, source=source) for gray in (under, 0)]
    assert facts[0] == facts[1]


@UNHURRIED
@given(image=any_image())
def test_a_fact_alone_is_what_it_is_among_all(image: Image.Image) -> None:
    source = images.noise(8, 8)
    together = measure(image, FACTS, source=source)
    assert {name: measure(image, [name], source=source)[name] for name in FACTS} == together


def test_the_image_is_left_alone() -> None:
    image, source = images.disc(32), images.noise(32, 32)
    before = image.tobytes(), source.tobytes()
    measure(image, FACTS, source=source)
    assert (image.tobytes(), source.tobytes()) == before


def test_without_a_source_the_facts_that_read_it_are_left_out() -> None:
    missing = FACTS.keys() - measure(images.disc(32), FACTS).keys()
    assert missing == {name for name, spec in FACTS.items() if spec.reads_source}
    assert missing


def test_what_is_always_measured() -> None:
    assert set(measure(images.disc(32))) == ALWAYS == set(IMAGE_FACTS)
    assert not any(FACTS[name].reads_source for name in ALWAYS)


def test_an_unknown_fact_names_the_nearest() -> None:
    with pytest.raises(LookupError, match="unknown fact `sharpnes`; did you mean `sharpness`"):
        measure(images.disc(32), ["sharpnes"])


@pytest.mark.parts
def test_importing_the_catalogue_loads_nothing_heavy() -> None:
    code = f"import sys, steps.facts; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
