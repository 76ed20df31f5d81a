"""An image is made again from what its file says, and told from any other."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.documents.problems import InvalidInput
from flows.cli.reproduce import describe_reproduction, exit_status, reproduction_document
from flows.reproduce import reproduce as module
from flows.reproduce.plan import CannotReproduce
from flows.reproduce.reproduce import Reproduction, ReproductionResult, pixel_difference, reproduce
from steps.contract import StepResult
from steps.transform import Pad
from storage.images.images import encode, read_recipe
from storage.images.png_recipe import ImageRecipe, png_chunks
from storage.objects.keys import sha256_hex
from tests.support.finished_images import TRANSFORMS, finished, mark, marked, photo, settings_for


def again(
    image: Path, *inputs: Path, tolerance: int = 0, save: Path | None = None, log: Any = None, **settings: object
) -> Reproduction:
    return reproduce(
        str(image),
        inputs=[str(path) for path in inputs],
        tolerance=tolerance,
        save=save,
        settings=settings_for(image.parent, **settings),
        log=log or (lambda stage: None),
    )


def mistakes(image: Path, *inputs: Path, **arguments: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        again(image, *inputs, **arguments)
    return [str(problem) for problem in refused.value.problems]


def rewritten(image: Path, recipe: ImageRecipe | None = None, pixel: tuple[int, ...] | None = None) -> Path:
    """The image with another recipe, or with its first pixel's channels moved."""
    with Image.open(image) as opened:
        picture = opened.copy()
    if pixel is not None:
        old = picture.getpixel((0, 0))
        assert isinstance(old, tuple)
        picture.putpixel((0, 0), tuple((a + b) % 256 for a, b in zip(old, pixel, strict=True)))
    told = recipe or read_recipe(image.read_bytes())
    assert told is not None
    picture.save(image.with_name("other.png"), pnginfo=png_chunks(told))
    return image.with_name("other.png")


def test_the_same_machine_makes_the_same_file(original: Path, tmp_path: Path) -> None:
    done = again(original, photo(tmp_path), save=tmp_path / "again.png")
    assert done.verdict is ReproductionResult.IDENTICAL
    assert done.differences == ()
    assert (tmp_path / "again.png").read_bytes() == original.read_bytes()


def test_what_a_lossy_file_lost_later_steps_do_not_see(tmp_path: Path) -> None:
    lossy = {"step": "convert", "format": "jpeg", "quality": 20}
    image = finished(tmp_path, [*TRANSFORMS, lossy, {"step": "resize", "width": 50}], image=str(photo(tmp_path)))
    assert again(image, photo(tmp_path)).verdict is ReproductionResult.IDENTICAL


@pytest.mark.parametrize("convert", [{"format": "webp"}, {"format": "avif"}, {"format": "jpeg"}], ids=str)
def test_other_formats_are_read_and_made_again(tmp_path: Path, convert: dict[str, str]) -> None:
    image = finished(tmp_path, [*TRANSFORMS, {"step": "convert", **convert}], image=str(photo(tmp_path)))
    done = again(image, photo(tmp_path), save=tmp_path / f"again{image.suffix}")
    assert done.verdict is ReproductionResult.IDENTICAL
    assert (tmp_path / f"again{image.suffix}").read_bytes() == image.read_bytes()


def test_one_pixel_off_by_one_is_another_image(original: Path, tmp_path: Path) -> None:
    other = rewritten(original, pixel=(0, 1, 0, 0))
    done = again(other, photo(tmp_path))
    assert done.verdict is ReproductionResult.DIFFERENT
    assert done.pixels is not None
    assert (done.pixels.differing, done.pixels.largest) == (1, (0, 1, 0, 0))
    assert again(other, photo(tmp_path), tolerance=1).verdict is ReproductionResult.WITHIN_TOLERANCE


def test_an_image_of_another_size_is_another_image(original: Path, tmp_path: Path) -> None:
    with Image.open(original) as opened:
        cut = opened.crop((0, 0, 10, 10))
    recipe = read_recipe(original.read_bytes())
    assert recipe is not None
    (tmp_path / "cut.png").write_bytes(encode(cut, format="png", quality=90, lossless=True, recipe=recipe).data)
    done = again(tmp_path / "cut.png", photo(tmp_path), tolerance=255)
    assert (done.verdict, done.pixels) == (ReproductionResult.DIFFERENT, None)
    assert reproduction_document(done)["size"] == {"then": [10, 10], "here": [26, 21]}


