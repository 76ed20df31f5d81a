"""Text that is safe to store and names that are safe as file names and object keys."""

import re
import unicodedata

# A segment of an artefact store's key holds 200 bytes: the rest is for seed number, step id and extension.
MAX_NAME_BYTES = 140
_SLUG_LENGTH = 60
_SLUG_BYTES = 120  # leaves a name room for a number
_NOT_SLUG = re.compile(r"[^\w.]+|_+")
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # categories Cc and Cs, but \t and \n
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # Persian, Indian scripts and emoji are written with them


def check_text(text: str) -> str:
    """The text with lines ended by \\n. Raises ValueError for characters that UTF-8 or databases cannot hold."""
    text = text.replace("\r\n", "\n")
    if text.isprintable():
        return text
    if bad := _UNSTORABLE.search(text):
        raise ValueError(f"must not hold the control character U+{ord(bad[0]):04X}")
    return text


def check_name(name: str) -> str:
    """The name in Unicode form NFC. Raises ValueError with what to change when it cannot name a file everywhere."""
    name = unicodedata.normalize("NFC", name) if not name.isascii() else name
    if not name:
        raise ValueError("must not be empty")
    if name != name.strip():
        raise ValueError("must not begin or end with white space")
    if name.startswith("."):
        raise ValueError("must not begin with a dot (such files are hidden)")
    if name.endswith("."):
        raise ValueError("must not end with a dot (some file systems drop it)")
    if "/" in name or "\\" in name:
        raise ValueError("must not hold a path separator (/ or \\)")
    if not name.isprintable():
        for character in name:
            if unicodedata.category(character) in _CONTROL:
                raise ValueError(f"must not hold the control character U+{ord(character):04X}")
            # A name would look like another one, or its ending like another ending.
            if unicodedata.category(character) == "Cf" and character not in _JOINERS:
                raise ValueError(f"must not hold the invisible character U+{ord(character):04X}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"must not be longer than {MAX_NAME_BYTES} bytes in UTF-8")
    return name


def collision_key(name: str) -> str:
    """Equal for names that a case-insensitive or normalizing file system takes for one file."""
    return unicodedata.normalize("NFC", name.casefold()) if not name.isascii() else name.lower()


def slug(text: str) -> str:
    """Words of any script in lower case, joined by hyphens, cut at 60 characters; empty if there are none."""
    words = _NOT_SLUG.sub("-", unicodedata.normalize("NFKC", text).lower()).strip("-.")[:_SLUG_LENGTH]
    return cut(words, _SLUG_BYTES).strip("-.")


def cut(text: str, size: int) -> str:
    """The longest beginning of at most `size` bytes in UTF-8."""
    return text.encode()[:size].decode(errors="ignore")
