"""Labels of the contact sheet show letters and never boxes."""

from collections.abc import Iterator

import pytest

from flows.report import labels
from flows.report.labels import SheetLabel


@pytest.fixture
def only_latin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without fonts: Pillow's own has Latin letters."""
    monkeypatch.setattr(labels, "_FONTS", ("no-such-font.ttf",))
    labels._plain_font.cache_clear()
    yield
    labels._plain_font.cache_clear()


@pytest.mark.usefixtures("only_latin")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("red-fox", "red-fox"),
        ("é à ü", "e a u"),
        ("狐狸", "#12"),
        ("狐-fox", "#12 fox"),
        ("fox 😀 den", "#12 fox den"),
        ("лиса", "#12"),
    ],
)
def test_a_name_that_no_font_can_draw_is_shown_by_its_number(name: str, shown: str) -> None:
    assert SheetLabel(name, 12).text == shown


def test_a_name_is_drawn_in_a_font_that_has_all_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_draws", lambda font, text: text.isascii() or "Serif" in font.path)
    monkeypatch.setattr(labels, "_FONTS", ("DejaVuSans.ttf", "DejaVuSerif.ttf"))
    if labels._font("DejaVuSerif.ttf") is None:
        pytest.skip("this machine has no DejaVu fonts")
    label = SheetLabel("狐狸", 3)
    assert label.text == "狐狸"
    assert "Serif" in str(label.font.path)


def test_a_long_label_is_cut() -> None:
    assert SheetLabel("x" * 500, 0).shortened(100).endswith("x…")
    assert SheetLabel("short", 0).shortened(100) == "short"
