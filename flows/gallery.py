"""The static gallery of a job: one page that works from a folder and from a bucket, with no server behind it.

`index.html` holds the page, its style and its script. The items lie beside it in script files, because a page opened
from a folder may load scripts but not JSON: `gallery/items-….js` has what the cards, the search and the filters
need, and is read at once; `gallery/details-….js` has the rest and is read when an item is opened. Their names are
digests of their content, and the page is written last, so a reader sees the old gallery or the new one, whole.
"""

import json
import math
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from configs.recipe import RecipeStep
from flows.contact_sheet import last_final
from flows.report import GALLERY_NAME, Summary, format_seconds
from storage.artefacts import ArtefactStore
from storage.keys import job_key, sha256_hex
from storage.ledger import Ledger
from storage.records import ItemReport, ItemState, JobRecord, Outcome, StepEntry

DATA_FOLDER = "gallery"
ITEMS_PER_DETAILS = 200  # some 300 KB: what opening one item costs
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


def write_gallery(store: ArtefactStore, ledger: Ledger, job: JobRecord, *, summary: Summary) -> str:
    """Stores the gallery in the job's folder, replacing the one before. Returns the key of its page.

    Memory stays constant however many items the job has. If this raises, the gallery of before still works.
    """
    written = set()
    for file in gallery_files(job, summary, ledger.item_reports(job.id)):
        key = job_key(job.name, file.name)
        if file.name == GALLERY_NAME:
            store.sync()
            store.replace(key, file.data, content_type=file.content_type)
        else:
            store.put(key, file.data, sha256=sha256_hex(file.data), content_type=file.content_type)
        written.add(key)
    _delete_others(store, job_key(job.name, f"{DATA_FOLDER}/"), written)
    return job_key(job.name, GALLERY_NAME)


def gallery_files(job: JobRecord, summary: Summary, reports: Iterable[ItemReport]) -> Iterator[GalleryFile]:
    """Renders the gallery's files, the page last. `reports` is read once, in slices."""
    tally = _Tally(steps={step.id: _StepTally() for step in job.recipe.steps})
    names: dict[str, list[str]] = {"items": [], "details": []}

    def script(kind: str, rows: list[list[Any]]) -> GalleryFile:
        file = _script(kind, len(names[kind]), rows)
        names[kind].append(file.name)
        return file

    list_rows: list[list[Any]] = []
    for batch in _slices(reports, ITEMS_PER_DETAILS):
        for report in batch:
            tally.add(report)
            list_rows.append(_list_row(job, report))
        yield script("details", [_detail_row(job, report) for report in batch])
        if len(list_rows) >= ITEMS_PER_LIST:
            yield script("items", list_rows)
            list_rows = []
    if list_rows:
        yield script("items", list_rows)
    yield GalleryFile(GALLERY_NAME, _page(job, summary, tally, names).encode(), _PAGE)


def relative_link(job_name: str, key: str) -> str:
    """URL of the object `key` as seen from the job's folder; every path segment is percent-encoded."""
    inside = key.startswith(f"{job_name}/")
    path = key.removeprefix(f"{job_name}/") if inside else posixpath.relpath(key, start=job_name)
    return quote(path, safe="/")


# -- counting --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _StepTally:
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(slots=True)
class _Tally:
    """Counted from the same rows that the cards show, so that a count and what its filter finds agree."""

    steps: dict[str, _StepTally]
    states: Counter[ItemState] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.states.total()

    def add(self, report: ItemReport) -> None:
        self.states[report.record.state] += 1
        for step_id, entry in report.steps.items():
            if (step := self.steps.get(step_id)) is not None:
                step.outcomes[entry.outcome] += 1
                step.seconds += entry.seconds


# -- rows: lists, as short as they can be; gallery.js reads them by position -----------------------------------------


def _list_row(job: JobRecord, report: ItemReport) -> list[Any]:
    """[name, prompt, state, outcome per step, seconds, image link, width, height, error]"""
    record = report.record
    image, width, height = _card_image(job, report)
    outcomes = "".join(
        _OUTCOME_CODES[entry.outcome] if (entry := report.steps.get(step.id)) else _NOT_REACHED
        for step in job.recipe.steps
    )
    return [
        record.item.name,
        record.item.prompt,
        _STATES.index(record.state),
        outcomes,
        _short_float(sum(entry.seconds for entry in report.steps.values())),
        image,
        width,
        height,
        record.error,
    ]


