"""Which ways the items of a job took: what gates did, what was made again, what was warned of. Bounded."""

from collections.abc import Container, Sequence

from pydantic import BaseModel, ConfigDict, Field
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

MAX_WARNINGS = 100  # more would make the report as long as the manifest
SHOWN_WARNINGS = 20
SHOWN_REASONS = 3  # of a gate


class ReportPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WhyNot(ReportPart):
    """Why images were not let pass at first, and how many for this reason."""

    reason: str
    images: int


class GateSummary(ReportPart):
    """How many images a gate tested, and what became of them. An item that a loop sends through it counts each time."""

    gate: str
    step: str | None = Field(description="Id of the step that it belongs to; null for a gate of its own.")
    place: str = Field(description="Where the recipe has it.")
    tested: int = 0
    passed: int = Field(default=0, description="At once.")
    retried: int = Field(default=0, description="Passed after it was made anew.")
    repaired: int = Field(default=0, description="Passed after the repair.")
    warned: int = Field(default=0, description="Went on with a warning.")
    accepted: int = Field(default=0, description="Let pass by a person.")
    dropped: int = Field(default=0, description="Candidates that fell out.")
    quarantined: int = 0
    open: int = Field(default=0, description="Without a verdict: the item has not come that far, or failed on the way.")
    attempts: int = Field(default=0, description="How often an image was made anew for it.")
    reasons: tuple[WhyNot, ...] = Field(default=(), description="The most frequent ones, at most 10.")


class ItemWarning(ReportPart):
    """What a gate had to say of an item that it let pass."""

    item: str
    message: str


class GateStats(ReportPart):
    """Which ways the items took: known once a run has ended."""

    gates: tuple[GateSummary, ...] = Field(default=(), description="In the order of the recipe, the first 100.")
    attempts: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="Step id -> how many items were made once, twice …; only steps that were made more than once.",
    )
    warned_items: int = Field(default=0, description="Items with warnings.")
    warnings: int = 0
    warned: tuple[ItemWarning, ...] = Field(default=(), description=f"The first {MAX_WARNINGS}, in the job's order.")


def gate_rows(ways: GateStats) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a table for people."""
    headers = ["gate", "tested", "passed", "after a retry", "after a repair", "warned", "rejected"]
    rows = []
    for gate in ways.gates:
        counts = (
            gate.tested,
            gate.passed,
            gate.retried,
            gate.repaired,
            gate.warned + gate.accepted,
            gate.quarantined + gate.dropped,
        )
        rows.append([gate.gate, *(f"{count:,}" if count else "–" for count in counts)])
    return headers, rows


def reason_rows(ways: GateStats) -> tuple[list[str], list[list[str]]]:
    """Likewise: why images were not let pass at first, the most frequent reasons of each gate."""
    rows = [[gate.gate, f"{one.images:,}", one.reason] for gate in ways.gates for one in gate.reasons[:SHOWN_REASONS]]
    return ["gate", "images", "why not at first"], rows


def attempt_rows(ways: GateStats) -> list[str]:
    """For each step that was made more than once, how many items took how many attempts."""
    return [
        f"{step}: " + ", ".join(f"{_times(number)}: {items:,}" for number, items in enumerate(made, 1) if items)
        for step, made in ways.attempts.items()
    ]


def warning_title(ways: GateStats, shown: int) -> str:
    """What stands above the warnings that are shown."""
    items = "1 item" if ways.warned_items == 1 else f"{ways.warned_items:,} items"
    more = f", the first {shown} of {ways.warnings:,} warnings" if ways.warnings > shown else ""
    return f"Warnings: {items}{more}"


def ways_sections(ways: GateStats) -> list[RenderableType]:
    """For the terminal. Names and messages are printed as they are."""
    parts: list[RenderableType] = []
    if ways.gates:
        parts += ["", _table(*gate_rows(ways), numbers=range(1, 7))]
        headers, rows = reason_rows(ways)
        parts += ["", _table(headers, rows, numbers=[1])] if rows else []
    if ways.attempts:
        parts += ["", Text("Made more than once", "bold"), *(Text(f"  {row}") for row in attempt_rows(ways))]
    if ways.warned:
        shown = ways.warned[:SHOWN_WARNINGS]
        title = Text(warning_title(ways, len(shown)), "bold")
        warned = Table(box=None, pad_edge=False, header_style="dim")
        warned.add_column("item", overflow="fold", ratio=1)
        warned.add_column("warning", overflow="fold", ratio=3)
        for one in shown:
            warned.add_row(Text(one.item), Text(one.message))
        parts += ["", title, warned]
    return parts


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Container[int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, "dim" if cell == "–" else "") for cell in row))
    return table


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
