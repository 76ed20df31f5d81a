"""Labels of a contact sheet: names in a font of this machine that has their letters, or else numbers."""

import re
import unicodedata
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LABEL_SIZE = 12
# None is shipped: one with all scripts has 20 MB. By the names of their files, on Linux, macOS and Windows.
_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoEmoji-Regular.ttf",
    "Symbola.ttf",
    "seguisym.ttf",
    "unifont.otf",
)
_NO_CHARACTER = "\U0010ffff"


class SheetLabel:
    """A text, and a font that can draw all of it."""

    def __init__(self, name: str, index: int) -> None:
        """Take the name, if need be without its accents, or `#index` and the words of it that can be drawn."""
        text = " ".join(name.split())[:200]
        fonts = (font for file in _FONTS if (font := _font(file)) is not None)
        self.font = next((font for font in fonts if _draws(font, text)), None) or _plain_font()
        if not _draws(self.font, text):
            text = "".join(
                letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)
            )
        if not _draws(self.font, text):
            left = "".join(letter if _draws(self.font, letter) else " " for letter in text)
            words = [word.strip("-_.") for word in re.split(r"\s+", left)]
            text = " ".join([f"#{index}", *filter(None, words)])
        self.text = text

    def shortened(self, width: float) -> str:
        """Return as much of the text as has room, pixels."""
        text = self.text
        if self.font.getlength(text) <= width:
            return text
        while text and self.font.getlength(text + "…") > width:
            text = text[:-1]
        return text + "…"


def _draws(font: Font, text: str) -> bool:
    return all(_has(font, letter) for letter in set(text))


@lru_cache(maxsize=10_000)
def _has(font: Font, letter: str) -> bool:
    """Return whether a font has a letter: for one that it lacks it draws what it draws for no character at all."""
    if letter.isascii():
        return True
    drawn, missing = font.getmask(letter), font.getmask(_NO_CHARACTER)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


@lru_cache(maxsize=len(_FONTS))
def _font(file: str) -> Font | None:
    try:
        return ImageFont.truetype(file, LABEL_SIZE)
    except OSError:
        return None


@lru_cache(maxsize=1)
def _plain_font() -> Font:
    return _font(_FONTS[0]) or ImageFont.load_default(LABEL_SIZE)
