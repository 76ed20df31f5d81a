"""The summary of a run, which is printed, stored as `report.json` and returned by `--json`; addresses of files."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from storage.ledger.records import ItemState, JobRecord, JobStatus, step_of
from storage.objects.artefacts import ArtefactStore, StoreError
from storage.objects.keys import job_key, sha256_hex

if TYPE_CHECKING:
    from storage.ledger.ledger import Ledger  # loads SQLAlchemy, which a refused input can do without

REPORT_NAME = "report.json"
GALLERY_NAME = "index.html"
REVIEW_NAME = "review.html"
MANIFEST_NAME = "manifest.jsonl"
PRESIGNED_SECONDS = 7 * 24 * 3600  # the longest that S3 allows
MAX_FAILURES = 100  # more would make the report as long as the manifest, which has them all
MAX_WARNINGS = 100  # likewise

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_INCOMPLETE = 3


class ReportPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WhyNot(ReportPart):
    """A reason why a gate refused images at first, and how many."""

    reason: str
    images: int


class GateSummary(ReportPart):
    """How many images a gate tested, and what became of them. An item that a loop sends through it counts each time."""

    gate: str
    step: str | None = Field(description="Id of the step that it belongs to; null for a gate of its own.")
    place: str = Field(description="Where the recipe has it.")
    tested: int = 0
    passed: int = Field(default=0, description="At once.")
    retried: int = Field(default=0, description="Passed after it was made again.")
    repaired: int = Field(default=0, description="Passed after the repair.")
    warned: int = Field(default=0, description="Went on with a warning.")
    accepted: int = Field(default=0, description="Accepted by a person.")
    dropped: int = Field(default=0, description="Candidates that fell out.")
    quarantined: int = 0
    open: int = Field(default=0, description="Without a verdict: the item has not come that far, or failed on the way.")
    attempts: int = Field(default=0, description="How often an image was made again for it.")
    reasons: tuple[WhyNot, ...] = Field(default=(), description="The most frequent ones, at most 10.")


class ItemWarning(ReportPart):
    """A warning of a step, or of a gate that let an item pass."""

    item: str
    message: str


class WarningCount(ReportPart):
    """How many items have the same warning."""

    message: str
    items: int


class GateStats(ReportPart):
    """Counts of gates, attempts and warnings over all items, complete when a run has ended."""

    gates: tuple[GateSummary, ...] = Field(default=(), description="In the order of the recipe, the first 100.")
    attempts: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="Step id -> how many items were made once, twice …; only steps that were made more than once.",
    )
    warned_items: int = Field(default=0, description="Items with warnings.")
    warnings: int = 0
    warned: tuple[ItemWarning, ...] = Field(default=(), description=f"The first {MAX_WARNINGS}, in the job's order.")
    warned_of: tuple[WarningCount, ...] = Field(default=(), description="The most frequent ones, at most 20.")


class ItemCounts(ReportPart):
    """Numbers of items by state."""

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
    """A mistake in the input (`path` is its position in the document), or what stopped the job (path `job`)."""

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
    """Return the state of `job` now. `run` limits the counts of steps and model loads to that run, if given.

    `manifest` and `gallery` are looked up in the store: write them first, then build the summary to be kept.
    `ways`, which take a look at every item, are read from the kept report by default.
    """
    progress = ledger.items.progress(job.id)
    steps = ledger.steps.counts(job.id, run)
    loads = ledger.runs.model_loads(job.id, run)
    summary = Summary(
        job=job.id,
        status=job.status,
        items=ItemCounts(
            **asdict(progress), waiting=ledger.reviews.count_waiting(job.id) if progress.quarantined else 0
        ),
        steps={
            step_id: StepSummary(**{**asdict(counts), "seconds": round(counts.seconds, 3)})
            for step_id, counts in steps.items()
        },
        model_loads={model: load.count for model, load in loads.items()},
        cost=sum(step.cost for step in steps.values()) + sum(load.cost for load in loads.values()),
        output=store.uri(job.name),
        manifest=uri_if_written(store, job, MANIFEST_NAME),
        gallery=uri_if_written(store, job, GALLERY_NAME),
        review=uri_if_written(store, job, REVIEW_NAME) if progress.quarantined else None,
        seconds=round(_run_seconds(job), 3),
        errors=(SummaryError(path="job", message=job.error),) if job.error else (),
        failures=_failures(ledger, job, progress.failed + progress.quarantined),
        ways=ways,
    )
    return summary if ways is not None else summary.model_copy(update={"ways": _kept_stats(store, job, summary)})


def refusal_summary(error: InvalidInput) -> Summary:
    """Return the summary of an input that was refused, with every mistake in it."""
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
    """Store the summary as the job's `report.json`, replacing that of an earlier run. Return its key."""
    key = job_key(job.name, REPORT_NAME)
    store.replace(key, (summary.model_dump_json(indent=2) + "\n").encode(), content_type="application/json")
    return key


