"""Tables on terminals of any width: names are neither cut nor broken."""

import io

import pytest
from rich.console import Console

from flows.report.tables import FittedTable

NAMES = ("nightly-icons-2026-11-30-0312-abcd-123456", "icons-1")


def shown(table: FittedTable, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, legacy_windows=False)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def jobs(**options: object) -> FittedTable:
    rows = [(name, "running", "1,000 of 2,400", "2026-11-30 03:12 UTC") for name in NAMES]
    return FittedTable(("job", "status", "done", "started"), rows, wraps=("started",), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [50, 60, 80, 90, 100, 200])
@pytest.mark.parametrize("lines", [True, False])
def test_a_name_is_whole_on_one_line_at_any_width(width: int, lines: bool) -> None:
    text = shown(jobs(lines=lines), width)
    for name in NAMES:
        assert any(name in line for line in text.splitlines())
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_what_does_not_fit_beside_each_other_comes_below_each_other() -> None:
    assert shown(jobs(), 60).splitlines()[:2] == [
        NAMES[0],
        "  status: running · done: 1,000 of 2,400 · started:         ",
    ]
    assert shown(jobs(), 120).splitlines()[0].split() == ["job", "status", "done", "started"]


def test_texts_are_never_read_as_markup() -> None:
    assert "[red]x[/red]" in shown(FittedTable(("a",), [("[red]x[/red]",)]), 80)
