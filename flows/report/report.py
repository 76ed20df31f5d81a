"""What a run came to: the summary that is printed, stored as `report.json` and returned by `--json`."""

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from configs.documents.problems import InvalidInput
from flows.report.ways import GateStats, ReportPart, ways_sections
from storage.ledger.finals import step_of
from storage.ledger.records import ItemState, JobRecord, JobStatus
from storage.objects.artefacts import ArtefactStore, StoreError
from storage.objects.keys import job_key

if TYPE_CHECKING:
    from storage.ledger.ledger import Ledger  # loads SQLAlchemy, which a refused input can do without

REPORT_NAME = "report.json"
GALLERY_NAME = "index.html"
REVIEW_NAME = "review.html"
MANIFEST_NAME = "manifest.jsonl"
MAX_FAILURES = 100  # more would make the report as long as the manifest, which has them all

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_INCOMPLETE = 3


class ItemCounts(ReportPart):
    """How many items the job has, and how they stand."""

    total: int = 0
    done: int = 0
    failed: int = 0
    quarantined: int = 0
    pending: int = 0
    waiting: int = Field(default=0, description="Of the quarantined: those about which a person may decide.")


class StepSummary(ReportPart):
    """How many images this run computed and reused at one step, and how many items skipped it and failed there.

    Every attempt of an item counts.
    """

    computed: int = 0
    reused: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = Field(default=0.0, description="Compute time of all images together.")
    cost: float = Field(default=0.0, description="What that time cost, by PIXELMILL_PRICE_PER_HOUR of the workers.")


class Failure(ReportPart):
    """An item that failed or was quarantined."""

    item: str = Field(description="The item's name.")
    state: Literal["failed", "quarantined"] = "failed"
    step: str | None = Field(description="Id of the step where it stopped.")
    message: str


class SummaryError(ReportPart):
    """A mistake that refused the input (`path` says where in the document), or what stopped the job (path `job`)."""

    path: str
    message: str
    place: str | None = Field(default=None, exclude=True, description="File and line, for the terminal.")


class Summary(ReportPart):
    """The public account of a run. `model_dump_json()` is a stable interface: add fields, never rename them."""

    job: str | None = Field(description="The job's id; null when the input was refused before there was a job.")
    status: JobStatus | Literal["refused"]
    items: ItemCounts = ItemCounts()
    steps: dict[str, StepSummary] = Field(default_factory=dict, description="By step id, in recipe order.")
    model_loads: dict[str, int] = Field(default_factory=dict, description="Model -> times it was loaded.")
    cost: float = Field(default=0.0, description="Of all steps and model loads.")
    output: str | None = Field(default=None, description="The job's folder: an absolute path or an s3:// URI.")
    manifest: str | None = Field(default=None, description="Likewise; null until written.")
    gallery: str | None = Field(default=None, description="Likewise; null until written.")
    review: str | None = Field(default=None, description="Likewise: the page of what waits for a decision, or waited.")
    seconds: float = Field(default=0.0, description="Wall time of the run, up to now while it lasts.")
    errors: tuple[SummaryError, ...] = ()
    failures: tuple[Failure, ...] = Field(default=(), description=f"The first {MAX_FAILURES}, in the job's order.")
    ways: GateStats | None = Field(default=None, description="Null until the run has ended.")


def build_summary(
    ledger: "Ledger", job: JobRecord, store: ArtefactStore, *, run: int | None, ways: GateStats | None = None
) -> Summary:
    """The state of `job` now. `run` limits the counts of steps and model loads to that run; None: all runs together.

    `manifest` and `gallery` are looked up in the store: write them first, then build the summary to be kept. `ways`,
    for which every item is looked at, are read from the kept report where they are not given.
    """
    progress = ledger.items.progress(job.id)
    steps = ledger.steps.counts(job.id, run)
    loads = ledger.runs.model_loads(job.id, run)
    summary = Summary(
        job=job.id,
        status=job.status,
        items=ItemCounts(
            total=progress.total,
            done=progress.done,
            failed=progress.failed,
            quarantined=progress.quarantined,
            pending=progress.pending,
            waiting=ledger.reviews.count_waiting(job.id) if progress.quarantined else 0,
        ),
        steps={
            step_id: StepSummary(
                computed=counts.computed,
                reused=counts.reused,
                skipped=counts.skipped,
                failed=counts.failed,
                seconds=round(counts.seconds, 3),
                cost=counts.cost,
            )
            for step_id, counts in steps.items()
        },
        model_loads={model: load.count for model, load in loads.items()},
        cost=sum(step.cost for step in steps.values()) + sum(load.cost for load in loads.values()),
        output=store.uri(job.name),
        manifest=_uri_if_written(store, job, MANIFEST_NAME),
        gallery=_uri_if_written(store, job, GALLERY_NAME),
        review=_uri_if_written(store, job, REVIEW_NAME) if progress.quarantined else None,
        seconds=round(_run_seconds(job), 3),
        errors=(SummaryError(path="job", message=job.error),) if job.error else (),
        failures=_failures(ledger, job, progress.failed + progress.quarantined),
        ways=ways,
    )
    return summary if ways is not None else summary.model_copy(update={"ways": _kept_ways(store, job, summary)})


