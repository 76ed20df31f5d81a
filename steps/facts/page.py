"""The tables of docs/facts.md: `python -m steps.facts.page` writes them anew."""

from collections.abc import Callable
from pathlib import Path

from steps.facts import FACTS, FactSpec

PAGE = Path(__file__).parents[2] / "docs" / "facts.md"
BEGIN, END = "<!-- facts: begin (written by python -m steps.facts.page) -->", "<!-- facts: end -->"

_SECTIONS: tuple[tuple[str, Callable[[FactSpec], bool]], ...] = (
    ("Measured on every image", lambda spec: spec.always),
    ("Measured where a condition names them", lambda spec: not spec.always and not spec.reads_source),
    ("Likewise, and compared with the image that the step was given", lambda spec: spec.reads_source),
)
_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def facts_tables() -> str:
    """Markdown: a table for each section, every fact in one of them."""
    parts = []
    for title, belongs in _SECTIONS:
        rows = [f"| `{spec.name}` | {_value(spec)} | {_cell(spec)} |" for spec in FACTS.values() if belongs(spec)]
        parts.append("\n".join([f"### {title}", "", "| fact | value | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def with_tables(page: str) -> str:
    """The page with the tables between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{facts_tables()}\n{END}{after}"


def _value(spec: FactSpec) -> str:
    kind = _KINDS[spec.kind]
    if spec.low is None or spec.high is None:
        return kind if spec.low is None else f"{kind}, at least {spec.low:g}"
    return f"{kind}, {_number(spec.low)} … {_number(spec.high)}"


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _cell(spec: FactSpec) -> str:
    return spec.description.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