def _card_image(job: JobRecord, report: ItemReport) -> tuple[str | None, int, int]:
    """(link, width, height) of the last final, or else of the newest artefact: how far the item came."""
    if final := last_final(job, report.record):
        step_id, key = final
        entry = report.steps.get(step_id)
        # A step that was skipped keeps the image of the step before it, so its size may be unknown here.
        width, height = (entry.artefact.width, entry.artefact.height) if entry and entry.artefact else (0, 0)
        return relative_link(job.name, key), width, height
    for step in reversed(job.recipe.steps):
        entry = report.steps.get(step.id)
        if entry and entry.artefact and (link := _artefact_link(job, entry)):
            return link, entry.artefact.width, entry.artefact.height
    return None, 0, 0


def _detail_row(job: JobRecord, report: ItemReport) -> list[Any]:
    """[negative prompt, seed, variables, input image, mask, step of the error, finals, steps]"""
    item = report.record.item
    finals = report.record.finals
    return [
        item.negative_prompt,
        str(item.seed),
        [[name, _plain(value)] for name, value in item.vars.items()],
        item.image,
        item.mask,
        report.record.error_step,
        [[step.id, relative_link(job.name, finals[step.id])] for step in job.recipe.steps if step.id in finals],
        [_step_row(job, report.steps.get(step.id)) for step in job.recipe.steps],
    ]


def _step_row(job: JobRecord, entry: StepEntry | None) -> list[Any] | None:
    """[outcome, seconds, error] and, where there is an artefact, [link, width, height, bytes, fingerprint, facts].

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
    return row


def _artefact_link(job: JobRecord, entry: StepEntry) -> str | None:
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


def _page(job: JobRecord, summary: Summary, tally: _Tally, names: dict[str, list[str]]) -> str:
    config = {
        "lists": names["items"],
        "details": names["details"],
        "perDetails": ITEMS_PER_DETAILS,
        "perPage": ITEMS_PER_PAGE,
        "total": tally.total,
        "states": [str(state) for state in _STATES],
        "steps": [[step.id, step.step, step.when] for step in job.recipe.steps],
    }
    return (
        _environment()
        .get_template("gallery.html.j2")
        .render(
            job=job,
            summary=summary,
            started=job.started_at.astimezone(UTC) if job.started_at.tzinfo else job.started_at,
            states=[(str(state), tally.states[state]) for state in _STATE_ORDER],
            total=tally.total,
            steps=[_step_view(step, tally.steps[step.id], tally.total) for step in job.recipe.steps],
            config=config,
            style=_source("gallery.css"),
            script=_source("gallery.js"),
        )
    )


_STATE_ORDER = (ItemState.DONE, ItemState.QUARANTINED, ItemState.FAILED, ItemState.PENDING)


def _step_view(step: RecipeStep, tally: _StepTally, total: int) -> dict[str, Any]:
    computed = tally.outcomes[Outcome.COMPUTED]
    outcomes = [(str(outcome), tally.outcomes[outcome]) for outcome in Outcome]
    return {
        "id": step.id,
        "step": step.step,
        "when": step.when,
        "outcomes": [(name, count, 100 * count / total) for name, count in outcomes if count],
        "seconds": tally.seconds,
        "each": tally.seconds / computed if computed else None,
    }


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("flows", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = format_seconds
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment


def _source(name: str) -> Markup:
    """A file of ours, to be placed in the page as it is: neither parsed as a template nor escaped."""
    return Markup((files("flows") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704


def _delete_others(store: ArtefactStore, prefix: str, written: set[str]) -> None:
    for key in [key for key, _ in store.list(prefix) if key not in written]:
        store.delete(key)


def _slices(reports: Iterable[ItemReport], size: int) -> Iterator[list[ItemReport]]:
    iterator = iter(reports)
    while batch := list(islice(iterator, size)):
        yield batch
