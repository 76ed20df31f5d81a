"""The static gallery of a job: one page that works from a folder and from a bucket, with no server behind it.

`index.html` holds the page, its style and its script. The items lie beside it in script files, because a page opened
from a folder may load scripts but not JSON: `gallery/items-….js` has what the cards, the search and the filters
need, and is read at once; `gallery/details-….js` has the rest and is read when an item is opened, and
`gallery/ways-….js` has why it came out so, read when somebody asks. Their names are digests of their content, and the
page is written last, so a reader sees the old gallery or the new one, whole.
"""

import json
import math
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from configs.documents.problems import InvalidInput
from configs.documents.uris import shown
from configs.recipe.recipe import RecipeStep
from flows.explain.explain import Explainer
from flows.explain.explained import Explanation, Visited
from flows.explain.lines import ExplanationLine, lines_of
from flows.pages.page_parts import digest, source, store_data, templates
from flows.report.contact_sheet import last_final
from flows.report.report import GALLERY_NAME, Summary
from steps.recipe import resolve_program
from storage.ledger.finals import step_of
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemReport, ItemState, JobRecord, Outcome, StepOutcome
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key, sha256_hex

DATA_FOLDER = "gallery"
ITEMS_PER_DETAILS = 200  # some 300 KB: what opening one item costs; fewer where each may have come to many images
ITEMS_PER_LIST = 2000  # some 600 KB: the first page shows after the first of them
ITEMS_PER_PAGE = 200

_SCRIPT = "text/javascript; charset=utf-8"
_PAGE = "text/html; charset=utf-8"
_STATES = tuple(ItemState)
_OUTCOME_CODES = {Outcome.COMPUTED: "c", Outcome.REUSED: "r", Outcome.SKIPPED: "s", Outcome.FAILED: "f"}
_NOT_REACHED = "-"
_MAX_EXACT_INTEGER = 2**53 - 1  # of JavaScript's numbers; larger ones travel as text


class GalleryFile(NamedTuple):
    """A file of the gallery; `name` is relative to the job's folder."""

    name: str
    data: bytes
    content_type: str


def write_gallery(
    store: ArtefactStore,
    ledger: Ledger,
    job: JobRecord,
    *,
    summary: Summary,
    tell: Callable[[Explanation], object] | None = None,
) -> str:
    """Stores the gallery in the job's folder, replacing the one before. Returns the key of its page.

    Every item is explained for it; `tell` hears each explanation. Memory stays constant however many items the job
    has. If this raises, the gallery of before still works.
    """
    written = set()
    for file in gallery_files(job, summary, _explained(job, ledger, tell)):
        key = job_key(job.name, file.name)
        if file.name == GALLERY_NAME:
            store.sync()
            store.replace(key, file.data, content_type=file.content_type)
        else:
            store_data(store, key, file.data, content_type=file.content_type)
        written.add(key)
    _delete_others(store, job_key(job.name, f"{DATA_FOLDER}/"), written)
    return job_key(job.name, GALLERY_NAME)


def _explained(job: JobRecord, ledger: Ledger, tell: Callable[[Explanation], object] | None) -> Iterator[Explanation]:
    explainer = Explainer(job, ledger.reviews.all(job.id))
    for report in ledger.items.reports(job.id):
        explanation = explainer.explain(report)
        if tell is not None:
            tell(explanation)
        yield explanation


def gallery_files(job: JobRecord, summary: Summary, explanations: Iterable[Explanation]) -> Iterator[GalleryFile]:
    """Renders the gallery's files, the page last. `explanations` is read once, in slices."""
    tally = _Tally(steps={step.id: _StepTally() for step in job.recipe.leaves})
    names: dict[str, list[str]] = {"items": [], "details": [], "ways": []}

    def script(kind: str, rows: list[list[Any]]) -> GalleryFile:
        file = _script(kind, len(names[kind]), rows)
        names[kind].append(file.name)
        return file

    list_rows: list[list[Any]] = []
    visits = _visits(job)
    per_details = _per_details(len(visits))
    for batch in _slices(explanations, per_details):
        for explanation in batch:
            tally.add(explanation.report)
            list_rows.append(_list_row(explanation))
        yield script("details", [_detail_row(explanation) for explanation in batch])
        yield script("ways", [[_way_row(line) for line in lines_of(explanation)] for explanation in batch])
        if len(list_rows) >= ITEMS_PER_LIST:
            yield script("items", list_rows)
            list_rows = []
    if list_rows:
        yield script("items", list_rows)
    yield GalleryFile(GALLERY_NAME, _page(job, summary, tally, names, visits).encode(), _PAGE)


