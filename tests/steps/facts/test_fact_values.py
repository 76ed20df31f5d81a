"""Facts, one by one, on images for which the right answer is known."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from steps.facts import measure
from tests.steps import images


def fact(name: str, image: Image.Image, source: Image.Image | None = None) -> Any:
    return measure(image, [name], source=source)[name]


def array(image: Image.Image) -> Any:
    return np.asarray(image).astype(float)


def picture(pixels: Any) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def drawing(size: int = 96, background: str = "white") -> Image.Image:
    """A red house with a blue door, drawn four times as large and reduced."""
    large = Image.new("RGB", (4 * size, 4 * size), background)
    draw = ImageDraw.Draw(large)
    draw.rectangle((size, 1.5 * size, 3 * size, 3.5 * size), fill=(200, 60, 50), outline="black", width=size // 16)
    draw.polygon(((size // 2, 1.5 * size), (2 * size, size // 2), (3.5 * size, 1.5 * size)), fill=(120, 70, 30))
    draw.rectangle((1.6 * size, 2.3 * size, 2.2 * size, 3.4 * size), fill=(40, 60, 190))
    return large.reduce(4)


def cut_out(image: Image.Image, alpha: Any) -> Image.Image:
    result = image.copy()
    result.putalpha(Image.fromarray(np.asarray(alpha, dtype=np.uint8)))
    return result


def exact_alpha(image: Image.Image) -> Any:
    """Where the drawing is not its white background."""
    return np.where((np.asarray(image) < 250).any(axis=2), 255, 0)


class TestBox:
    def test_of_a_disc(self) -> None:
        facts = measure(images.disc(64))
        assert [facts[f"box_{side}"] for side in ("left", "top", "width", "height")] == [0.125, 0.125, 0.75, 0.75]

    def test_of_nothing(self) -> None:
        facts = measure(Image.new("RGBA", (9, 9)))
        assert [facts[f"box_{side}"] for side in ("left", "top", "width", "height")] == [0, 0, 0, 0]


def test_soft_edge_is_the_share_of_half_transparent_pixels() -> None:
    alpha = np.full((10, 10), 255)
    alpha[0], alpha[1], alpha[2] = 128, 3, 0
    assert fact("soft_edge", cut_out(images.noise(10, 10), alpha)) == 0.1


def test_clipped_counts_black_and_white() -> None:
    pixels = np.full((10, 10, 3), 100)
    pixels[:2], pixels[2:5] = 0, 255
    assert fact("clipped", picture(pixels)) == 0.5


@pytest.mark.parametrize(("levels", "bits"), [(1, 0), (2, 1), (16, 4), (256, 8)])
def test_entropy_of_levels_that_are_alike(levels: int, bits: int) -> None:
    rows = np.tile(np.arange(256) % levels, (4, 1))
    assert fact("entropy", picture(np.stack([rows] * 3, axis=2))) == bits


class TestFlatness:
    def test_of_a_faint_ramp(self) -> None:
        ramp = np.repeat(np.linspace(100, 120, 64)[:, None], 64, axis=1)
        assert fact("flatness", picture(np.stack([ramp] * 3, axis=2))) == 1

    def test_of_two_colors(self) -> None:
        pixels = np.full((10, 10, 3), 50)
        pixels[:, 7:] = 200
        assert fact("flatness", picture(pixels)) == 0.7

    def test_of_nothing(self) -> None:
        assert fact("flatness", Image.new("RGBA", (9, 9))) == 1


class TestColors:
    def test_gray_is_not_colorful(self) -> None:
        assert fact("colorfulness", Image.new("RGB", (8, 8), (90, 90, 90))) == 0

    def test_colorfulness_by_the_formula(self) -> None:
        image = images.noise(20, 20)
        red, green, blue = (array(image)[..., channel] for channel in range(3))
        opponents = red - green, (red + green) / 2 - blue
        expected = np.hypot(*(plane.std() for plane in opponents)) + 0.3 * np.hypot(*(p.mean() for p in opponents))
        assert fact("colorfulness", image) == pytest.approx(expected, abs=1e-6)

    def test_the_dominant_color_is_the_mean_of_its_shades(self) -> None:
        pixels = np.full((10, 10, 3), (17, 130, 240))
        pixels[:3] = (19, 132, 242)
        pixels[8:] = (250, 10, 10)
        facts = measure(picture(pixels))
        # (3 x 19 + 5 x 17) / 8 = 17.75, and so on
        assert (facts["dominant_color"], facts["dominant_share"]) == ("#1283f1", 0.8)

    def test_nothing_has_no_color(self) -> None:
        facts = measure(Image.new("RGBA", (4, 4)))
        assert (facts["dominant_color"], facts["dominant_share"]) == ("", 0)


class TestNoise:
    @pytest.mark.parametrize("sigma", [4, 10, 25])
    def test_of_gray_with_normal_noise(self, sigma: int) -> None:
        grain = np.random.default_rng(sigma).normal(0, sigma, (200, 200, 1))
        assert fact("noise", picture(128 + np.repeat(grain, 3, axis=2))) == pytest.approx(sigma, rel=0.1)

    def test_a_ramp_has_none(self) -> None:
        ramp = np.repeat(np.arange(0, 192, 2)[:, None], 96, axis=1)
        assert fact("noise", picture(np.stack([ramp] * 3, axis=2))) == 0

    def test_a_drawing_has_none(self) -> None:
        assert fact("noise", drawing()) == 0

    def test_it_grows_with_noise(self) -> None:
        grain = np.random.default_rng(0).normal(0, 1, (96, 96, 3))
        values = [fact("noise", picture(array(drawing(background="gray")) + sigma * grain)) for sigma in (0, 5, 10, 20)]
        assert values == sorted(values) and values[-1] > 10


class TestEdgeWidth:
    @pytest.mark.parametrize("size", [64, 256])
    def test_blur_widens_edges_alike_at_any_size(self, size: int) -> None:
        sharp = drawing(size)
        blurred = sharp.filter(ImageFilter.GaussianBlur(size * 0.03))
        assert fact("edge_width", sharp) < 0.035
        assert fact("edge_width", blurred) > 0.055

    def test_of_an_image_without_edges(self) -> None:
        assert fact("edge_width", Image.new("RGB", (20, 20), "red")) == 1


class TestBlocking:
    def test_of_a_strongly_compressed_image(self) -> None:
        smooth = images.noise(160, 160).filter(ImageFilter.GaussianBlur(3))
        file = io.BytesIO()
        smooth.save(file, "JPEG", quality=8)
        assert fact("blocking", smooth) < 0.05
        assert fact("blocking", Image.open(file).convert("RGB")) > 0.25

    def test_blocks_are_counted_from_the_images_corner(self) -> None:
        tiles = np.kron(np.random.default_rng(0).integers(0, 255, (8, 8)), np.ones((8, 8)))
        alpha = np.zeros((64, 64))
        alpha[3:61, 5:59] = 255
        image = picture(np.stack([tiles] * 3, axis=2))
        assert fact("blocking", cut_out(image, alpha)) > 0.9


class TestSeam:
    def enlarged(self, image: Image.Image) -> Image.Image:
        return image.resize((4 * image.width, 4 * image.height), Image.Resampling.LANCZOS)

    def test_none_where_nothing_but_the_size_changed(self) -> None:
        assert fact("seam", self.enlarged(drawing()), drawing()) < 1

    @pytest.mark.parametrize("turned", [False, True])
    def test_tiles_of_different_light(self, turned: bool) -> None:
        pixels = array(self.enlarged(drawing(background="gray")))
        pixels[:, 192:] += 9
        source = drawing(background="gray")
        if turned:
            pixels, source = pixels.transpose(1, 0, 2), source.transpose(Image.Transpose.TRANSPOSE)
        assert fact("seam", picture(pixels), source) == pytest.approx(9, abs=1.5)

    def test_the_whole_image_lighter_is_no_seam(self) -> None:
        source = drawing(background="gray")
        assert fact("seam", picture(array(self.enlarged(source)) + 9), source) < 1.5

    def test_a_straight_edge_that_was_there_is_no_seam(self) -> None:
        halves = np.full((64, 64, 3), 60)
        halves[:, 32:] = 160
        assert fact("seam", self.enlarged(picture(halves)), picture(halves)) < 2  # what LANCZOS rings


class TestWrapSeam:
    def test_a_periodic_texture_tiles(self) -> None:
        angle = np.arange(64) * 2 * np.pi / 64
        waves = 128 + 60 * np.sin(3 * angle)[:, None] + 60 * np.cos(2 * angle)[None, :]
        assert fact("wrap_seam", picture(np.stack([waves] * 3, axis=2))) < 1.5

    def test_a_part_of_it_does_not(self) -> None:
        angle = np.arange(64) * 2 * np.pi / 64
        waves = 128 + 60 * np.sin(1.3 * angle)[:, None] + 60 * np.cos(2 * angle)[None, :]
        assert fact("wrap_seam", picture(np.stack([waves] * 3, axis=2))) > 3


class TestComparison:
    def test_the_same_image(self) -> None:
        assert fact("difference", images.disc(40), images.disc(40)) == 0
        assert fact("similarity", images.disc(40), images.disc(40)) == 1

    def test_black_from_white(self) -> None:
        black, white = Image.new("RGB", (20, 20)), Image.new("RGB", (20, 20), "white")
        assert fact("difference", black, white) == 0.75  # three channels of four: alpha is the same

    def test_an_enlarged_image_is_compared_at_the_sources_size(self) -> None:
        source = images.noise(24, 24)
        large = source.resize((96, 96), Image.Resampling.NEAREST)
        assert fact("difference", large, source) == 0
        assert fact("similarity", large, source) == 1

    def test_unrelated_images_are_not_similar(self) -> None:
        assert abs(fact("similarity", images.noise(64, 64), images.noise(64, 64, seed=1))) < 0.1

    def test_an_inverted_image_is_less_than_unrelated(self) -> None:
        image = images.noise(64, 64)
        assert fact("similarity", picture(255 - array(image)), image) < -0.5


class TestCutOut:
    """`background_left` and `subject_lost`, on a drawing whose exact alpha is known."""

    @pytest.mark.parametrize("background", ["white", (10, 30, 90), (90, 160, 90)])
    def test_a_right_cut_out(self, background: Any) -> None:
        facts = measure(
            cut_out(drawing(background=background), exact_alpha(drawing())),
            ["background_left", "subject_lost"],
            source=drawing(background=background),
        )
        assert facts["background_left"] < 0.01 and facts["subject_lost"] == 0

    def test_a_patch_of_background_that_was_left(self) -> None:
        alpha = exact_alpha(drawing())
        area = np.count_nonzero(alpha)
        alpha[60:80, 72:82] = 255  # beside the wall, white but for the wall's edge
        new = np.count_nonzero(alpha) - area
        found = fact("background_left", cut_out(drawing(), alpha), drawing())
        assert found == pytest.approx(new / (area + new), rel=0.1)

    def test_all_of_the_background(self) -> None:
        image = drawing()
        found = fact("background_left", cut_out(image, np.full((96, 96), 255)), image)
        assert found == pytest.approx(1 - exact_alpha(image).mean() / 255, abs=0.02)

    def test_a_hole_in_the_wall(self) -> None:
        alpha = exact_alpha(drawing())
        alpha[50:60, 30:37] = 0
        found = fact("subject_lost", cut_out(drawing(), alpha), drawing())
        assert found == pytest.approx(70 / np.count_nonzero(exact_alpha(drawing())), rel=0.02)

    def test_a_window_that_shows_the_background_is_no_loss(self) -> None:
        image = drawing()
        image.paste((255, 255, 255), (28, 45, 36, 55))
        assert fact("subject_lost", cut_out(image, exact_alpha(image)), image) == 0
        assert fact("hole_ratio", cut_out(image, exact_alpha(image))) > 0.01

    def test_without_any_background_nothing_can_be_said(self) -> None:
        image = cut_out(drawing(), exact_alpha(drawing()))
        facts = measure(image, ["background_left", "subject_lost"], source=image)
        assert facts == {"background_left": 0, "subject_lost": 0}
