"""`pixelmill reproduce`: verdict, exit status, and nothing of an image's text that a terminal would obey."""

import json
from pathlib import Path

import pytest
from PIL import Image

from storage.images.images import read_recipe
from storage.images.png_recipe import ImageRecipe, png_chunks
from tests.support.command import Pixelmill, PixelmillHere
from tests.support.finished_images import labeled, mark, marked
from tests.support.without_torch import command, run


@pytest.fixture
def pixelmill(tmp_path: Path) -> Pixelmill:
    return PixelmillHere(tmp_path)


def altered(original: Path) -> Path:
    recipe = read_recipe(original.read_bytes())
    assert recipe is not None
    with Image.open(original) as image:
        picture = image.copy()
    picture.putpixel((0, 0), (3, 2, 1, 4))
    picture.save(original.with_name("altered.png"), pnginfo=png_chunks(recipe))
    return original.with_name("altered.png")


def test_an_identical_image(tmp_path: Path, original: Path) -> None:
    pixelmill = PixelmillHere(tmp_path, {"PIXELMILL_HOME": str(tmp_path / "fresh")})
    result = pixelmill("reproduce", str(original), "--input", "photo.png", "--save", "again.png", "--json")
    assert result.status == 0, result.err
    assert result.document["verdict"] == "identical"
    assert result.document["pixels"]["differing"] == 0
    assert (pixelmill.folder / "again.png").read_bytes() == original.read_bytes()
    assert not (tmp_path / "fresh" / "ledger.db").exists()


def test_a_different_image(pixelmill: Pixelmill, original: Path) -> None:
    other = str(altered(original))
    result = pixelmill("reproduce", other, "--input", "photo.png")
    assert result.status == 1
    assert "1 of 546 pixels (26 x 21) differ, by at most 4 of 255" in result.out
    near = pixelmill("reproduce", other, "--input", "photo.png", "--tolerance", "4", "--json")
    assert (near.status, near.document["verdict"]) == (0, "within tolerance")
    assert near.document["pixels"]["largest"] == [3, 2, 1, 4]


def test_an_image_that_cannot_be_rebuilt(pixelmill: Pixelmill, original: Path) -> None:
    result = pixelmill("reproduce", str(original), "--input", "nowhere.png", "--json")
    assert result.status == 2
    assert result.document["verdict"] == "cannot be rebuilt"
    assert len(result.document["errors"]) == 2
    assert "SHA-256" in result.err and "nowhere.png" in result.err
    plain = pixelmill("reproduce", str(original))
    assert (plain.status, plain.out.strip()) == (2, "cannot be rebuilt")


def test_a_terminal_obeys_nothing_in_an_image(pixelmill: Pixelmill) -> None:
    escape = "\x1b]0;mine\x07\x1b[2J[bold red]\u202e"
    hostile = marked(pixelmill.folder / "hostile.png", ImageRecipe((mark(escape, {"x": escape}, escape),)))
    for arguments in ((), ("--json",)):
        result = pixelmill("reproduce", str(hostile), *arguments)
        assert result.status == 2
        assert not {"\x1b", "\x07", "\u202e"} & set(result.out + result.err)
        assert "[bold red]" in result.err
    text = json.dumps({"format": 1, "steps": [{"step": "load"}] * 5000})
    assert pixelmill("reproduce", str(labeled(pixelmill.folder / "many.png", text))).status == 2


@pytest.mark.parts
def test_no_torch_is_needed_for_steps_without_models(tmp_path: Path, original: Path) -> None:
    done = run(command("reproduce", str(original), "--input", str(tmp_path / "photo.png")), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("identical")


@pytest.mark.parts
def test_steps_with_models_say_what_to_install(tmp_path: Path) -> None:
    drawn = mark("generate", {"model": "starter", "prompt": "a key", "seed": 1}, diffusion="d" * 64)
    image = marked(tmp_path / "drawn.png", ImageRecipe((drawn,)))
    done = run(command("reproduce", str(image)), tmp_path)
    assert done.returncode == 2
    assert "pixelmill[worker]" in done.stderr