def refusal_summary(error: InvalidInput) -> Summary:
    """The account of an input that was refused, with every mistake in it."""
    return Summary(
        job=None,
        status="refused",
        errors=tuple(
            SummaryError(
                path=problem.path,
                message=problem.message,
                place=":".join(str(part) for part in (problem.file, problem.line) if part is not None) or None,
            )
            for problem in error.problems
        ),
    )


def write_report(store: ArtefactStore, job: JobRecord, summary: Summary) -> str:
    """Stores the summary as the job's `report.json`, replacing that of an earlier run. Returns its key."""
    key = job_key(job.name, REPORT_NAME)
    store.replace(key, (summary.model_dump_json(indent=2) + "\n").encode(), content_type="application/json")
    return key


def exit_status(summary: Summary) -> int:
    """0: every item is done; 3: the run ended, but items failed or were quarantined; 1: anything else."""
    troubled = summary.items.failed + summary.items.quarantined
    if summary.status is JobStatus.DONE and not troubled:
        return EXIT_DONE
    if summary.status in (JobStatus.DONE, JobStatus.INCOMPLETE) and troubled:
        return EXIT_INCOMPLETE
    return EXIT_ERROR


def format_seconds(seconds: float) -> str:
    """A duration for people: `0.42 s`, `12.5 s`, `3 min 20 s`, `2 h 05 min`."""
    if round(seconds, 2) < 10:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_cost(cost: float) -> str:
    """An amount in the currency of the price, with two digits that say something: `12.50`, `0.0042`."""
    if cost == 0 or cost >= 0.1:
        return f"{cost:,.2f}"
    return f"{cost:.{1 - math.floor(math.log10(cost))}f}"


def render_summary(summary: Summary, console: Console) -> None:
    """Prints the summary for a person. Names and messages are printed as they are, never read as Rich markup."""
    console.print(Group(*_sections(summary)))


def _uri_if_written(store: ArtefactStore, job: JobRecord, name: str) -> str | None:
    key = job_key(job.name, name)
    try:
        return store.uri(key) if store.exists(key) else None
    except StoreError:  # a store that is away hides its files, not the state of the job
        return None


def _kept_ways(store: ArtefactStore, job: JobRecord, now: Summary) -> GateStats | None:
    """Of the report that was kept when the job came to the state that it is in."""
    if job.finished_at is None:
        return None
    try:
        kept = Summary.model_validate_json(store.get(job_key(job.name, REPORT_NAME)))
    except (StoreError, ValueError):  # none there yet, or one of another version
        return None
    return kept.ways if _is_of_state(kept, now) else None


def _is_of_state(kept: Summary, now: Summary) -> bool:
    """Whether a kept report tells of the state that the job is in now."""
    states = [
        (each.status, each.seconds, each.items.done, each.items.failed, each.items.quarantined, each.items.pending)
        for each in (kept, now)
    ]
    return states[0] == states[1]


def _run_seconds(job: JobRecord) -> float:
    end = job.finished_at or datetime.now(UTC)
    start = job.started_at
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    return max(0.0, (end - start).total_seconds())


def _failures(ledger: "Ledger", job: JobRecord, count: int) -> tuple[Failure, ...]:
    if not count:
        return ()
    records = ledger.items.find(job.id, states=(ItemState.FAILED, ItemState.QUARANTINED))
    return tuple(
        Failure(
            item=record.item.name,
            state="quarantined" if record.state is ItemState.QUARANTINED else "failed",
            step=record.error_step and step_of(record.error_step),
            message=record.error or f"{record.state}, and no reason was recorded",
        )
        for record in records[:MAX_FAILURES]
    )


def failures_title(summary: Summary) -> str:
    """What the list of `failures` is of."""
    if not summary.items.quarantined:
        return "What failed"
    return "What failed or was quarantined" if summary.items.failed else "What was quarantined"