def test_newer_code_is_named_as_what_differs(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pad, "version", 2)
    monkeypatch.setattr(Pad, "transform", lambda step, image: StepResult(image.rotate(180)))
    done = again(original, photo(tmp_path))
    assert done.verdict is ReproductionResult.DIFFERENT
    assert [(each.kind, each.then, each.here) for each in done.differences] == [("version", "1", "2")]


def test_other_versions_are_named_as_what_differs(original: Path, tmp_path: Path) -> None:
    recipe = read_recipe(original.read_bytes())
    assert recipe is not None
    told = {**recipe.made_with, "pillow": "11.0.0", "gone": "1.0", "device": "A\x1b[2JGPU"}
    done = again(rewritten(original, replace(recipe, made_with=told)), photo(tmp_path))
    assert done.verdict is ReproductionResult.IDENTICAL
    found = {each.name: (each.kind, each.then, each.here) for each in done.differences}
    assert found == {
        "pillow": ("software", "11.0.0", recipe.made_with["pillow"]),
        "gone": ("software", "1.0", None),
        "device": ("device", "A\ufffd[2JGPU", None),
    }


def test_an_image_that_does_not_say_what_it_was_made_with(original: Path, tmp_path: Path) -> None:
    recipe = read_recipe(original.read_bytes())
    assert recipe is not None
    done = again(rewritten(original, ImageRecipe(recipe.steps)), photo(tmp_path))
    assert done.verdict is ReproductionResult.IDENTICAL
    assert done.differences == ()
    assert reproduction_document(done)["made_with"]["then"] is None
    assert "does not record" in _text(done)


def _text(done: Reproduction) -> str:
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as captured:
        console.print(describe_reproduction(done))
    return captured.get()


def test_inputs_are_known_by_their_bytes_and_not_by_their_names(original: Path, tmp_path: Path) -> None:
    shutil.copy(photo(tmp_path), tmp_path / "renamed.dat")
    other = photo(tmp_path, "other.png", "blue")
    done = again(original, other, tmp_path / "renamed.dat")
    assert done.verdict is ReproductionResult.IDENTICAL
    assert done.unused == (str(other),)


def test_every_mistake_is_told_at_once_and_nothing_written(original: Path, tmp_path: Path) -> None:
    save = tmp_path / "there.png"
    save.write_bytes(b"mine")
    said = mistakes(original, tmp_path / "nowhere.png", save=save)
    assert len(said) == 3
    assert "nowhere.png" in said[0]
    assert "not written over" in said[1]
    assert "SHA-256" in said[2] and "--input" in said[2]
    assert save.read_bytes() == b"mine"


def test_a_file_that_came_meanwhile_is_not_written_over(original: Path, tmp_path: Path) -> None:
    save = tmp_path / "again.png"

    def somebody(stage: str) -> None:
        save.write_bytes(b"theirs")

    with pytest.raises(InvalidInput, match="not written over"):
        reproduce(
            str(original),
            inputs=[str(photo(tmp_path))],
            tolerance=0,
            save=save,
            settings=settings_for(tmp_path),
            log=lambda stage: somebody(stage) if stage == "comparing" else None,
        )
    assert save.read_bytes() == b"theirs"


def test_a_name_of_another_format_is_refused(original: Path, tmp_path: Path) -> None:
    assert mistakes(original, photo(tmp_path), save=tmp_path / "again.jpg") == [
        f"{tmp_path / 'again.jpg'}: --save: the image is a PNG: choose a name that ends in .png"
    ]


def test_images_without_a_recipe_and_files_without_an_image(tmp_path: Path) -> None:
    assert "no recipe" in mistakes(photo(tmp_path))[0]
    (tmp_path / "text.png").write_text("hello")
    assert "no image" in mistakes(tmp_path / "text.png")[0]
    assert "not there" in mistakes(tmp_path / "nowhere.png")[0]


@pytest.mark.parametrize("length", [40, 200, 350, -30])
def test_a_truncated_image_is_refused(original: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "half.png").write_bytes(original.read_bytes()[:length])
    assert len(mistakes(tmp_path / "half.png", photo(tmp_path))) == 1


