"""Render plans and summaries for people: terminal output, Markdown, and rows of tables that both show."""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from configs.settings.settings import Settings
from flows.report.report import GateStats, ItemCounts, Summary, SummaryError
from flows.report.tables import FittedTable

if TYPE_CHECKING:
    from flows.job.plan import Plan  # loads SQLAlchemy

SHOWN_WARNINGS = 20
SHOWN_REASONS = 3  # of a gate


class Answer(NamedTuple):
    """The result of a command: JSON for programs, text for people, status for the shell."""

    document: dict[str, Any]
    text: RenderableType
    exit_status: int


def format_seconds(seconds: float) -> str:
    """Return a duration such as `0.42 s`, `12.5 s`, `3 min 20 s`, `2 h 05 min`."""
    if round(seconds, 2) < 10:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_counts(items: ItemCounts) -> str:
    """Return "90 of 100 images, 4 failed, 6 quarantined"; states without items are left out."""
    text = f"{items.done:,} of {items.total:,} images"
    for count, word in ((items.failed, "failed"), (items.quarantined, "quarantined"), (items.pending, "pending")):
        text += f", {count:,} {word}" if count else ""
    return text


def format_cost(cost: float) -> str:
    """Return an amount in the currency of the price, with two significant digits: `12.50`, `0.0042`."""
    if cost == 0 or cost >= 0.1:
        return f"{cost:,.2f}"
    return f"{cost:.{1 - math.floor(math.log10(cost))}f}"


def plan_document(plan: "Plan", settings: Settings) -> dict[str, Any]:
    """Return the plan as a JSON object. `undecided` visits depend on facts that are not measured yet."""
    total = len(plan.request.items)
    return {
        "job": plan.job_id,
        "status": "planned",
        "items": {"total": total, "done": plan.done, "to_do": total - plan.done},
        "steps": {step: asdict(counts) for step, counts in plan.steps.items()},
        "shards": math.ceil(total / settings.shard_size),
        "models": plan.request.model_digests,
        "output": plan.store.uri(plan.request.job.name),
        "notices": list(plan.notices),
        "failing": [each._asdict() for each in plan.failing],
    }


def render_plan(plan: "Plan", settings: Settings, console: Console) -> None:
    """Print the plan."""
    document = plan_document(plan, settings)
    items = document["items"]
    console.print(f"{plan.job_id}: {items['total']} items, {items['done']} done already, {items['to_do']} to do")
    console.print(f"output: {document['output']}", highlight=False, soft_wrap=True)
    for notice in document["notices"]:
        console.print(notice, style="yellow", highlight=False, soft_wrap=True)
    numbers = ("to compute", "to reuse", "to skip", "decided as it runs")
    rows = [
        [step, *(f"{count:,}" for count in (one.computed, one.reused, one.skipped, one.undecided))]
        for step, one in plan.steps.items()
    ]
    console.print(FittedTable(("step", *numbers), rows, numbers=numbers, lines=True))
    if title := failing_title(document, SHOWN_WARNINGS):
        headers, cells = failing_rows(document, SHOWN_WARNINGS)
        columns = [_folded(name, ratio=ratio) for name, ratio in zip(headers, (2, 1, 5), strict=True)]
        console.print(Text(title, "bold"))
        console.print(_table(columns, [[Text(cell) for cell in row] for row in cells]))


def failing_title(document: dict[str, Any], shown: int) -> str:
    """Return the title of the list of items that a run would fail, or "" if there are none."""
    failing = document["failing"]
    more = f", the first {shown}" if len(failing) > shown else ""
    return f"{plural(len({each['item'] for each in failing}), 'item')} would fail{more}" if failing else ""


def failing_rows(document: dict[str, Any], shown: int) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of the table of items that a run would fail."""
    rows = [
        [each["item"], each["step"] if each["certain"] else f"{each['step']}, if it comes there", each["message"]]
        for each in document["failing"][:shown]
    ]
    return ["item", "step", "why"], rows


def failures_title(summary: Summary) -> str:
    """Return the title of the list of failures."""
    if not summary.items.quarantined:
        return "What failed"
    return "What failed or was quarantined" if summary.items.failed else "What was quarantined"


def gate_rows(stats: GateStats) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of a table of gates."""
    headers = ["gate", "tested", "passed", "after a retry", "after a repair", "warned", "rejected"]
    rows = []
    for gate in stats.gates:
        went_on, rejected = gate.warned + gate.accepted, gate.quarantined + gate.dropped
        counts = (gate.tested, gate.passed, gate.retried, gate.repaired, went_on, rejected)
        rows.append([gate.gate, *(f"{count:,}" if count else "–" for count in counts)])
    return headers, rows