# -- for the terminal ------------------------------------------------------------------------------------------------

_STATUS_STYLE = {"done": "bold green", "incomplete": "bold yellow", "failed": "bold red", "refused": "bold red"}


def _sections(summary: Summary) -> list[RenderableType]:
    parts: list[RenderableType] = [_headline(summary)]
    if summary.errors:
        parts.append(_errors(summary))
    if summary.steps:
        parts += ["", _step_table(summary)]
    if summary.ways is not None:
        parts += ways_sections(summary.ways)
    if summary.failures:
        parts += ["", _failure_table(summary)]
    if summary.items.waiting:
        parts += ["", _waiting(summary)]
    if summary.output:
        parts += ["", _places(summary)]
    return parts


def _headline(summary: Summary) -> Text:
    text = Text(str(summary.status), style=_STATUS_STYLE.get(str(summary.status), "bold cyan"))
    if summary.status == "refused":
        return text.append(f" · {_plural(len(summary.errors), 'mistake')} in the input, nothing was made", "default")
    items = summary.items
    computed = sum(step.computed for step in summary.steps.values())
    if summary.steps and items.total and not computed and items.done == items.total:
        text.append(f" · nothing to do: all {_plural(items.total, 'image')} were made before", "default")
    else:
        text.append(f" · {items.done:,} of {_plural(items.total, 'image')}", "default")
        for count, word, style in (
            (items.failed, "failed", "red"),
            (items.quarantined, "quarantined", "yellow"),
            (items.pending, "pending", "cyan"),
        ):
            if count:
                text.append(", ").append(f"{count:,} {word}", style)
    text.append(f" · {format_seconds(summary.seconds)}", "dim")
    return text.append(f" · cost {format_cost(summary.cost)}", "dim") if summary.cost else text


def _errors(summary: Summary) -> RenderableType:
    lines = []
    for error in summary.errors:
        line = Text()
        if error.place:
            line.append(f"{error.place}: ", "dim")
        if error.path:
            line.append(f"{error.path}: ", "bold")
        lines.append(line.append(error.message))
    return Padding(Group(*lines), (0, 0, 0, 2))


def _step_table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("step")
    names = ["computed", "reused", "skipped", "failed", "time", "per image"]
    if summary.cost:
        names.append("cost")
    for name in names:
        table.add_column(name, justify="right")
    for step_id, step in summary.steps.items():
        table.add_row(
            Text(step_id),
            _count(step.computed),
            _count(step.reused),
            _count(step.skipped),
            _count(step.failed, "red"),
            format_seconds(step.seconds),
            format_seconds(step.seconds / step.computed) if step.computed else Text("–", "dim"),
            *([format_cost(step.cost)] if summary.cost else []),
        )
    return table


def _count(count: int, style: str = "") -> Text:
    return Text(f"{count:,}", style) if count else Text("–", "dim")


def _failure_table(summary: Summary) -> Table:
    shown = summary.failures[:20]
    total = max(len(summary.failures), summary.items.failed + summary.items.quarantined)
    more = f" (the first {len(shown)}; the manifest has all)" if total > len(shown) else ""
    title = Text(failures_title(summary) + more, "bold")
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
    table.add_column("item", overflow="fold", ratio=1)
    if is_mixed := bool(summary.items.failed and summary.items.quarantined):
        table.add_column("state", no_wrap=True)
    table.add_column("at step", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=3)
    for failure in shown:
        state = [Text(failure.state)] if is_mixed else []
        table.add_row(Text(failure.item), *state, Text(failure.step or "–"), Text(failure.message))
    return table


def _waiting(summary: Summary) -> Text:
    head = Text(f"{_plural(summary.items.waiting, 'item')} can be accepted or rejected:")
    for verb, options in (("accept", " --resume"), ("reject", "")):
        head.append("\n  ").append(f"pixelmill {verb} {summary.job} ITEM…{options}", "bold")
    return head


def _places(summary: Summary) -> Table:
    # Long paths must stay whole, to be copied: no wrapping into columns.
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, place in (
        ("images", summary.output),
        ("gallery", summary.gallery),
        ("review", summary.review),
        ("manifest", summary.manifest),
    ):
        if place:
            table.add_row(name, Text(place))
    if summary.model_loads:
        loads = ", ".join(
            model if count == 1 else f"{model} ({count} times)" for model, count in summary.model_loads.items()
        )
        table.add_row("models loaded", Text(loads))
    return table


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
