"""Render the static gallery of a job, one page with its items beside it in script files, and finish the job.

`gallery/items-….js` has what the cards, the search and the filters need and is read at once; `gallery/details-….js` has
the rest and is read when an item is opened; `gallery/ways-….js` explains how an item came out and is read on demand.
Rows are lists, to be short; the page learns the names of their fields from its `config`.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, NamedTuple, TypeGuard

from configs.documents.uris import shown
from configs.recipe.recipe import RecipeStep, VisitId
from configs.settings.settings import Settings
from flows.explain.explain import Explainer, Explanation, WayCounts
from flows.explain.lines import ExplanationLine, lines_of
from flows.pages.page_parts import PageFile, batches, data_file, relative_link, render_page, write_files
from flows.pages.review_page import write_review_page
from flows.report.contact_sheet import last_final, write_contact_sheet
from flows.report.report import GALLERY_NAME, Summary, build_summary, write_report
from gpu_worker.walk.trace import Visited
from storage.images.manifest import write_manifest
from storage.images.thumbnails import Thumbnails
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemReport, ItemState, JobRecord, Outcome, StepOutcome, step_of
from storage.objects.artefacts import ArtefactStore
from storage.objects.open_store import open_store

DATA_FOLDER = "gallery"
ITEMS_PER_DETAILS = 200  # some 300 KB: what opening one item costs; fewer where each may have come to many images
ITEMS_PER_LIST = 2000  # some 600 KB: the first page shows after the first of them
ITEMS_PER_PAGE = 200

SCRIPTS = (
    "page.js",
    "gallery/data.js",
    "gallery/filters.js",
    "gallery/grid.js",
    "gallery/viewer.js",
    "gallery/main.js",
)
_STATES = tuple(ItemState)
_SHOWN_STATES = (ItemState.DONE, ItemState.QUARANTINED, ItemState.FAILED, ItemState.PENDING)
_OUTCOME_CODES = {Outcome.COMPUTED: "c", Outcome.REUSED: "r", Outcome.SKIPPED: "s", Outcome.FAILED: "f"}
_NOT_REACHED = "-"
_MAX_EXACT_INTEGER = 2**53 - 1  # of JavaScript's numbers; larger ones travel as text


def write_gallery(
    store: ArtefactStore,
    ledger: Ledger,
    job: JobRecord,
    *,
    summary: Summary,
    on_explanation: Callable[[Explanation], object] | None = None,
) -> str:
    """Store the gallery in the job's folder, replacing the one before. Return the key of its page.

    Every item is explained for it; each explanation is passed to `on_explanation` too. Thumbnails that are missing are
    made first. Memory stays constant however many items the job has, but for the names of its thumbnails. If this
    raises, the gallery from before still works.
    """
    thumbnails = Thumbnails(store, job.name)

    def explanations() -> Iterator[Explanation]:
        explainer = Explainer(job, ledger.reviews.all(job.id))
        for reports in batches(ledger.items.reports(job.id), ITEMS_PER_DETAILS):
            some = [explainer.explain(report) for report in reports]
            thumbnails.complete(image for each in some if (image := _card_artefact(each)) is not None)
            for explanation in some:
                thumbnails.use(image.fingerprint for image in explanation.report.artefacts.values())
                if on_explanation is not None:
                    on_explanation(explanation)
                yield explanation

    files = gallery_files(job, summary, explanations(), thumbnails)
    key = write_files(store, job.name, files, page=GALLERY_NAME, folder=DATA_FOLDER)
    assert key is not None, "a gallery has a page, also without items"
    thumbnails.delete_unused()
    return key


def finish_job(job: JobRecord, ledger: Ledger, settings: Settings) -> Summary:
    """Write the files about the whole job beside its finals, and return the summary of its last run."""
    store = open_store(job.output, settings)
    write_manifest(store, ledger, job)
    write_contact_sheet(store, ledger, job)
    write_review_page(store, ledger, job)
    counts = WayCounts(job)  # filled while the gallery is written: every item is explained once
    write_gallery(store, ledger, job, summary=build_summary(ledger, job, store, run=job.run), on_explanation=counts.add)
    summary = build_summary(ledger, job, store, run=job.run, ways=counts.ways)
    write_report(store, job, summary)
    return summary


def gallery_files(
    job: JobRecord, summary: Summary, explanations: Iterable[Explanation], thumbnails: Container[str] = ()
) -> Iterator[PageFile]:
    """Render the gallery's files, the page last. `explanations` is read once, in slices.

    `thumbnails` holds the fingerprints of the images that have one by now; the others are shown themselves.
    """
    tally = _Tally(steps={step.id: _StepTally() for step in job.recipe.leaves})
    names: dict[str, list[str]] = {"items": [], "details": [], "ways": []}

    def script(kind: str, rows: Sequence[Sequence[Any]]) -> PageFile:
        file = data_file(DATA_FOLDER, kind, f"pixelmill.{kind}", len(names[kind]), rows)
        names[kind].append(file.name)
        return file

    item_rows: list[_ItemRow] = []
    program = Explainer(job).program  # None with steps that this installation does not have
    visits = program.step_ids if program is not None else [step.id for step in job.recipe.leaves]
    per_details = min(ITEMS_PER_DETAILS, max(50, 8 * ITEMS_PER_DETAILS // len(visits)))
    for batch in batches(explanations, per_details):
        for explanation in batch:
            tally.add(explanation.report)
            item_rows.append(_item_row(explanation, thumbnails))
        yield script("details", [_detail_row(explanation, thumbnails) for explanation in batch])
        yield script("ways", [[_line_row(line) for line in lines_of(explanation)] for explanation in batch])
        if len(item_rows) >= ITEMS_PER_LIST:
            yield script("items", item_rows)
            item_rows = []
    if item_rows:
        yield script("items", item_rows)
    config = {
        "lists": names["items"],
        "details": names["details"],
        "ways": names["ways"],
        "fields": {kind: row._fields for kind, row in _ROWS.items()},
        "perDetails": per_details,
        "perPage": ITEMS_PER_PAGE,
        "total": tally.total,
        "states": [str(state) for state in _STATES],
        "steps": [[step.id, step.step, step.when] for step in job.recipe.leaves],
        "visits": visits,
    }
    yield _page(job, summary, tally, config)


# -- counting --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _StepTally:
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # of the first visit: one for each item
    again: Counter[Outcome] = field(default_factory=Counter)  # of further attempts
    seconds: float = 0.0


@dataclass(slots=True)
class _Tally:
    """Counts from the same rows that the cards show, so that a count agrees with what its filter finds."""

    steps: dict[str, _StepTally]
    states: Counter[ItemState] = field(default_factory=Counter)
    warned: int = 0

    @property
    def total(self) -> int:
        return self.states.total()

    def add(self, report: ItemReport) -> None:
        self.states[report.record.state] += 1
        self.warned += bool(report.record.warnings)
        for visit, entry in report.steps.items():
            if (step := self.steps.get(step_of(visit))) is not None:
                outcomes = step.outcomes if visit == step_of(visit) else step.again
                outcomes[entry.outcome] += 1
                step.seconds += entry.seconds


# -- rows: short lists; the page finds their values by the names of these fields ---------------------------------------


class _ItemRow(NamedTuple):
    name: str
    prompt: str | None
    state: int  # index in the page's `states`
    outcomes: str  # one code for each step of the recipe
    seconds: float
    image: str | None  # link
    thumbnail: str | None  # fingerprint of the image, if it has a thumbnail
    width: int
    height: int
    error: str | None
    warnings: int


class _DetailRow(NamedTuple):
    negative_prompt: str | None
    seed: str
    vars: list[list[Any]]
    input: str | None
    mask: str | None
    error_step: str | None
    finals: list[list[str]]  # [step, link]
    steps: list[Sequence[Any] | None]  # first visits, in the recipe's order
    attempts: list[list[Any]]  # [visit, index of its step, number of the attempt, step] of further visits
    warnings: list[str]


class _StepRow(NamedTuple):
    """An outcome. Ends after `error` where there is no artefact, and after `facts` where the path is unknown."""

    outcome: str
    seconds: float
    error: str | None  # tracebacks stay in the ledger: a gallery is made to be shown around
    image: str | None
    width: int
    height: int
    size: int  # bytes
    fingerprint: str
    thumbnail: int  # 1 if it has one
    facts: list[list[Any]]
    source: str | None  # the visit whose image went in
    counts: bool  # whether the item went on from this image


class _LineRow(NamedTuple):
    """A line of an explanation. Ends after the last of `detail` and `visit` that is not empty."""

    depth: int
    tone: str
    text: str
    detail: str
    visit: str | None


_ROWS: Mapping[str, Any] = {"item": _ItemRow, "details": _DetailRow, "step": _StepRow, "line": _LineRow}


def _item_row(explanation: Explanation, thumbnails: Container[str]) -> _ItemRow:
    record, steps = explanation.report.record, explanation.report.steps
    final, artefact = last_final(explanation.job, record), _card_artefact(explanation)
    key = final[1] if final else artefact.key if artefact else None
    return _ItemRow(
        name=record.item.name,
        prompt=record.item.prompt,
        state=_STATES.index(record.state),
        outcomes="".join(
            _OUTCOME_CODES[entry.outcome] if (entry := steps.get(step.id)) else _NOT_REACHED
            for step in explanation.job.recipe.leaves
        ),
        seconds=_short_float(sum(entry.seconds for entry in steps.values())),
        image=key and relative_link(explanation.job.name, key),
        thumbnail=artefact.fingerprint if artefact and artefact.fingerprint in thumbnails else None,
        width=artefact.width if artefact else 0,
        height=artefact.height if artefact else 0,
        error=record.error,
        warnings=len(record.warnings),
    )


def _card_artefact(explanation: Explanation) -> ArtefactRecord | None:
    """Return the image of the last final, or else the newest one in the job's store."""
    job, report = explanation.job, explanation.report
    if final := last_final(job, report.record):
        # A step that was skipped keeps the image of the step before it, and has none here.
        order = [final[0]]
    else:
        order = [visit.visit for visit in explanation.visits if visit.counts] or list(report.steps)
    artefacts = report.artefacts
    return next((artefacts[visit] for visit in reversed(order) if _has_image(artefacts.get(visit), job)), None)