def exit_status(summary: Summary) -> int:
    """Return 0 if every item is done, 3 if the run ended but items failed or were quarantined, else 1."""
    troubled = summary.items.failed + summary.items.quarantined
    if summary.status is JobStatus.DONE and not troubled:
        return EXIT_DONE
    if summary.status in (JobStatus.DONE, JobStatus.INCOMPLETE) and troubled:
        return EXIT_INCOMPLETE
    return EXIT_ERROR


def uri_if_written(store: ArtefactStore, job: JobRecord, name: str) -> str | None:
    """Return the location of a file of the job, or None if it is not there, or its store is away."""
    key = job_key(job.name, name)
    try:
        return store.uri(key) if store.exists(key) else None
    except StoreError:
        return None


def _kept_stats(store: ArtefactStore, job: JobRecord, now: Summary) -> GateStats | None:
    """Return the statistics of the report that was kept when the job reached its state, or None."""
    if job.finished_at is None:
        return None
    try:
        kept = Summary.model_validate_json(store.get(job_key(job.name, REPORT_NAME)))
    except (StoreError, ValueError):  # none there yet, or one of another version
        return None
    states = [
        (each.status, each.seconds, each.items.done, each.items.failed, each.items.quarantined, each.items.pending)
        for each in (kept, now)
    ]
    return kept.ways if states[0] == states[1] else None


def _run_seconds(job: JobRecord) -> float:
    start, end = (
        moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        for moment in (job.started_at, job.finished_at or datetime.now(UTC))
    )
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


def root_id(root: str) -> str:
    """Return the gallery server's id of a store. The root itself would reveal paths and buckets in addresses."""
    return sha256_hex(root.encode())[:12]


def served_path(root: str, key: str) -> str:
    """Return the path at `pixelmill serve` of a file in the store `root`."""
    return f"/files/{root_id(root)}/{quote(key)}"


def served_address(store: ArtefactStore, key: str, settings: Settings) -> str | None:
    """Return the file's address at `pixelmill serve`, or None without `PIXELMILL_GALLERY_URL`, the server's address."""
    if settings.gallery_url is None:
        return None
    return settings.gallery_url.rstrip("/") + served_path(store.root, key)


def file_address(store: ArtefactStore, key: str, settings: Settings) -> str | None:
    """Return the served address, else one that S3 signs for a week; None if a browser cannot reach it."""
    return served_address(store, key, settings) or store.link(key, PRESIGNED_SECONDS)


def job_path(job_id: str, page: str = "") -> str:
    """Return the path at `pixelmill serve` that shows how far a job is, and leads to its gallery once that is there.

    With `page="review"` it leads to the review page likewise.
    """
    return f"/jobs/{quote(job_id, safe='')}" + (f"/{page}" if page else "")


def job_address(job: JobRecord, settings: Settings, page: str = "") -> str | None:
    """Return that address, or None without `PIXELMILL_GALLERY_URL`. It is good from the start of the job."""
    return settings.gallery_url and settings.gallery_url.rstrip("/") + job_path(job.id, page)


def gallery_place(job: JobRecord, store: ArtefactStore, settings: Settings) -> str:
    """Return a sentence about where the job's images will be seen, for the beginning of a run's log."""
    if address := job_address(job, settings):
        return f"{job.name}: images and gallery: {address}"
    return f"{job.name}: the gallery will be {store.uri(job_key(job.name, GALLERY_NAME))}"
