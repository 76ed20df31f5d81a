"""`pixelmill explain`: find the item, and print its explanation."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from configs.documents.problems import InvalidInput, Problem, did_you_mean
from flows.explain.document import explanation_document
from flows.explain.explain import Explainer, Explanation
from flows.explain.lines import ExplanationLine, Tone, lines_of
from flows.report.render import Answer, format_cost, format_seconds
from flows.report.report import EXIT_DONE
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemRecord, ItemState, JobRecord

_STYLES = {  # mark, style of the text, style of what follows it
    Tone.STEP: ("●", "bold", "default"),
    Tone.ASIDE: ("○", "dim", "dim"),
    Tone.CHOICE: ("◇", "default", "default"),
    Tone.GOOD: ("✓", "green", "dim"),
    Tone.BAD: ("✗", "red", "default"),
    Tone.WARN: ("!", "yellow", "default"),
}
_MOST_NEAR = 6
_MARKS = {Tone.CHOICE: "cyan"}  # only the mark is colored
_STATES = {ItemState.DONE: "bold green", ItemState.QUARANTINED: "bold yellow", ItemState.FAILED: "bold red"}


def explain_command(job: JobRecord, wanted: str, ledger: Ledger) -> Answer:
    """Explain an item. Raises InvalidInput if the job does not have it."""
    record = find_item(job, wanted, ledger)
    explanation = Explainer(job, ledger.reviews.all(job.id)).explain(ledger.items.report(job.id, record.item.index))
    return Answer(explanation_document(explanation), describe(explanation), EXIT_DONE)


def find_item(job: JobRecord, wanted: str, ledger: Ledger) -> ItemRecord:
    """Return the item of this name, of this index, or with this final (key or file name), in this order.

    Raises InvalidInput with similar names.
    """
    records = ledger.items.find(job.id)
    by_name = {record.item.name: record for record in records}
    if wanted in by_name:
        return by_name[wanted]
    if wanted.isdecimal():
        for record in records:
            if record.item.index == int(wanted):
                return record
    for record in records:
        if any(wanted in (key, key.rpartition("/")[2]) for key in record.finals.values()):
            return record
    raise InvalidInput([Problem("item", f"the job {job.id} has no item {wanted!r}{_near(wanted, list(by_name))}")])


def _near(wanted: str, names: Sequence[str]) -> str:
    """Return a hint with the names that contain the wanted one, or with a similar name."""
    within = [f"`{name}`" for name in names if wanted.casefold() in name.casefold()]
    if not within:
        return did_you_mean(wanted, names)
    more = ", …" if len(within) > _MOST_NEAR else ""
    return f"; did you mean {', '.join(within[:_MOST_NEAR])}{more}?"


def describe(explanation: Explanation) -> RenderableType:
    """Return the explanation for a terminal; texts are never read as Rich markup."""
    return Group(*_head(explanation), Text(), *(_line(line) for line in lines_of(explanation)))


def _head(explanation: Explanation) -> list[RenderableType]:
    job, record = explanation.job, explanation.report.record
    entries = explanation.report.steps.values()
    seconds, cost = sum(entry.seconds for entry in entries), sum(entry.cost for entry in entries)
    head = Text(record.item.name, "bold").append(" · ", "dim")
    head.append(record.state.value, _STATES.get(record.state, "bold cyan"))
    head.append(f" · item {record.item.index} of {job.id}, recipe {job.recipe.name}", "dim")
    about = f"seed {record.item.seed} · {format_seconds(seconds)} of compute time"
    about += f" · cost {format_cost(cost)}" if cost else ""
    lines: list[RenderableType] = [head, Padding(Text(about, "dim"), (0, 0, 0, 2), expand=False)]
    if record.item.prompt:
        lines.append(Padding(Text(record.item.prompt, "dim"), (0, 0, 0, 2), expand=False))
    return lines


def _line(line: ExplanationLine) -> RenderableType:
    mark, style, quiet = _STYLES[line.tone]
    text = Text(line.text, style)
    if line.detail:
        text.append(": " if line.tone is Tone.CHOICE else "  ", "dim").append(line.detail, quiet)
    row = Table.grid(padding=(0, 1))  # wraps below the text, not below the mark
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(mark, _MARKS.get(line.tone, style)), text)
    return Padding(row, (0, 0, 0, 2 * line.depth + 2), expand=False)