def _detail_row(explanation: Explanation, thumbnails: Container[str]) -> _DetailRow:
    job, record, entries = explanation.job, explanation.report.record, explanation.report.steps
    item = record.item
    visited = {visit.visit: visit for visit in explanation.visits}
    positions = {step.id: index for index, step in enumerate(job.recipe.leaves)}
    attempts = [
        [
            visit,
            positions[step_of(visit)],
            # The recipe's own number where the path is not known.
            visited[visit].attempt if visit in visited else VisitId.parse(visit).number,
            _step_row(job, entry, visited.get(visit), thumbnails),
        ]
        for visit, entry in entries.items()
        if visit not in positions and step_of(visit) in positions
    ]
    return _DetailRow(
        negative_prompt=item.negative_prompt,
        seed=str(item.seed),
        vars=[[name, _plain(value)] for name, value in item.vars.items()],
        input=item.image and shown(item.image),  # without the signature, which must not be published
        mask=item.mask and shown(item.mask),
        error_step=record.error_step and explanation.label(record.error_step),
        finals=[[explanation.label(visit), relative_link(job.name, key)] for visit, key in record.finals.items()],
        steps=[_step_row(job, entries.get(step.id), visited.get(step.id), thumbnails) for step in job.recipe.leaves],
        attempts=attempts,
        warnings=list(record.warnings),
    )