def relative_link(job_name: str, key: str) -> str:
    """URL of the object `key` as seen from the job's folder; every path segment is percent-encoded."""
    inside = key.startswith(f"{job_name}/")
    path = key.removeprefix(f"{job_name}/") if inside else posixpath.relpath(key, start=job_name)
    return quote(path, safe="/")


# -- counting --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _StepTally:
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # of the first visit: one for each item
    again: Counter[Outcome] = field(default_factory=Counter)  # of further attempts
    seconds: float = 0.0


@dataclass(slots=True)
class _Tally:
    """Counted from the same rows that the cards show, so that a count and what its filter finds agree."""

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


# -- rows: lists, as short as they can be; gallery.js reads them by position -----------------------------------------


def _list_row(explanation: Explanation) -> list[Any]:
    """[name, prompt, state, outcome per step, seconds, image link, width, height, error, number of warnings]"""
    record, steps = explanation.report.record, explanation.report.steps
    image, width, height = _card_image(explanation)
    outcomes = "".join(
        _OUTCOME_CODES[entry.outcome] if (entry := steps.get(step.id)) else _NOT_REACHED
        for step in explanation.job.recipe.leaves
    )
    return [
        record.item.name,
        record.item.prompt,
        _STATES.index(record.state),
        outcomes,
        _short_float(sum(entry.seconds for entry in steps.values())),
        image,
        width,
        height,
        record.error,
        len(record.warnings),
    ]


def _card_image(explanation: Explanation) -> tuple[str | None, int, int]:
    """(link, width, height) of the last final, or else of the newest artefact: how far the item came."""
    job, report = explanation.job, explanation.report
    if final := last_final(job, report.record):
        visit, key = final
        entry = report.steps.get(visit)
        # A step that was skipped keeps the image of the step before it, so its size may be unknown here.
        width, height = (entry.artefact.width, entry.artefact.height) if entry and entry.artefact else (0, 0)
        return relative_link(job.name, key), width, height
    order = [visit.visit for visit in explanation.visits if visit.counts] or list(report.steps)
    for visit in reversed(order):
        entry = report.steps.get(visit)
        if entry and entry.artefact and (link := _artefact_link(job, entry)):
            return link, entry.artefact.width, entry.artefact.height
    return None, 0, 0


def _detail_row(explanation: Explanation) -> list[Any]:
    """[negative prompt, seed, variables, input image, mask, step of the error, finals, steps, attempts, warnings]

    `steps` are the first visits, in recipe order; `attempts` are [visit, place of its step, number, step] of others.
    """
    job, record, entries = explanation.job, explanation.report.record, explanation.report.steps
    item = record.item
    visited = {visit.visit: visit for visit in explanation.visits}
    places = {step.id: place for place, step in enumerate(job.recipe.leaves)}
    again = [
        [visit, places[step_of(visit)], _number(visit, visited), _step_row(job, entry, visited.get(visit))]
        for visit, entry in entries.items()
        if visit not in places and step_of(visit) in places
    ]
    return [
        item.negative_prompt,
        str(item.seed),
        [[name, _plain(value)] for name, value in item.vars.items()],
        item.image and shown(item.image),  # a signature is not for everybody who may see the images
        item.mask and shown(item.mask),
        record.error_step and explanation.label(record.error_step),
        [[explanation.label(visit), relative_link(job.name, key)] for visit, key in record.finals.items()],
        [_step_row(job, entries.get(step.id), visited.get(step.id)) for step in job.recipe.leaves],
        again,
        list(record.warnings),
    ]


def _number(visit: str, visited: Mapping[str, Visited]) -> int:
    """Which attempt of the item it is; as the recipe counts visits, where the way is not known."""
    return visited[visit].attempt if visit in visited else int(visit.partition("~")[2])


