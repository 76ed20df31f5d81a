"""generate: the same seed gives the same image, and items are checked before any work."""

import random
from io import BytesIO
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from configs.documents.fields import MAX_SEED
from steps.diffusion import SCHEDULERS, SchedulerName
from steps.generate import Generate
from tests.steps import images
from tests.support.step_context import Context

pytestmark = pytest.mark.parts


def png(image: Any) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def paint(step: Generate, indices: list[int], size: int, context: Context, **fields: Any) -> dict[int, bytes]:
    """Item index -> PNG, computed in the order of `indices`, `size` at a time."""
    pngs = {}
    for start in range(0, len(indices), size):
        frames = [images.frame(index, image=fields.get("image")) for index in indices[start : start + size]]
        for frame, result in zip(frames, step.run(frames, context), strict=True):
            pngs[frame.item.index] = png(result.image)
    return pngs


@pytest.mark.parametrize("scheduler", [None, "euler_ancestral"])
def test_same_seed_same_png_whatever_the_micro_batch_and_order(scheduler: Any, context: Context) -> None:
    step = Generate(model="tiny", steps=2, scheduler=scheduler)
    indices = list(range(8))
    alone = paint(step, indices, 1, context)
    shuffled = random.Random(7).sample(indices, 8)

    assert paint(step, indices, 3, context) == alone
    assert paint(step, shuffled, 3, context) == alone
    assert paint(step, shuffled, 8, context) == alone
    assert len(set(alone.values())) == 8


def test_same_seed_same_png_from_an_image(context: Context) -> None:
    step = Generate(model="tiny", steps=4, from_image=True, strength=0.5)
    start = images.noise(37, 45)
    alone = paint(step, list(range(8)), 1, context, image=start)
    assert paint(step, [5, 3, 7, 0, 1, 6, 2, 4], 8, context, image=start) == alone


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_schedulers_keep_to_the_item(name: SchedulerName, context: Context) -> None:
    step = Generate(model="tiny", steps=3, scheduler=name)
    assert paint(step, [0, 1], 2, context) == paint(step, [1, 0], 1, context)


def test_every_scheduler_name_has_a_class() -> None:
    import diffusers

    assert set(SCHEDULERS) == set(get_args(SchedulerName))
    assert all(hasattr(diffusers, name) for name in SCHEDULERS.values())


def test_the_size_is_kept(context: Context) -> None:
    result = Generate(model="tiny", steps=1, width=40, height=24).run([images.frame()], context)[0]
    assert result.image.size == (40, 24)
    from_image = Generate(model="tiny", steps=2, strength=0.5, from_image=True)
    assert from_image.run([images.frame(image=images.noise(37, 21))], context)[0].image.size == (37, 21)


def test_from_image_keeps_more_at_less_strength(context: Context) -> None:
    """Two starts end the further apart, the less may change."""
    differences = []
    for strength in (0.2, 1.0):
        step = Generate(model="tiny", steps=5, guidance=1, from_image=True, strength=strength)
        frames = [images.frame(image=Image.new("RGB", (32, 32), color), seed=1) for color in ("black", "white")]
        black, white = (np.asarray(result.image, dtype=float) for result in step.run(frames, context))
        differences.append(np.abs(black - white).mean())
    assert differences[0] > differences[1]


def test_the_item_s_input_image_serves_when_there_is_none_yet(context: Context) -> None:
    step = Generate(model="tiny", steps=2, strength=0.5, from_image=True)
    start = images.noise(32, 32)
    assert step.item_files(images.item(image="/a.png")) == ("image",)
    from_file = step.run([images.frame(files={"image": start})], context)[0]
    assert from_file.image.tobytes() == step.run([images.frame(image=start)], context)[0].image.tobytes()


def test_items_without_a_prompt_are_refused_unless_the_template_needs_none() -> None:
    for prompt in (None, "", "  "):
        problems = Generate(model="tiny").item_problems(images.item(prompt=prompt))
        assert len(problems) == 1
        assert "prompt" in problems[0]
    assert Generate(model="tiny", prompt="a {name}").item_problems(images.item(prompt=None)) == []


def test_unknown_placeholders_are_problems_all_at_once() -> None:
    step = Generate(model="tiny", prompt="{prompt}, {style} of {era}", negative_prompt="{bad}")
    problems = step.item_problems(images.item(vars={"style": "oil"}))
    assert [name for name in ("style", "era", "bad") if any(f"'{name}'" in problem for problem in problems)] == [
        "era",
        "bad",
    ]


def test_a_prompt_too_long_is_refused() -> None:
    step = Generate(model="tiny")
    assert step.item_problems(images.item(prompt="x" * 10_000)) == []
    assert "10,000" in step.item_problems(images.item(prompt="x" * 10_001))[0]


def test_identity_holds_what_the_item_brings() -> None:
    step = Generate(model="tiny", prompt="{prompt}, {style}", seed_offset=2)
    identity = step.identity(images.item(seed=5, vars={"style": "oil"}, negative_prompt="text"))
    assert identity["prompt"] == "a red potion on white background, oil"
    assert identity["negative_prompt"] == "text"
    assert identity["seed"] == 7
    assert "strength" not in identity  # not read without from_image


@pytest.mark.parametrize(
    ("seed", "wide", "used"),
    [
        (5, False, 6),
        (2**32 - 1, False, 0),
        (2**32, False, 2**32 + 1),
        (2**32 - 1, True, 2**32),
        (2**40, True, 2**40 + 1),
    ],
)
def test_an_offset_takes_no_seed_out_of_the_numbers_that_every_program_can_hold(
    seed: int, wide: bool, used: int
) -> None:
    """Those that were given larger, and those of items of earlier versions, stay as they are."""
    item = images.item(seed=seed).model_copy(update={"wide_seeds": wide})
    assert Generate(model="tiny", seed_offset=1).identity(item)["seed"] == used


def test_the_largest_seed_still_works(context: Context) -> None:
    step = Generate(model="tiny", steps=1, seed_offset=1)
    assert step.identity(images.item(seed=MAX_SEED))["seed"] == 0
    assert Generate(model="tiny", steps=1).run([images.frame(seed=MAX_SEED)], context)[0].image.size == (32, 32)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 15},
        {"width": 20},
        {"height": 4104},
        {"steps": 0},
        {"steps": 201},
        {"guidance": -1},
        {"guidance": float("nan")},
        {"strength": 1.1},
        {"scheduler": "sde"},
        {"from_image": True, "steps": 2, "strength": 0.4},
        {"prompt": "{prompt.__class__}"},
        {"prompt": "{vars[a]}"},
        {"prompt": "{prompt!r}"},
        {"prompt": "{prompt:>10}"},
        {"prompt": "{}"},
        {"prompt": "{prompt"},
        {"background": "nocolor"},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Generate.model_validate({"model": "tiny", **wrong})


@given(prompt=st.text(min_size=1).filter(str.strip), style=st.text())
def test_values_are_filled_in_once_and_as_they_are(prompt: str, style: str) -> None:
    step = Generate(model="tiny", prompt="{{x}} {prompt} {style}")
    resolved = step.identity(images.item(prompt=prompt, vars={"style": style}))["prompt"]
    assert resolved == "{x} " + prompt + " " + style


def test_a_truncated_prompt_is_a_fact(context: Context) -> None:
    step = Generate(model="tiny", steps=1)
    results = step.run([images.frame(0, prompt="ab"), images.frame(1, prompt="ab " * 20)], context)
    assert [result.facts["prompt_truncated"] for result in results] == [False, True]