def reason_rows(stats: GateStats) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of the most frequent reasons of each gate to refuse an image at first."""
    rows = [[gate.gate, f"{one.images:,}", one.reason] for gate in stats.gates for one in gate.reasons[:SHOWN_REASONS]]
    return ["gate", "images", "why not at first"], rows


def attempt_rows(stats: GateStats) -> list[str]:
    """Return a line for each step that ran more than once: how many items took how many attempts."""
    return [
        f"{step}: " + ", ".join(f"{_times(number)}: {items:,}" for number, items in enumerate(made, 1) if items)
        for step, made in stats.attempts.items()
    ]


def warning_title(stats: GateStats, shown: int) -> str:
    """Return the title of a list of the first `shown` warnings."""
    more = f", the first {shown} of {stats.warnings:,} warnings" if stats.warnings > shown else ""
    return f"Warnings: {plural(stats.warned_items, 'item')}{more}"


def shared_warnings(stats: GateStats) -> list[tuple[str, str]]:
    """Return number of items and text of the warnings that several items have, the most frequent first."""
    return [(f"{one.items:,}", one.message) for one in stats.warned_of if one.items > 1]


def gate_sections(stats: GateStats) -> list[RenderableType]:
    """Return the parts about gates for the terminal. Names and messages are printed as they are."""
    parts: list[RenderableType] = []
    if stats.gates:
        (gate, *counts), rows = gate_rows(stats)
        parts += ["", _table([_folded(gate), *(_folded(name, justify="right") for name in counts)], rows)]
        (gate, images, reason), rows = reason_rows(stats)
        parts += ["", _table([_folded(gate), _folded(images, justify="right"), _folded(reason)], rows)] if rows else []
    if stats.attempts:
        parts += ["", Text("Made more than once", "bold"), *(Text(f"  {row}") for row in attempt_rows(stats))]
    if stats.warned:
        shown = stats.warned[:SHOWN_WARNINGS]
        title = Text(warning_title(stats, len(shown)), "bold")
        warned = [[Text(one.item), Text(one.message)] for one in shown]
        parts += ["", title]
        if shared := shared_warnings(stats):
            parts += [_table([Column("items", justify="right"), _folded("the same warning")], shared), ""]
        parts.append(_table([_folded("item", ratio=1), _folded("warning", ratio=3)], warned))
    return parts


def _table(columns: Iterable[Column | str], rows: Iterable[Sequence[Text | str]], title: Text | None = None) -> Table:
    """Return a table without lines. Texts are shown as they are; a dash, for what is not there, is dimmed."""
    table = Table(*columns, box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
    for row in rows:
        table.add_row(*(Text(cell, "dim" if cell == "–" else "") if isinstance(cell, str) else cell for cell in row))
    return table


_folded = partial(Column, overflow="fold")


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


_STATUS_STYLE = {"done": "bold green", "incomplete": "bold yellow", "failed": "bold red", "refused": "bold red"}


def render_summary(summary: Summary, console: Console) -> None:
    """Print the summary. Names and messages are printed as they are, never read as Rich markup."""
    parts: list[RenderableType] = [_headline(summary)]
    if summary.errors:
        parts.append(Padding(Group(*(_error_line(error) for error in summary.errors)), (0, 0, 0, 2)))
    if summary.steps:
        parts += ["", _step_table(summary)]
    if summary.ways is not None:
        parts += gate_sections(summary.ways)
    if summary.failures:
        parts += ["", _failure_table(summary)]
    if summary.items.waiting:
        parts += ["", _waiting(summary)]
    if summary.output:
        parts += ["", _files(summary)]
    console.print(Group(*parts))


def _headline(summary: Summary) -> Text:
    text = Text(str(summary.status), style=_STATUS_STYLE.get(str(summary.status), "bold cyan"))
    if summary.status == "refused":
        return text.append(f" · {plural(len(summary.errors), 'mistake')} in the input, nothing was made", "default")
    items = summary.items
    computed = sum(step.computed for step in summary.steps.values())
    if summary.steps and items.total and not computed and items.done == items.total:
        text.append(f" · nothing to do: all {plural(items.total, 'image')} were made before", "default")
    else:
        text.append(f" · {items.done:,} of {plural(items.total, 'image')}", "default")
        for count, word, style in (
            (items.failed, "failed", "red"),
            (items.quarantined, "quarantined", "yellow"),
            (items.pending, "pending", "cyan"),
        ):
            if count:
                text.append(", ").append(f"{count:,} {word}", style)
    text.append(f" · {format_seconds(summary.seconds)}", "dim")
    return text.append(f" · cost {format_cost(summary.cost)}", "dim") if summary.cost else text


def _error_line(error: SummaryError) -> Text:
    line = Text()
    if error.place:
        line.append(f"{error.place}: ", "dim")
    if error.path:
        line.append(f"{error.path}: ", "bold")
    return line.append(error.message)


def _step_table(summary: Summary) -> FittedTable:
    names = ["computed", "reused", "skipped", "failed", "time", "per image", *(["cost"] if summary.cost else [])]
    rows = [
        [
            Text(step_id),
            *(_count(count) for count in (step.computed, step.reused, step.skipped)),
            Text(f"{step.failed:,}", "red") if step.failed else _count(0),
            format_seconds(step.seconds),
            format_seconds(step.seconds / step.computed) if step.computed else _count(0),
            *([format_cost(step.cost)] if summary.cost else []),
        ]
        for step_id, step in summary.steps.items()
    ]
    return FittedTable(["step", *names], rows, numbers=names)


def _count(number: int) -> Text:
    return Text(f"{number:,}") if number else Text("–", "dim")


def _failure_table(summary: Summary) -> Table:
    shown = summary.failures[:20]
    total = max(len(summary.failures), summary.items.failed + summary.items.quarantined)
    more = f" (the first {len(shown)}; the manifest has all)" if total > len(shown) else ""
    is_mixed = bool(summary.items.failed and summary.items.quarantined)
    state = [Column("state", no_wrap=True)] if is_mixed else []
    rows = [
        [Text(one.item), *([Text(one.state)] if is_mixed else []), Text(one.step or "–"), Text(one.message)]
        for one in shown
    ]
    return _table(
        [_folded("item", ratio=1), *state, Column("at step", no_wrap=True), _folded("why", ratio=3)],
        rows,
        Text(failures_title(summary) + more, "bold"),
    )


def _waiting(summary: Summary) -> Text:
    head = Text(f"{plural(summary.items.waiting, 'item')} can be accepted or rejected:")
    for verb, options in (("accept", " --resume"), ("reject", "")):
        head.append("\n  ").append(f"pixelmill {verb} {summary.job} ITEM…{options}", "bold")
    return head


def _files(summary: Summary) -> Table:
    # Long paths must stay whole, to be copied: no wrapping into columns.
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, path in (
        ("images", summary.output),
        ("gallery", summary.gallery),
        ("review", summary.review),
        ("manifest", summary.manifest),
    ):
        if path:
            table.add_row(name, Text(path))
    if summary.model_loads:
        loads = ", ".join(
            model if count == 1 else f"{model} ({count} times)" for model, count in summary.model_loads.items()
        )
        table.add_row("models loaded", Text(loads))
    return table


def plural(count: int, noun: str) -> str:
    """Return "1 item" or "2 items"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


