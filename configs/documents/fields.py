"""Field types of jobs and recipes, with their bounds."""

import keyword
import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator

from configs.documents.item import MAX_SEED, Scalar
from configs.documents.text import check_name, check_text
from configs.documents.uris import check_place, check_uri
from configs.documents.yaml_source import describe

MAX_TEXT = 10_000  # characters of a prompt or a variable
MAX_VARS = 200
_MAX_INT = 2**63


def not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def check_variable_name(name: str) -> str:
    """The name itself. Raises ValueError when conditions could not say `vars.<name>`."""
    if not (name.isascii() and name.isidentifier() and len(name) <= 64) or keyword.iskeyword(name):
        raise ValueError(
            "the name of a variable must be letters, digits and _, begin with a letter, "
            "be no word of Python and have at most 64 characters"
        )
    return name


def check_value(value: Any) -> Scalar:
    """The value of a variable itself. Raises ValueError unless it is a text, number, boolean or nothing."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError(f"must have at most {MAX_TEXT} characters")
        return check_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -_MAX_INT <= value < _MAX_INT:
            raise ValueError("must be a number of at most 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value
    raise ValueError(f"must be a text, a number, true or false, not {describe(value)}")


Name = Annotated[str, AfterValidator(check_name)]
Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(check_text)]
Prompt = Annotated[Text, AfterValidator(not_blank)]
Uri = Annotated[str, Field(max_length=4096), AfterValidator(check_text), AfterValidator(check_uri)]
Location = Annotated[str, Field(max_length=4096), AfterValidator(check_text), AfterValidator(check_place)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Value = Annotated[Scalar, PlainValidator(check_value)]
Vars = Annotated[dict[Annotated[str, AfterValidator(check_variable_name)], Value], Field(max_length=MAX_VARS)]
