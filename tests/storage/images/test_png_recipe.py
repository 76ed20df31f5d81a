"""What an image file says of itself."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from configs.documents.notes import Notes
from storage.images.images import (
    FORMATS,
    ImageFormat,
    UnreadableImage,
    decode,
    encode,
    has_lost_recipe,
    read_recipe,
)
from storage.images.png_recipe import ImageRecipe, Provenance, parameters, xmp_packet

DRAWN: Mapping[str, Any] = {
    "prompt": "a fox, orange",
    "negative_prompt": "dog",
    "seed": 7,
    "steps": 20,
    "guidance": 3.0,
    "width": 64,
    "height": 48,
    "model": "starter",
    "scheduler": "ddim",
}
DIGEST = "0123456789abcdef" * 4


def mark(step: str, identity: Mapping[str, Any] | None = None, **models: str) -> Provenance:
    digests = {f"starter/{role}": digest for role, digest in models.items()}
    return Provenance(step, 1, identity or {}, digests, ("e" * 64,), "f" * 64)


GENERATED = ImageRecipe((mark("generate", DRAWN, diffusion=DIGEST), mark("remove_background", cutout="9" * 64)))


def encoded(recipe: ImageRecipe, format: ImageFormat = "png") -> bytes:
    return encode(Image.new("RGB", (8, 8)), format=format, quality=90, lossless=True, recipe=recipe).data


def opened(recipe: ImageRecipe, format: ImageFormat = "png") -> Image.Image:
    return Image.open(BytesIO(encoded(recipe, format)))


@pytest.mark.parametrize("format", FORMATS)
def test_the_chain_can_be_read_back(format: ImageFormat) -> None:
    assert read_recipe(encoded(GENERATED, format)) == GENERATED
    assert read_recipe(encoded(ImageRecipe(()), format)) == ImageRecipe(())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(['Pixelmill: "{', "é\n\x00", "𝄞"]),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=4),
    st.sampled_from(sorted(FORMATS)),
)
@settings(max_examples=100, deadline=None)
def test_any_identity_can_be_read_back(prompt: str, identity: dict[str, Any], format: ImageFormat) -> None:
    recipe = ImageRecipe((mark("generate", {**identity, "prompt": prompt, "steps": prompt}),))
    assert read_recipe(encoded(recipe, format)) == recipe


def test_equal_chains_give_equal_bytes() -> None:
    turned = MappingProxyType(dict(reversed(DRAWN.items())))
    other = ImageRecipe((mark("generate", turned, diffusion=DIGEST), GENERATED.steps[1]))
    assert encoded(other) == encoded(GENERATED)


def test_parameters_read_as_web_uis_write_them() -> None:
    text = opened(GENERATED).info["parameters"]
    assert text.splitlines() == [
        "a fox, orange",
        "Negative prompt: dog",
        "Steps: 20, Sampler: ddim, CFG scale: 3.0, Seed: 7, Size: 64x48, Model hash: 0123456789, Model: starter",
    ]


def test_parameters_beyond_latin_letters() -> None:
    recipe = ImageRecipe((mark("generate", {"prompt": "狐 é"}),))
    assert opened(recipe).info["parameters"].splitlines()[0] == "狐 é"


def test_parameters_leave_out_what_is_not_known() -> None:
    assert parameters(ImageRecipe((mark("generate", {"prompt": "a fox", "seed": 0}),))) == "a fox\nSeed: 0"
    assert parameters(ImageRecipe((mark("load"), mark("upscale")))) == ""


def test_a_value_with_a_comma_is_quoted() -> None:
    text = parameters(ImageRecipe((mark("generate", {"prompt": "p", "model": "a, b"}),)))
    assert text.endswith('Model: "a, b"')


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_other_formats_carry_the_parameters_in_the_user_comment(format: ImageFormat) -> None:
    comment = opened(GENERATED, format).getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    assert comment.startswith(b"UNICODE\x00")
    text = comment[8:].decode("utf-16-be")
    assert text.startswith(parameters(GENERATED) + ', Pixelmill: "{')


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        (["generate"], "trainedAlgorithmicMedia"),
        (["generate", "inpaint", "upscale"], "trainedAlgorithmicMedia"),
        (["load", "inpaint"], "compositeWithTrainedAlgorithmicMedia"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_the_source_type_says_who_drew(steps: list[str], kind: str, format: ImageFormat) -> None:
    image = opened(ImageRecipe(tuple(mark(step) for step in steps)), format)
    assert _description(image)["DigitalSourceType"] == f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"


def _description(image: Image.Image) -> dict[str, Any]:
    packet = image.info["xmp"]
    root = ElementTree.fromstring(packet if isinstance(packet, str) else packet.decode())
    return {element.tag.rpartition("}")[2]: element.text for element in root.iter()}


def test_an_image_that_no_model_drew_claims_nothing() -> None:
    recipe = ImageRecipe((mark("load"), mark("remove_background"), mark("upscale")))
    assert xmp_packet(recipe) == b""
    assert "xmp" not in opened(recipe).info


def test_a_chain_too_long_for_a_jpeg_is_left_out() -> None:
    recipe = ImageRecipe((mark("generate", {"prompt": "fox " * 10_000}),))
    assert read_recipe(encoded(recipe, "jpeg")) is None
    assert read_recipe(encoded(recipe, "png")) == recipe


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 2, "steps": []}', '{"format": 1, "steps": [{}]}'])
def test_a_foreign_chunk_is_no_recipe(text: str) -> None:
    chunks, file = PngInfo(), BytesIO()
    chunks.add_text("pixelmill", text)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=chunks)
    assert read_recipe(file.getvalue()) is None


def test_an_image_without_a_recipe_and_bytes_without_an_image() -> None:
    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG")
    assert read_recipe(file.getvalue()) is None
    with pytest.raises(UnreadableImage):
        read_recipe(b"hello")


EMOJI = ImageRecipe((mark("generate", {**DRAWN, "prompt": "\U0001f600" * 3000}, diffusion=DIGEST),))
LONGER = ImageRecipe((*EMOJI.steps, *(mark("inpaint", {**DRAWN, "prompt": "\U0001f600" * 9000}) for _ in range(2))))
LONGEST = ImageRecipe(
    (mark("generate", {**DRAWN, "prompt": "\U0001f600" * 9900, "negative_prompt": "\U0001f600" * 9900}),)
)


def comment_of(recipe: ImageRecipe, format: ImageFormat) -> str:
    comment = opened(recipe, format).getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    return str(comment[8:].decode("utf-16-be"))


def test_a_prompt_of_3000_emoji_is_kept_whole_by_a_jpeg_with_the_recipe() -> None:
    assert read_recipe(encoded(EMOJI, "jpeg")) == EMOJI
    assert parameters(EMOJI) in comment_of(EMOJI, "jpeg")


def test_a_recipe_that_is_too_long_for_a_jpeg_leaves_the_parameters_in_it_and_says_so() -> None:
    assert comment_of(LONGER, "jpeg").startswith(parameters(LONGER))
    data = encoded(LONGER, "jpeg")
    assert read_recipe(data) is None
    assert has_lost_recipe(data)
    assert not has_lost_recipe(encoded(EMOJI, "jpeg"))


def test_prompts_that_are_too_long_for_a_jpeg_lose_their_ends_and_nothing_else() -> None:
    comment = comment_of(LONGEST, "jpeg")
    assert comment.startswith("\U0001f600" * 4000)
    assert parameters(LONGEST).splitlines()[-1] in comment
    assert has_lost_recipe(encoded(LONGEST, "jpeg"))


def test_what_a_jpeg_does_not_hold_is_told_in_words() -> None:
    image = Image.new("RGB", (8, 8))
    told = {
        recipe: encode(image, format="jpeg", quality=90, lossless=False, recipe=recipes).left_out
        for recipe, recipes in {"emoji": EMOJI, "longer": LONGER, "longest": LONGEST}.items()
    }
    assert told == {"emoji": "", "longer": "the recipe", "longest": "the recipe and the ends of the prompts"}


@pytest.mark.parametrize("format", ["png", "webp", "avif"])
@pytest.mark.parametrize("recipe", [EMOJI, LONGER, LONGEST])
def test_the_limit_is_that_of_jpeg_alone(recipe: ImageRecipe, format: ImageFormat) -> None:
    assert read_recipe(encoded(recipe, format)) == recipe


def test_size_and_sampler_are_told_where_the_model_decided_them_also_after_later_steps() -> None:
    open_to_the_model = {**DRAWN, "width": None, "height": None, "scheduler": None}
    recipe = ImageRecipe((mark("generate", open_to_the_model, diffusion=DIGEST), mark("upscale")))
    image = Image.new("RGB", (128, 96))
    Notes(drawn={"Size": "64x48", "Sampler": "ddim"}).put_on(image)
    for format in FORMATS:
        data = encode(image, format=format, quality=90, lossless=format != "jpeg", recipe=recipe).data
        again = decode(data, max_pixels=100_000)
        assert Notes.of(again).drawn == {"Size": "64x48", "Sampler": "ddim"}
    text = parameters(recipe, Notes.of(again))
    assert text.splitlines()[-1].startswith("Steps: 20, Sampler: ddim, CFG scale: 3.0, Seed: 7, Size: 64x48, Model")


@pytest.mark.parametrize("text", ['{"drawn": 1}', '{"drawn": {"Size": [1]}}', '{"drawn"', '{"drawn": {"x": 1}}'])
def test_a_foreign_text_decides_nothing(text: str) -> None:
    chunks, file = PngInfo(), BytesIO()
    chunks.add_text("pixelmill", text)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=chunks)
    assert set(Notes.of(decode(file.getvalue(), max_pixels=100)).drawn) <= {"Size"}
