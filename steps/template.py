"""Prompt templates: `{prompt}`, `{name}` and the item's variables by name, and nothing else."""

import string
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from configs.documents.fields import Item, Scalar

MAX_PROMPT = 10_000  # characters


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names between braces, in order; `{{` and `}}` are plain braces.

    Raises ValueError where a placeholder is more than a name: attributes, indices, conversions and formats would let
    a recipe reach into Python objects.
    """
    return tuple(name for _, name in _parts(template) if name is not None)


def fill(template: str, item: Item) -> str:
    """Return the template with the item's values, filled in once: braces in a value stay as they are.

    Raises KeyError for a placeholder that the item has no value for.
    """
    return "".join(_pieces(template, item))


def filled_length(template: str, item: Item) -> int:
    """Return how many characters `fill` would give, without doing it: a short template can name a long value often."""
    return sum(map(len, _pieces(template, item)))


def _pieces(template: str, item: Item) -> Iterator[str]:
    values = _values(item)
    for literal, name in _parts(template):
        yield literal
        if name is not None:
            yield "" if values[name] is None else str(values[name])


@lru_cache(maxsize=256)
def _parts(template: str) -> tuple[tuple[str, str | None], ...]:
    """Return literal texts, each with the name that follows it."""
    parts = []
    for literal, name, spec, conversion in string.Formatter().parse(template):
        if name is not None and (not name.isidentifier() or spec or conversion):
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ValueError(
                f"{{{written}}} is not a placeholder: write a plain name such as {{prompt}}; for a brace write it twice"
            )
        parts.append((literal, name))
    return tuple(parts)


def unknown_variables(field: str, template: str, item: Item) -> list[str]:
    """Return a problem for each placeholder that the item has no value for. `{prompt}` always counts as known."""
    known = {"prompt", *_values(item)}
    return [
        f"has no variable {name!r}, which the step's {field} names: add it to vars"
        for name in dict.fromkeys(placeholders(template))
        if name not in known
    ]


def too_long(field: str, length: int) -> list[str]:
    """Return the problem of a prompt of so many characters, if it is one."""
    return [f"has a {field} of {length:,} characters: shorten it to {MAX_PROMPT:,}"] if length > MAX_PROMPT else []


def _values(item: Item) -> dict[str, Scalar]:
    return {**item.vars, "name": item.name, "prompt": item.prompt}


def _checked(template: str) -> str:
    placeholders(template)
    return template


Template = Annotated[str, AfterValidator(_checked)]
