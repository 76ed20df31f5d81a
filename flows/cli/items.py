"""Commands about a job's items: `pixelmill explain`, `pixelmill accept` and `pixelmill reject`."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from configs.documents.problems import InvalidInput, Problem, did_you_mean
from configs.settings.settings import Settings
from flows.burst.review import ReviewOutcome, decide, login_name, resume_if_decided
from flows.explain.document import explanation_document
from flows.explain.explain import Explainer, Explanation
from flows.explain.lines import ExplanationLine, Tone, lines_of
from flows.pages.review_page import refresh_review_page
from flows.report.render import Answer, format_cost, format_seconds
from flows.report.report import EXIT_DONE
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemRecord, ItemState, JobRecord, JobStatus, ReviewVerdict

_STYLES = {  # mark, style of the mark, of the text, and of what follows it
    Tone.STEP: ("●", "bold", "bold", "default"),
    Tone.ASIDE: ("○", "dim", "dim", "dim"),
    Tone.CHOICE: ("◇", "cyan", "default", "default"),
    Tone.GOOD: ("✓", "green", "green", "dim"),
    Tone.BAD: ("✗", "red", "red", "default"),
    Tone.WARN: ("!", "yellow", "yellow", "default"),
}
_MOST_NEAR = 6
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
    for record in records:
        if str(record.item.index) == (wanted.lstrip("0") or "0"):
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
    below = [about, record.item.prompt] if record.item.prompt else [about]
    return [head, *(Padding(Text(text, "dim"), (0, 0, 0, 2), expand=False) for text in below)]


def _line(line: ExplanationLine) -> RenderableType:
    mark, color, style, quiet = _STYLES[line.tone]
    text = Text(line.text, style)
    if line.detail:
        text.append(": " if line.tone is Tone.CHOICE else "  ", "dim").append(line.detail, quiet)
    row = Table.grid(padding=(0, 1))  # wraps below the text, not below the mark
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(mark, color), text)
    return Padding(row, (0, 0, 0, 2 * line.depth + 2), expand=False)


# -- people's decisions ------------------------------------------------------------------------------------------------


def decide_command(
    job: JobRecord,
    items: Sequence[str],
    verdict: ReviewVerdict,
    *,
    everything: bool,
    reason: str | None,
    by: str | None,
    ledger: Ledger,
    settings: Settings,
) -> Answer:
    """Record the verdict, and resume a burst that waited for it. Raises InvalidInput with every mistake."""
    if everything and items:
        raise InvalidInput([Problem("items", "name items or give --all, not both")])
    wanted = None if everything else dict.fromkeys(items)
    decided = decide(job.id, wanted, verdict, reason=reason, reviewer=by or login_name(), ledger=ledger)
    goes_on = resume_if_decided(job.id, ledger) if decided.items else False
    refresh_review_page(job, ledger, settings)
    document = {
        "job": job.id,
        "verdict": verdict.value,
        "items": list(decided.items),
        "waiting": decided.waiting,
        "burst": "resumed" if goes_on else "waits" if ledger.reviews.waits(job.id) else None,
    }
    return Answer(document, _describe_decision(job, decided, verdict, goes_on, ledger), EXIT_DONE)


def _describe_decision(
    job: JobRecord, decided: ReviewOutcome, verdict: ReviewVerdict, goes_on: bool | None, ledger: Ledger
) -> RenderableType:
    if not decided.items:
        return Text(f"Nothing of {job.name} waits for a decision.")
    left = f"{decided.waiting:,} still wait" if decided.waiting else "nothing waits any longer"
    lines = [f"{len(decided.items):,} {verdict.value}; {left}"]
    if goes_on:
        lines.append("The burst that waited for this goes on.")
    elif goes_on is None:
        lines.append(
            "A burst waited for this: it goes on once `pixelmill up`, or `pixelmill serve --revive`, resumes it."
        )
    elif decided.waiting and ledger.reviews.waits(job.id):
        lines.append("A burst waits for the others, then goes on.")
    elif verdict is ReviewVerdict.ACCEPTED and ledger.jobs.get(job.id).status is JobStatus.RUNNING:
        lines.append("The job runs: it continues with them at its end.")
    elif verdict is ReviewVerdict.ACCEPTED:
        lines.append(f"`pixelmill resume {job.id}` continues with them.")
    return Group(*(Text(line) for line in lines))