def test_an_image_on_the_way_has_bounds(tmp_path: Path) -> None:
    file = photo(tmp_path)
    load = mark("load", {}, sha256_hex(file.read_bytes()))
    large = mark("pad", {"margin": 2000}, load.fingerprint)
    small = mark("resize", {"width": 8, "height": 8}, large.fingerprint)
    bomb = marked(tmp_path / "bomb.png", ImageRecipe((load, large, small)))
    with pytest.raises(CannotReproduce, match="PIXELMILL_MAX_PIXELS"):
        again(bomb, file, max_pixels=1_000_000)
    assert again(bomb, file).verdict is ReproductionResult.DIFFERENT
    beyond = mark("pad", {"margin": 16384}, load.fingerprint)
    with pytest.raises(CannotReproduce, match="more than 178,956,970"):
        again(marked(tmp_path / "bomb.png", ImageRecipe((load, beyond))), file)


def test_a_step_that_fails_is_named(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_text("no image")
    image = marked(tmp_path / "x.png", ImageRecipe((mark("load", {}, sha256_hex(file.read_bytes())),)))
    with pytest.raises(CannotReproduce, match=r"x\.png: step 1 \(load\): This is a text"):
        again(image, file)


def test_exit_statuses() -> None:
    assert [exit_status(verdict) for verdict in ReproductionResult] == [0, 0, 1, 2]


def test_each_stage_is_told(original: Path, tmp_path: Path) -> None:
    said: list[str] = []
    again(original, photo(tmp_path), log=said.append)
    assert said[:2] == ["reading", "looking for its models"]
    assert _in_order(["step 1 (load)", "step 2 (resize)", "step 3 (pad)", "comparing"], said)


def _in_order(wanted: Sequence[str], said: Sequence[str]) -> bool:
    places = [said.index(stage) for stage in wanted]
    return places == sorted(places)


# -- how far two images are apart -------------------------------------------------------------------------------------
def test_equal_images_do_not_differ() -> None:
    image = Image.new("RGB", (5, 4), "teal")
    found = pixel_difference(image, image.copy())
    assert found is not None
    assert (found.channels, found.pixels, found.differing, found.worst) == ("RGB", 20, 0, 0)


def test_one_pixel_off_by_one_is_seen() -> None:
    image = Image.new("RGB", (5, 4), (10, 20, 30))
    other = image.copy()
    other.putpixel((4, 3), (10, 19, 30))
    found = pixel_difference(image, other)
    assert found is not None
    assert (found.differing, found.largest) == (1, (0, 1, 0))
    assert found.mean == (0, 1 / 20, 0)


def test_an_image_without_alpha_is_opaque() -> None:
    found = pixel_difference(Image.new("RGB", (2, 2), "red"), Image.new("RGBA", (2, 2), (255, 0, 0, 250)))
    assert found is not None
    assert (found.channels, found.largest) == ("RGBA", (0, 0, 0, 5))


def test_colors_under_transparent_pixels_count() -> None:
    found = pixel_difference(Image.new("RGBA", (2, 2), (1, 0, 0, 0)), Image.new("RGBA", (2, 2), (9, 0, 0, 0)))
    assert found is not None
    assert found.largest == (8, 0, 0, 0)


def test_images_of_other_sizes_cannot_be_compared() -> None:
    assert pixel_difference(Image.new("RGB", (2, 3)), Image.new("RGB", (3, 2))) is None


@pytest.mark.parametrize("band", [1, 7, 16, 1000])
def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    monkeypatch.setattr(module, "_BAND_PIXELS", band)
    rng = np.random.default_rng(1)
    one, other = (rng.integers(0, 256, (9, 7, 3), dtype=np.uint8) for _ in range(2))
    found = pixel_difference(Image.fromarray(one), Image.fromarray(other))
    apart = np.abs(one.astype(int) - other)
    assert found is not None
    assert found.largest == tuple(apart.max(axis=(0, 1)))
    assert found.mean == pytest.approx(tuple(apart.mean(axis=(0, 1))))
    assert found.differing == np.count_nonzero(apart.any(axis=2))


def test_a_jpeg_that_had_no_room_for_its_recipe_is_told_from_a_foreign_one(tmp_path: Path) -> None:
    recipe = ImageRecipe((mark("generate", {"prompt": "fox " * 20_000}),))
    file = encode(Image.new("RGB", (8, 8)), format="jpeg", quality=90, lossless=False, recipe=recipe)
    (tmp_path / "full.jpg").write_bytes(file.data)
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.jpg")
    (lost,), (foreign,) = mistakes(tmp_path / "full.jpg"), mistakes(tmp_path / "foreign.jpg")
    assert "its recipe is longer than a JPEG holds" in lost
    assert "carries no recipe" in foreign
