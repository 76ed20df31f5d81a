"""The tables of docs/steps.md, made from the step classes. `python -m tests.steps.step_tables` writes them there."""

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from configs.catalogues import catalogue
from steps.contract import Step

DOCUMENT = Path(__file__).parents[2] / "docs" / "steps.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("multipleOf", "multiple of {}"),
    ("maxLength", "at most {:,} characters"),
    ("maxItems", "at most {}"),
)


def tables() -> str:
    """Markdown: one section a step of the catalogue. The facts of every image have a page of their own."""
    sections = [_step_section(name, catalogue.load_step(name)) for name in catalogue.names("steps")]
    return "\n".join(line for section in sections for line in (*section, "")).strip()


def written(document: str) -> str:
    """The tables that the document holds."""
    return document.partition(BEGIN)[2].partition(END)[0].strip()


def _step_section(name: str, step: type[Step]) -> list[str]:
    summary = " ".join((inspect.getdoc(step) or "").split("\n\n")[0].split())
    lines = [f"### `{name}`", "", summary, "", "| parameter | type | default | meaning |", "|---|---|---|---|"]
    schema = step.model_json_schema()
    for field, traits in schema.get("properties", {}).items():
        default = f"`{_plain(traits['default'])}`" if "default" in traits else "required"
        lines.append(f"| `{field}` | {_kind(traits)} | {default} | {_cell(traits['description'])} |")
    if not schema.get("properties"):
        lines = [*lines[:-2], "No parameters."]
    if step.own_facts:
        lines += ["", *_facts(step.own_facts)]
    return lines


def _facts(facts: Mapping[str, str]) -> list[str]:
    return ["| fact | meaning |", "|---|---|", *(f"| `{name}` | {_cell(text)} |" for name, text in facts.items())]


def _kind(traits: Mapping[str, Any]) -> str:
    kinds = [kind for kind in traits.get("anyOf", [traits]) if kind.get("type") != "null"]
    return _cell("; ".join(part for kind in kinds for part in _parts(kind)))


def _parts(kind: Mapping[str, Any]) -> Iterator[str]:
    if "enum" in kind:
        yield ", ".join(f"`{value}`" for value in kind["enum"])
    elif kind["type"] == "array":
        yield f"list of {'; '.join(_parts(kind['items']))}"
    else:
        yield str(kind["type"])
    yield from (text.format(kind[key]) for key, text in BOUNDS if key in kind)


def _plain(default: Any) -> str:
    return "none" if default is None else json.dumps(default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}")