def _way_row(line: ExplanationLine) -> list[Any]:
    """[depth, tone, text, detail, visit], without what is empty at its end."""
    row = [line.depth, line.tone.value, line.text, line.detail, line.visit]
    while not row[-1] and len(row) > 3:
        row.pop()
    return row


def _step_row(job: JobRecord, entry: StepOutcome | None, visited: Visited | None) -> list[Any] | None:
    """[outcome, seconds, error] and, where there is an artefact, [link, width, height, bytes, fingerprint, facts].

    Then, where the way is known, the visit that made the image that went in, and whether the item went on from it.
    Tracebacks stay in the ledger: a gallery is made to be shown around.
    """
    if entry is None:
        return None
    row: list[Any] = [_OUTCOME_CODES[entry.outcome], _short_float(entry.seconds), entry.error]
    if artefact := entry.artefact:
        facts = [[name, _plain(value)] for name, value in artefact.facts.items()]
        row += [
            _artefact_link(job, entry),
            artefact.width,
            artefact.height,
            artefact.size,
            artefact.fingerprint,
            facts,
        ]
        if visited is not None:
            row += [visited.source, visited.counts]
    return row


def _artefact_link(job: JobRecord, entry: StepOutcome) -> str | None:
    """None for an artefact in another store: no relative link leads there."""
    artefact = entry.artefact
    return relative_link(job.name, artefact.key) if artefact and artefact.root == job.output else None


def _plain(value: Any) -> bool | int | float | str | None:
    """What JSON and JavaScript hold without loss; anything else as text."""
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


# -- files -----------------------------------------------------------------------------------------------------------


def _script(kind: str, number: int, rows: list[list[Any]]) -> GalleryFile:
    # ASCII only: the file means the same in whatever encoding a server claims, lone surrogates included.
    data = f"pixelmill.{kind}({number},{json.dumps(rows, separators=(',', ':'), allow_nan=False)});\n".encode("ascii")
    return GalleryFile(f"{DATA_FOLDER}/{kind}-{sha256_hex(data)[:16]}.js", data, _SCRIPT)


def _page(job: JobRecord, summary: Summary, tally: _Tally, names: dict[str, list[str]], visits: Sequence[str]) -> str:
    config = {
        "lists": names["items"],
        "details": names["details"],
        "ways": names["ways"],
        "perDetails": _per_details(len(visits)),
        "perPage": ITEMS_PER_PAGE,
        "total": tally.total,
        "states": [str(state) for state in _STATES],
        "steps": [[step.id, step.step, step.when] for step in job.recipe.leaves],
        "visits": visits,
    }
    return (
        templates()
        .get_template("gallery.html.j2")
        .render(
            job=job,
            summary=summary,
            started=job.started_at.astimezone(UTC) if job.started_at.tzinfo else job.started_at,
            states=[(str(state), tally.states[state]) for state in _STATE_ORDER],
            warned=tally.warned,
            total=tally.total,
            steps=[_step_view(step, tally.steps[step.id], tally.total) for step in job.recipe.leaves],
            config=config,
            style=source("gallery.css"),
            script=source("gallery.js"),
            script_digest=digest(source("gallery.js")),
        )
    )


def _per_details(visits: int) -> int:
    return min(ITEMS_PER_DETAILS, max(50, 8 * ITEMS_PER_DETAILS // visits))


def _visits(job: JobRecord) -> list[str]:
    """Ids of all visits in the order in which an item comes to them."""
    try:
        return list(resolve_program(job.recipe).step_ids)
    except InvalidInput:  # steps that this installation does not have
        return [step.id for step in job.recipe.leaves]


_STATE_ORDER = (ItemState.DONE, ItemState.QUARANTINED, ItemState.FAILED, ItemState.PENDING)


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


def _delete_others(store: ArtefactStore, prefix: str, written: set[str]) -> None:
    for key in [key for key, _ in store.list(prefix) if key not in written]:
        store.delete(key)


def _slices(explanations: Iterable[Explanation], size: int) -> Iterator[list[Explanation]]:
    iterator = iter(explanations)
    while batch := list(islice(iterator, size)):
        yield batch