def _line_row(line: ExplanationLine) -> list[Any]:
    row = list(_LineRow(line.depth, line.tone.value, line.text, line.detail, line.visit))
    while not row[-1] and len(row) > 3:
        row.pop()
    return row


def _step_row(
    job: JobRecord, entry: StepOutcome | None, visited: Visited | None, thumbnails: Container[str]
) -> Sequence[Any] | None:
    if entry is None:
        return None
    code, seconds = _OUTCOME_CODES[entry.outcome], _short_float(entry.seconds)
    artefact = entry.artefact
    if artefact is None:
        return code, seconds, entry.error
    row = _StepRow(
        outcome=code,
        seconds=seconds,
        error=entry.error,
        image=relative_link(job.name, artefact.key) if _has_image(artefact, job) else None,
        width=artefact.width,
        height=artefact.height,
        size=artefact.size,
        fingerprint=artefact.fingerprint,
        thumbnail=int(artefact.fingerprint in thumbnails),
        facts=[[name, _plain(value)] for name, value in artefact.facts.items()],
        source=visited.source if visited is not None else None,
        counts=visited is not None and visited.counts,
    )
    return row if visited is not None else row[: _StepRow._fields.index("source")]


def _has_image(artefact: ArtefactRecord | None, job: JobRecord) -> TypeGuard[ArtefactRecord]:
    """Return False for an artefact in another store: no relative link leads there."""
    return artefact is not None and artefact.root == job.output


def _plain(value: Any) -> bool | int | float | str | None:
    """Return a value that JSON and JavaScript hold without loss: itself, or a text."""
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value if abs(value) <= _MAX_EXACT_INTEGER else str(value)
        case float():
            return _short_float(value) if math.isfinite(value) else str(value)
        case _:
            return json.dumps(value, default=str)


def _short_float(value: float) -> float:
    return float(f"{value:.5g}")


# -- the page --------------------------------------------------------------------------------------------------------


def _page(job: JobRecord, summary: Summary, tally: _Tally, config: Mapping[str, Any]) -> PageFile:
    return render_page(
        GALLERY_NAME,
        "gallery.html.j2",
        style="gallery.css",
        scripts=SCRIPTS,
        config=config,
        job=job,
        summary=summary,
        started=job.started_at.astimezone(UTC) if job.started_at.tzinfo else job.started_at,
        states=[(str(state), tally.states[state]) for state in _SHOWN_STATES],
        warned=tally.warned,
        total=tally.total,
        steps=[_step_view(step, tally.steps[step.id], tally.total) for step in job.recipe.leaves],
    )


def _step_view(step: RecipeStep, tally: _StepTally, total: int) -> dict[str, Any]:
    computed = tally.outcomes[Outcome.COMPUTED] + tally.again[Outcome.COMPUTED]
    outcomes = [(str(outcome), tally.outcomes[outcome]) for outcome in Outcome]
    return {
        "id": step.id,
        "step": step.step,
        "when": step.when,
        "outcomes": [(name, count, 100 * count / total) for name, count in outcomes if count],
        "again": tally.again[Outcome.COMPUTED] + tally.again[Outcome.REUSED],
        "seconds": tally.seconds,
        "each": tally.seconds / computed if computed else None,
    }
