"""The table of settings in docs/settings.md: `python -m configs.settings.settings_table` writes it anew."""

import os
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from configs.settings.settings import Settings, variable_of

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
BEGIN, END = "<!-- settings: begin (written by python -m configs.settings.settings_table) -->", "<!-- settings: end -->"


def settings_table() -> str:
    """A Markdown table: variable, type with bounds, default, description."""
    rows = ["| variable | value | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{variable_of(name)}` | {_kind(field)} | {_default(field)} | {field.description} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"


def _kind(field: FieldInfo) -> str:
    first = _first(field.annotation)
    options = _options(first[1] if isinstance(first, tuple) else first)
    if options:
        listed = isinstance(first, tuple)
        name = (", " if listed else " or ").join(f"`{option}`" for option in options)
        name += ", separated by commas" if listed else ""
    else:
        name = _NAMES[first]
    low = next((each.ge for each in field.metadata if hasattr(each, "ge")), None)
    high = next((each.le for each in field.metadata if hasattr(each, "le")), None)
    if low is not None and high is not None:
        return f"{name}, {low:,} … {high:,}"
    return f"{name}, at least {low:,}" if low is not None else name


def _default(field: FieldInfo) -> str:
    if field.default in (None, ()):
        return "none"
    if isinstance(field.default, tuple):
        return f"`{','.join(field.default)}`"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _options(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def _first(annotation: Any) -> Any:
    """The type itself, without None or the members of a list."""
    origin = typing.get_origin(annotation)
    if origin is tuple:
        inner = typing.get_args(annotation)[0]
        return (tuple, typing.get_args(inner)[0] if typing.get_origin(inner) is typing.Annotated else inner)
    if origin in (typing.Union, types.UnionType):
        return next(each for each in typing.get_args(annotation) if each is not type(None))
    return annotation


_NAMES: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    str: "text",
    Path: "folder",
    (tuple, Path): f"paths, separated by `{os.pathsep}`",
    (tuple, str): "names, separated by commas",
    SecretStr: "text, kept secret",
}

if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
