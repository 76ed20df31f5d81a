"""Field types of jobs and recipes, with their bounds."""

import keyword
import math
import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from configs.documents.problems import describe
from configs.documents.uris import check_place, check_uri

# A segment of an artefact store's key holds 200 bytes: the rest is for seed number, step id and extension.
MAX_NAME_BYTES = 140
_SLUG_LENGTH = 60
_SLUG_BYTES = 120  # leaves a name room for a number
_NOT_SLUG = re.compile(r"[^\w.]+|_+")
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # categories Cc and Cs, but \t and \n
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[1-9¹²³])(\..*)?", re.IGNORECASE)
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # Persian, Indian scripts and emoji are written with them


def check_text(text: str) -> str:
    """Return the text with line feeds only. Raises ValueError for characters that UTF-8 or databases cannot hold."""
    text = text.replace("\r\n", "\n")
    if text.isprintable():
        return text
    if bad := _UNSTORABLE.search(text):
        raise ValueError(f"must not hold the control character U+{ord(bad[0]):04X}")
    return text


def check_name(name: str) -> str:
    """Return the name in Unicode form NFC. Raises ValueError when it cannot name a file on every system."""
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


def objection_to_name(name: str) -> str | None:
    """Return why a file of this name cannot be copied to every system, or None.

    The rules are those of Windows: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
    """
    if (bad := _FORBIDDEN.search(name)) is not None:
        return f"holds `{bad[0]}`"
    return "is kept for a device" if _DEVICE.fullmatch(name) else None


def collision_key(name: str) -> str:
    """Return a key that is equal for names that a case-insensitive or normalizing file system takes for one."""
    return unicodedata.normalize("NFC", name.casefold()) if not name.isascii() else name.lower()


def slug(text: str) -> str:
    """Return words of any script in lower case, joined by hyphens, cut at 60 characters; empty if there are none."""
    words = _NOT_SLUG.sub("-", unicodedata.normalize("NFKC", text).lower()).strip("-.")[:_SLUG_LENGTH]
    return cut(words, _SLUG_BYTES).strip("-.")


def cut(text: str, size: int) -> str:
    """Return the longest beginning of at most `size` bytes in UTF-8."""
    return text.encode()[:size].decode(errors="ignore")


MAX_SEED = 2**63 - 1
# Seeds that are derived are below it: JavaScript, jq and many programs for images hold them exactly.
DERIVED_SEEDS = 2**32
NO_SEED = -1  # where a seed may be written: as in other tools, none is chosen

Scalar = bool | int | float | str | None
ItemFile = Literal["image", "mask"]


class Schema(BaseModel):
    """Base of what is read from documents: immutable, and an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(Schema):
    """One image to make, fully expanded: the matrix, the templates and the seeds of the job are resolved."""

    index: int = Field(ge=0, description="Position in the job, from 0.")
    name: str = Field(description="Unique in the job; names the final image.")
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int = Field(ge=0, le=MAX_SEED)
    vars: dict[str, Scalar] = Field(default_factory=dict)
    image: str | None = Field(default=None, description="Input image: an absolute path or a URI.")
    mask: str | None = Field(default=None, description="Inpainting mask: an absolute path or a URI.")
    wide_seeds: bool = Field(
        default=False, exclude=True, description="Whether seeds have 63 bits that are derived from its own, as once."
    )


MAX_TEXT = 10_000  # characters of a prompt or a variable
MAX_VARS = 200
_MAX_INT = 2**63


def not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def check_variable_name(name: str) -> str:
    """Return the name. Raises ValueError when `vars.<name>` would not be an expression."""
    if not (name.isascii() and name.isidentifier() and len(name) <= 64) or keyword.iskeyword(name):
        raise ValueError(
            "the name of a variable must be letters, digits and _, begin with a letter, "
            "be no keyword of Python and have at most 64 characters"
        )
    return name


def check_value(value: Any) -> Scalar:
    """Return the value of a variable. Raises ValueError unless it is a text, number, boolean or nothing."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError(f"must have at most {MAX_TEXT} characters")
        return check_text(value)
    if isinstance(value, int) and not -_MAX_INT <= value < _MAX_INT:
        raise ValueError("must be a number of at most 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, bool | int | float | None):
        return value
    raise ValueError(f"must be a text, a number, true or false, not {describe(value)}")


Name = Annotated[str, AfterValidator(check_name)]
Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(check_text)]
Prompt = Annotated[Text, AfterValidator(not_blank)]
Uri = Annotated[str, Field(max_length=4096), AfterValidator(check_text), AfterValidator(check_uri)]
Location = Annotated[str, Field(max_length=4096), AfterValidator(check_text), AfterValidator(check_place)]
Seed = Annotated[int, Field(ge=NO_SEED, le=MAX_SEED)]
Value = Annotated[Scalar, PlainValidator(check_value)]
Vars = Annotated[dict[Annotated[str, AfterValidator(check_variable_name)], Value], Field(max_length=MAX_VARS)]
