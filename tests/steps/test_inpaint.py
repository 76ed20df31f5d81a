"""inpaint: only the mask changes, and every kind of mask finds what it says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw
from pydantic import ValidationError

from steps.inpaint import Inpaint
from steps.pixels import masks
from steps.pixels.images import alpha_of
from tests.steps import images
from tests.support.step_context import Context

pytestmark = pytest.mark.parts


def square_mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def pixels(image: Image.Image) -> Any:
    return np.asarray(image).astype(int)


def inpaint(image: Image.Image, context: Context, item_mask: Image.Image | None = None, **fields: Any) -> Any:
    step = Inpaint(model="tiny", steps=2, **fields)
    return step.run([images.frame(image=image, files={"mask": item_mask} if item_mask else {})], context)[0]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(32, 32), (37, 45), (9, 50)])
def test_pixels_outside_the_mask_are_exactly_the_original(size: tuple[int, int], mode: str, context: Context) -> None:
    image = images.noise(*size, mode)
    mask = square_mask(size, (3, 5, 8, 20))
    result = inpaint(image, context, mask)
    outside = np.asarray(mask) == 0

    assert result.image.size == size
    assert result.image.mode == mode
    assert (pixels(result.image)[outside] == pixels(image)[outside]).all()
    assert (pixels(result.image)[~outside] != pixels(image)[~outside]).any(axis=-1).mean() > 0.9
    assert result.facts["masked_ratio"] == pytest.approx((~outside).mean(), abs=1e-6)
    assert (alpha_of(result.image)[~outside] == 255).all()


@given(grow=st.integers(0, 6), blur=st.integers(0, 6))
def test_grow_and_blur_reach_as_far_as_they_say_and_no_further(grow: int, blur: int) -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[18:22, 18:22] = True
    weight = masks.feather(masks.dilate(mask, grow), blur)
    y, x = np.mgrid[:40, :40]
    distance = np.hypot(np.clip(np.maximum(18 - x, x - 21), 0, None), np.clip(np.maximum(18 - y, y - 21), 0, None))

    assert (weight[distance <= grow] == 255).all()
    assert (weight[distance > grow + blur + 1] == 0).all()


def test_a_blurred_border_leaves_the_rest_exact(context: Context) -> None:
    image = images.noise(40, 40)
    mask = square_mask((40, 40), (16, 16, 24, 24))
    result = inpaint(image, context, mask, mask_grow=2, mask_blur=3)
    untouched = masks.feather(masks.dilate(np.asarray(mask) > 0, 2), 3) == 0
    assert (pixels(result.image)[untouched] == pixels(image)[untouched]).all()
    assert untouched.mean() > 0.5


def test_an_empty_mask_gives_the_image_back_without_a_model(context: Context) -> None:
    image = images.noise(20, 20)
    result = inpaint(image, context, Image.new("L", (20, 20)))
    assert result.image.tobytes() == image.tobytes()
    assert result.facts == {"masked_ratio": 0.0}
    assert result.warnings == (masks.SELECTS_NOTHING,)
    assert context.asked == []


def test_nothing_to_mend_is_no_warning(context: Context) -> None:
    assert inpaint(images.disc(32), context, mask="holes").warnings == ()


def test_empty_and_full_masks_share_a_micro_batch(context: Context) -> None:
    step = Inpaint(model="tiny", steps=2)
    image = images.noise(32, 32)
    some, none = square_mask((32, 32), (4, 4, 20, 20)), Image.new("L", (32, 32))
    frames = [images.frame(index, image, {"mask": mask}) for index, mask in enumerate([none, some, none, some])]
    results = step.run(frames, context)
    assert [result.facts["masked_ratio"] > 0 for result in results] == [False, True, False, True]
    assert results[3].image.tobytes() == step.run(frames[3:], context)[0].image.tobytes()


def test_holes_become_opaque_and_the_background_stays(context: Context) -> None:
    image = images.disc(64, hole=8)
    result = inpaint(image, context, mask="holes")
    center, corner = result.image.getpixel((32, 32)), result.image.getpixel((0, 0))
    assert center[3] == 255
    assert corner == image.getpixel((0, 0))
    hole = masks.enclosed(alpha_of(image) < 255)
    assert (alpha_of(result.image)[hole] == 255).all()  # no soft rim is left around it
    assert (pixels(result.image)[~hole] == pixels(image)[~hole]).all()


def test_what_a_hole_hid_does_not_show_in_what_fills_it(context: Context) -> None:
    first, second = (images.disc(64, hole=8, under=under) for under in (0, 255))
    fills = [inpaint(image, context, mask="holes", strength=0.5).image for image in (first, second)]
    hole = masks.enclosed(alpha_of(first) < 255)
    assert (pixels(fills[0])[hole] == pixels(fills[1])[hole]).all()


def test_background_paints_behind_the_subject(context: Context) -> None:
    image = images.disc(64, hole=8)
    result = inpaint(image, context, mask="background")
    subject = alpha_of(image) == 255
    assert result.image.mode == "RGB"
    assert (pixels(result.image)[subject] == pixels(image)[subject][:, :3]).all()
    assert result.facts["masked_ratio"] == pytest.approx((~subject).mean(), abs=1e-6)


def test_background_keeps_soft_edges_soft(context: Context) -> None:
    image = images.disc(64, color=(255, 0, 0))
    result = pixels(inpaint(image, context, mask="background").image)
    painted = pixels(inpaint(images.disc(64, color=(0, 0, 255)), context, mask="background").image)
    soft = (alpha_of(image) > 100) & (alpha_of(image) < 156)
    assert (np.abs(result - painted)[soft].max(axis=1) < 170).all()  # each shows about half of its own subject
    assert (np.abs(result - painted)[soft].max(axis=1) > 90).all()


def test_background_of_an_opaque_image_is_nothing(context: Context) -> None:
    assert inpaint(images.noise(16, 16), context, mask="background").facts == {"masked_ratio": 0.0}
    assert context.asked == []


def test_alpha_paints_what_is_transparent_enough(context: Context) -> None:
    pixels_in = np.full((32, 32, 4), 200, dtype=np.uint8)
    pixels_in[:, :16, 3] = 100
    result = inpaint(Image.fromarray(pixels_in), context, mask="alpha", threshold=0.5)
    assert (alpha_of(result.image)[:, :16] == 255).all()
    assert (pixels(result.image)[:, 16:] == pixels_in[:, 16:]).all()


def test_small_holes_stay() -> None:
    alpha = np.full((20, 20), 255, dtype=np.uint8)
    alpha[3:5, 3:5] = 0
    alpha[10:15, 10:15] = 0
    found = masks.holes(alpha, 0.5, 5)
    assert not found[3, 3]
    assert found[12, 12]
    assert found.sum() == 25


def test_a_hole_open_to_the_side_is_background() -> None:
    alpha = np.full((20, 20), 255, dtype=np.uint8)
    alpha[8:12, :12] = 0
    assert not masks.holes(alpha, 0.5, 1).any()


def test_a_diagonal_line_encloses() -> None:
    alpha = np.zeros((9, 9), dtype=np.uint8)
    for step in range(4):
        for x, y in ((4 + step, step + 1), (4 - step, step + 1), (4 + step, 7 - step), (4 - step, 7 - step)):
            alpha[y, x] = 255
    assert masks.holes(alpha, 0.5, 1)[4, 4]
    assert not masks.holes(alpha, 0.5, 1)[0, 0]


@given(
    mask=arrays.arrays(bool, st.tuples(st.integers(1, 5).map(lambda n: 4 * n), st.integers(1, 5).map(lambda n: 4 * n)))
)
def test_blocks_cover_the_mask_and_touch_nothing_far(mask: Any) -> None:
    blocks = masks.to_blocks(mask, 4)
    assert (blocks >= mask).all()
    for top in range(0, mask.shape[0], 4):
        for left in range(0, mask.shape[1], 4):
            tile = (slice(top, top + 4), slice(left, left + 4))
            assert blocks[tile].all() == blocks[tile].any() == mask[tile].any()


def test_same_seed_same_pixels_in_any_micro_batch(context: Context) -> None:
    step = Inpaint(model="tiny", steps=2, mask="holes")
    frames = [images.frame(index, images.disc(32, hole=4 + index % 2)) for index in range(8)]
    alone = [step.run([frame], context)[0].image.tobytes() for frame in frames]
    assert [result.image.tobytes() for result in step.run(frames, context)] == alone
    backwards = step.run(frames[::-1], context)[::-1]
    assert [result.image.tobytes() for result in backwards] == alone


def test_one_set_of_weights_serves_all_tasks(models: dict[str, Any]) -> None:
    model = models["diffusion"]()
    inpaint, text_to_image, image_to_image = map(model.pipeline, ("inpaint", "text_to_image", "image_to_image"))
    assert inpaint.unet is text_to_image.unet is image_to_image.unet
    assert inpaint.scheduler is not text_to_image.scheduler


def test_item_problems() -> None:
    step = Inpaint(model="tiny")
    assert len(step.item_problems(images.item(prompt=None))) == 2
    assert step.item_problems(images.item(mask="/m.png")) == []
    assert Inpaint(model="tiny", mask="holes").item_problems(images.item()) == []


def test_strength_that_paints_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="raise strength"):
        Inpaint(model="tiny", steps=3, strength=0.2)