# -- Markdown

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_SPACE = re.compile(r"\s+")
# What renderers of GitHub's dialect turn into links by themselves, some of them after the escapes were read.
_LINKED = re.compile(r"(?i)(?<=http)(?=://)|(?<=https)(?=://)|(?<=ftp)(?=://)|(?<=www)(?=\.)|(?=@)")
_JOINER = "\u2060"  # takes no room, and no line breaks at it
_UNSEEN = frozenset({"Cc", "Cf", "Cs"})  # control characters, formats such as direction overrides, half characters
_WANTED = frozenset("\u200c\u200d")  # formats that Persian, Indian scripts and emoji are written with


def escape_markdown(text: str, *, limit: int | None = None) -> str:
    """Return one line of Markdown that shows just this text, inside a table too.

    Nothing in it is a heading, a list, a link, an image, code or HTML, and it ends no cell. White space, line ends
    included, becomes single blanks; characters that cannot be seen or turn the direction of writing become U+FFFD.
    Addresses are kept from becoming links by an invisible character. More than `limit` characters are cut, with an
    ellipsis.
    """
    plain = "".join(_visible(character) for character in _SPACE.sub(" ", text).strip())
    if limit is not None and len(plain) > limit:
        plain = plain[: max(limit - 1, 0)].rstrip() + "…"
    return _PUNCTUATION.sub(r"\\\1", _LINKED.sub(_JOINER, plain))


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, limit: int = 300) -> str:
    """Return a Markdown table with a column for each header; cells are escaped and cut at `limit` characters.

    A cell of Markup is Markdown already, and None makes an empty cell. Raises ValueError when there are no headers, or
    when a row has another number of cells.
    """
    if not headers:
        raise ValueError("a table needs at least one column")
    lines = [_line(headers, limit), "|" + " --- |" * len(headers)]
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(headers)} columns: {row!r}")
        lines.append(_line(row, limit))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[object], limit: int) -> str:
    texts = (
        cell if isinstance(cell, Markup) else "" if cell is None else escape_markdown(str(cell), limit=limit)
        for cell in cells
    )
    return "| " + " | ".join(texts) + " |"


def _visible(character: str) -> str:
    if character.isprintable() or character in _WANTED or unicodedata.category(character) not in _UNSEEN:
        return character
    return "\ufffd"
