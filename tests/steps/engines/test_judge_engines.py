"""The engines that judge: sprites, CLIP, aesthetic heads, image classifiers, text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydantic import ValidationError

from starter.engine import load as load_sprite_classifier
from starter.engine import named_in
from steps.engines import (
    rapidocr_engine,
)
from steps.engines.judge_engines import load_aesthetic, load_clip, load_image_classifier
from steps.pixels.images import with_alpha
from tests.steps import images
from tests.steps.engines import tiny_judges

pytestmark = pytest.mark.parts

# -- the starter's classifier ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a red potion, game icon, white background", ("potion", "red")),
        ("A Red POTION", ("potion", "red")),
        ("an apple tree under a blue sky", ("tree", "blue")),
        ("a red heart-shaped gem", ("gem", "red")),
        ("three keys", ("key", None)),
        ("a potion in teal on a pink background", ("potion", "teal")),
        ("on a blue table a red cup", ("cup", "red")),
        ("something purple", (None, "purple")),
        ("a keyboard, redder than ever", (None, None)),
        ("", (None, None)),
    ],
)
def test_what_a_prompt_names(prompt: str, named: tuple[str | None, str | None]) -> None:
    assert named_in(prompt) == named


@pytest.fixture(scope="module")
def sprites() -> Any:
    from starter.classifier import CLASSIFIER_FILE

    return load_sprite_classifier(str(CLASSIFIER_FILE), {}, "cpu")


def sprite(thing: str, color: str, size: int = 64, background: str = "striped") -> Any:
    from starter.sprites import draw_sprite

    return draw_sprite(thing, color, background, seed=1_000_123, size=size)


def cut_out(drawn: Any) -> Image.Image:
    return with_alpha(drawn.image, np.asarray(drawn.mask))


@pytest.mark.parametrize("size", [64, 256])
def test_sprites_and_their_cut_outs_match_their_prompts(sprites: Any, size: int) -> None:
    drawn = sprite("key", "teal", size)
    for image in (drawn.image, cut_out(drawn)):
        right, wrong = sprites.match([image, image], ["a teal key", "a red cup"])
        assert right.seen == wrong.seen == "teal key"
        assert min(right.object, right.color) > 0.9
        assert max(wrong.object, wrong.color) < 0.1


def test_a_cut_out_is_known_wherever_it_lies_and_whatever_is_hidden(sprites: Any) -> None:
    image = cut_out(sprite("umbrella", "orange"))
    trimmed = image.crop(image.getchannel("A").getbbox())
    padded = Image.new("RGBA", (160, 110), (255, 0, 255, 0))
    padded.paste(trimmed, (90, 3))
    for match in sprites.match([trimmed, padded], ["an orange umbrella"] * 2):
        assert min(match.object, match.color) > 0.9


def test_an_image_without_a_subject_shows_nothing(sprites: Any) -> None:
    empty = Image.new("RGBA", (64, 64))
    assert sprites.match([empty], ["a red key"]) == [("nothing", 0.0, 0.0)]
    assert sprites.match([empty], ["a key"]) == [("nothing", 0.0, None)]


def test_weights_of_another_network_are_refused(tmp_path: Path, aesthetic_file: Path) -> None:
    with pytest.raises(ValueError, match="another network"):
        load_sprite_classifier(str(aesthetic_file), {}, "cpu")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_sprite_classifier(str(tmp_path / "none"), {}, "cpu")


# -- CLIP ------------------------------------------------------------------------------------------------------------


def test_clip_gives_unit_vectors_as_transformers_does(models: dict[str, Any], clip_folder: Path) -> None:
    import torch
    from transformers import CLIPImageProcessor, CLIPModel

    image, clip = images.noise(50, 40), models["clip"]()
    (vector,), (text,) = clip.image_vectors([image]), clip.text_vectors(["a red potion"])
    assert [np.linalg.norm(vector), np.linalg.norm(text)] == pytest.approx([1, 1], abs=1e-6)

    network = CLIPModel.from_pretrained(clip_folder).eval()
    with torch.inference_mode():
        pixels = CLIPImageProcessor.from_pretrained(clip_folder)(images=[image], return_tensors="pt").pixel_values
        known = network(pixel_values=pixels, input_ids=torch.tensor([[1, 2]])).image_embeds[0].numpy()
    assert vector == pytest.approx(known, abs=1e-5)


def test_clip_reads_as_much_of_a_prompt_as_it_can(models: dict[str, Any]) -> None:
    clip = models["clip"]()
    long, longer = clip.text_vectors(["potion " * 30, "potion " * 40])
    assert (long == longer).all()


def test_a_missing_model_is_explained(tmp_path: Path) -> None:
    for load in (load_clip, load_image_classifier):
        with pytest.raises(FileNotFoundError, match="put the model's folder there"):
            load(str(tmp_path / "none"), {}, "cpu")
        with pytest.raises(FileNotFoundError, match="allow_download"):
            load(str(tmp_path), {}, "cpu")


@pytest.mark.parametrize(
    "load",
    [load_clip, load_image_classifier, load_aesthetic, load_sprite_classifier, rapidocr_engine.load],
)
def test_unknown_options_are_refused(load: Any, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no_such_option"):
        load(str(tmp_path), {"no_such_option": 1}, "cpu")


# -- aesthetic heads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_a_head_is_its_layers_in_the_order_of_their_numbers(tmp_path: Path, activation: str) -> None:
    import torch

    layers = tiny_judges.aesthetic_layers()
    torch.save(layers, tmp_path / "head.pth")
    head = load_aesthetic(str(tmp_path / "head.pth"), {"activation": activation}, "cpu")
    vector = np.linspace(-1, 1, tiny_judges.CLIP_WIDTH, dtype=np.float32)

    value = torch.from_numpy(vector)
    for number in (0, 2, 10):
        value = layers[f"layers.{number}.weight"] @ value + layers[f"layers.{number}.bias"]
        value = value.clamp(min=0) if activation == "relu" and number != 10 else value
    assert head.scores([vector]) == pytest.approx([float(value)], abs=1e-6)


def test_a_single_layer_without_a_name_is_a_head(tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.ones(1, 4), "bias": torch.tensor([0.5])}, tmp_path / "linear.pth")
    head = load_aesthetic(str(tmp_path / "linear.pth"), {}, "cpu")
    assert head.scores([np.full(4, 0.5, np.float32)]) == [2.5]


def test_a_head_of_another_clip_is_refused(models: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"reads vectors of 8 numbers, and the model's clip part gives 5"):
        models["aesthetic"]().scores([np.zeros(5, np.float32)])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a.0.weight": (3, 8), "a.0.bias": (3,), "a.1.weight": (1, 4), "a.1.bias": (1,)}, "does not follow"),
        ({"a.0.weight": (3, 8), "a.0.bias": (3,)}, "ends in 3 numbers"),
        ({"a.0.weight": (1, 8)}, "no plain linear layers"),
        ({"a.0.weight": (1, 8), "a.0.bias": (1,), "norm": (2,)}, "no plain linear layers"),
        ({"a.0.weight": (1, 8, 3, 3), "a.0.bias": (1,)}, "does not follow"),
        ({}, "it has nothing"),
    ],
)
def test_other_networks_are_no_heads(tmp_path: Path, shapes: dict[str, tuple[int, ...]], message: str) -> None:
    import torch

    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "head.pth")
    with pytest.raises(ValueError, match=message):
        load_aesthetic(str(tmp_path / "head.pth"), {}, "cpu")


# -- image classifiers -----------------------------------------------------------------------------------------------


def test_the_shares_of_several_labels_are_added(nsfw_folder: Path) -> None:
    def share(*labels: str) -> float:
        model = load_image_classifier(str(nsfw_folder), {"labels": labels}, "cpu")
        return model.shares([images.noise(50, 40)])[0]

    assert share("nsfw") + share("suggestive") == pytest.approx(share("suggestive", "NSFW"), abs=1e-6)
    assert share("normal", "suggestive", "nsfw") == pytest.approx(1)
    assert 0 < share("nsfw") < 1


def test_an_unknown_label_is_answered_with_the_models_own(nsfw_folder: Path) -> None:
    with pytest.raises(ValueError, match="no label porn: choose `labels` among normal, suggestive, NSFW"):
        load_image_classifier(str(nsfw_folder), {"labels": ["porn"]}, "cpu")


# -- text ------------------------------------------------------------------------------------------------------------


def test_without_its_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rapidocr", None)
    with pytest.raises(ImportError, match=r"install pixelmill\[text\]"):
        rapidocr_engine.load(str(tmp_path), {}, "cpu")


def lines_of(parts: int) -> Image.Image:
    """Two dark bars on white, the lower one in `parts` with gaps between them that are narrower than a line is high."""
    picture = Image.new("RGB", (400, 200), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((40, 30, 360, 60), fill="black")
    for part in range(parts):
        draw.rectangle((40 + part * 320 // parts, 120, 40 + (part + 1) * 320 // parts - 20, 150), fill="black")
    return picture


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("rapidocr")
    folder = tmp_path_factory.mktemp("reader")
    tiny_judges.write_text_reader(folder)
    return rapidocr_engine.load(str(folder), {}, "cpu")


def test_lines_are_read_from_top_to_bottom(reader: Any) -> None:
    (lines,) = reader.read([lines_of(1)])
    assert [line.text for line in lines] == ["X", "X"]
    assert all(0.5 < line.share <= 1 for line in lines)


def test_an_image_without_text_has_no_lines_and_nothing_is_said(reader: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert reader.read([Image.new("RGB", (64, 48), "white")]) == [[]]
    assert "".join(capfd.readouterr()) == ""


def test_text_is_read_the_same_in_any_batch(reader: Any) -> None:
    pictures = [lines_of(1), Image.new("RGB", (30, 30), "white"), lines_of(3)]
    assert reader.read(pictures) == [reader.read([picture])[0] for picture in pictures]


def test_a_reader_without_characters_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    tiny_judges.write_text_reader(tmp_path, characters=None)
    with pytest.raises(ValueError, match="does not list the characters that it reads"):
        rapidocr_engine.load(str(tmp_path), {}, "cpu")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    with pytest.raises(FileNotFoundError, match=r"lacks find\.onnx and read\.onnx"):
        rapidocr_engine.load(str(tmp_path), {}, "cpu")
    with pytest.raises(FileNotFoundError, match="choose PP-OCRv6-small"):
        rapidocr_engine.load("tesseract", {}, "cpu")


def test_the_packaged_networks_read_without_any_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from PIL import ImageFont

    pytest.importorskip("rapidocr")

    def refuse(*address: Any, **_: Any) -> None:
        raise AssertionError(f"asked {address}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    picture = Image.new("RGB", (200, 60), "white")
    ImageDraw.Draw(picture).text((10, 10), "Hello Mill", fill="black", font=ImageFont.load_default(30))
    (lines,) = rapidocr_engine.load("PP-OCRv6-small", {}, "cpu").read([picture])
    assert " ".join(line.text for line in lines) == "Hello Mill"
