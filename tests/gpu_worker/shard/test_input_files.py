"""What an item's input file is goes along to its final image, or is told of."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import ExifTags, Image
from typing_extensions import override

from configs.documents.fields import Item
from configs.documents.notes import Notes
from steps.contract import Frame, Step, StepContext, StepResult, Transform
from steps.convert import Convert
from steps.load import CUT_OFF, MORE_FRAMES, Load
from steps.transform import Pad
from storage.images.images import decode
from storage.ledger.records import ItemState
from tests.support.mill import Mill, resolved

PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 255, (60, 80, 3), dtype=np.uint8))


class Divide(Transform):
    """A step that a library fails."""

    version: ClassVar[int] = 9

    @override
    def transform(self, image: Image.Image) -> StepResult:
        return StepResult(Image.fromarray(np.asarray(image).reshape(7)))


class Bare(Step):
    """Gives images that came from nowhere, as numpy makes them."""

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        return [StepResult(Image.new("RGB", (9, 9))) for _ in frames]


def saved(folder: Path, format: str, name: str = "photo", cut: int = 0, **options: Any) -> Path:
    file = BytesIO()
    PICTURE.save(file, format, **options)
    path = folder / f"{name}.{format.lower()}"
    path.write_bytes(file.getvalue()[: len(file.getvalue()) - cut])
    return path


def mill(folder: Path, image: Path, *steps: Step, streams: bool | None = None) -> Mill:
    named = [resolved(f"s{at}", step) for at, step in enumerate(steps)]
    made = Mill(folder, named, [Item(index=0, name="photo", seed=0, image=str(image))], streams=streams)
    made.run()
    return made


def end_of(made: Mill) -> tuple[ItemState, str | None, tuple[str, ...]]:
    (report,) = made.reports()
    return report.record.state, report.record.error, report.record.warnings


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("format", ["png", "webp", "jpeg", "avif"])
def test_copyright_artist_and_resolution_come_through_all_steps_to_the_final_image(
    tmp_path: Path, format: Any, streams: bool
) -> None:
    """Also where the steps' images are read from the store again."""
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright], exif[ExifTags.Base.Artist] = b"Ann, 2026", b"Ann"
    photo = saved(tmp_path, "JPEG", exif=exif, dpi=(300, 300))
    steps = (Load(), Pad(margin=2, color="red"), Bare(), Convert(format=format))
    finals = mill(tmp_path, photo, *steps, streams=streams).finals().values()
    found = [Notes.of(decode(data, max_pixels=10_000)) for data in finals]
    assert found == [Notes("Ann, 2026", "Ann", dpi=(300.0, 300.0))]


def test_other_frames_of_an_animation_are_warned_of(tmp_path: Path) -> None:
    animation = saved(tmp_path, "GIF", save_all=True, append_images=[PICTURE.rotate(90)])
    assert end_of(mill(tmp_path, animation, Load())) == (ItemState.DONE, None, (f"s0: {MORE_FRAMES}",))


def test_a_jpeg_without_its_end_fails_its_item_and_names_the_parameter_that_takes_it(tmp_path: Path) -> None:
    cut = saved(tmp_path, "JPEG", cut=2, progressive=True)
    state, error, _ = end_of(mill(tmp_path, cut, Load()))
    assert state is ItemState.FAILED
    assert error is not None
    assert "`damaged: accept`" in error


def test_a_jpeg_without_its_end_is_taken_with_a_warning_where_that_is_wanted(tmp_path: Path) -> None:
    cut = saved(tmp_path, "JPEG", cut=2, progressive=True)
    made = mill(tmp_path, cut, Load(damaged="accept"))
    assert end_of(made) == (ItemState.DONE, None, (f"s0: {CUT_OFF}",))
    (final,) = made.finals().values()
    whole = decode(saved(tmp_path, "JPEG", "whole", progressive=True).read_bytes(), max_pixels=10_000)
    assert np.array_equal(np.asarray(decode(final, max_pixels=10_000)), np.asarray(whole))


def test_what_a_library_raises_says_what_it_was_given_and_what_can_be_changed(tmp_path: Path) -> None:
    state, error, _ = end_of(mill(tmp_path, saved(tmp_path, "PNG"), Load(), Divide()))
    assert state is ItemState.FAILED
    assert error is not None
    assert error.startswith("the step cannot work with this image of 80 x 60 pixels: ValueError: cannot reshape")
    assert "other parameters" in error


def test_what_a_step_says_itself_stays_as_it_is(tmp_path: Path) -> None:
    _, error, _ = end_of(mill(tmp_path, saved(tmp_path, "PNG"), Load(), Pad(margin=16_384)))
    assert error is not None
    assert error.startswith("ValueError: the result would have")


def test_an_image_that_its_format_cannot_hold_fails_its_item_with_the_limit(tmp_path: Path) -> None:
    wide = Pad(width=16_384, color="red")
    state, error, _ = end_of(mill(tmp_path, saved(tmp_path, "PNG"), Load(), wide, Convert(format="webp")))
    assert state is ItemState.FAILED
    assert error is not None
    assert error.startswith("webp holds at most 16,383 pixels a side")


class Wordy(Transform):
    """A step that needs many words."""

    @override
    def identity(self, item: Item) -> dict[str, Any]:
        return {"words": "fox " * 20_000}

    @override
    def transform(self, image: Image.Image) -> StepResult:
        return StepResult(image)


def test_a_recipe_that_a_jpeg_does_not_hold_is_a_warning_of_the_item(tmp_path: Path) -> None:
    photo = saved(tmp_path, "PNG")
    state, _, warnings = end_of(mill(tmp_path, photo, Load(), Wordy(), Convert(format="jpeg")))
    assert state is ItemState.DONE
    assert warnings == ("s2: the recipe did not fit into the JPEG's metadata; png, webp and avif hold more",)
