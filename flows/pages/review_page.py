"""Render the review page of a job: what gates have refused, image by image, for a person to accept or to reject.

A static page like the gallery: opened as a file it makes a command to be copied. Served by `pixelmill serve` it shows
the decisions of the moment, and can take them where `flows.serve.app` allows that. `review.html` is the page,
its items lie in `review/items-….js`.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from configs.documents.uris import shown
from configs.recipe.recipe import DISTINCT
from configs.settings.settings import Settings
from flows.pages.page_parts import PageFile, batches, data_file, relative_link, render_page, write_files
from flows.report.report import GALLERY_NAME, REVIEW_NAME
from gpu_worker.walk.distinct import repeated_in
from gpu_worker.walk.trace import visit_label
from storage.images.thumbnails import Thumbnails
from storage.ledger.ledger import Ledger
from storage.ledger.records import (
    ArtefactRecord,
    ItemReport,
    JobRecord,
    JobStatus,
    Outcome,
    RefusedItem,
    Review,
    step_of,
)
from storage.objects.artefacts import ArtefactStore
from storage.objects.open_store import open_store

DATA_FOLDER = "review"
ITEMS_PER_LIST = 1000  # some 700 KB: the first page shows after the first of them
ITEMS_PER_PAGE = 24

SCRIPTS = ("page.js", "review.js")


def write_review_page(store: ArtefactStore, ledger: Ledger, job: JobRecord) -> str | None:
    """Store the page in the job's folder, replacing the one before. Return its key, or None if no gate refused any.

    Memory stays constant however many items there are. If this raises, the page from before still works.
    """
    thumbnails = Thumbnails(store, job.name)

    def refused() -> Iterator[RefusedItem]:
        for some in batches(ledger.reviews.refused_items(job.id), ITEMS_PER_LIST):
            thumbnails.complete(
                image
                for item in some
                for image in item.artefacts.values()
                if image.fingerprint == item.record.refused_image and image.root == job.output
            )
            yield from some

    files = review_files(job, refused(), lambda names: ledger.items.reports_named(job.id, names), thumbnails)
    return write_files(store, job.name, files, page=REVIEW_NAME, folder=DATA_FOLDER)


def refresh_review_page(job: JobRecord, ledger: Ledger, settings: Settings) -> None:
    """Bring the page of an ended job up to date; a running job writes it at its end."""
    if ledger.jobs.get(job.id).status is not JobStatus.RUNNING:
        write_review_page(open_store(job.output, settings), ledger, job)


Lookup = Callable[[Sequence[str]], Mapping[str, ItemReport]]  # items of the job, by name


def review_files(
    job: JobRecord, refused: Iterable[RefusedItem], lookup: Lookup, thumbnails: Container[str] = ()
) -> Iterator[PageFile]:
    """Render the files, the page last; none at all without items. `refused` is read once, in slices.

    `lookup` finds the items that others repeat, to be shown beside them. `thumbnails` holds the fingerprints of the
    images that have one by now; the others are shown themselves.
    """
    show = partial(_image, job, thumbnails)
    names: list[str] = []
    total = 0
    for batch in batches(refused, ITEMS_PER_LIST):
        originals = lookup(sorted({name for item in batch if (name := _original(item)) is not None}))
        rows = [_row(job, item, originals.get(_original(item) or ""), show) for item in batch]
        file = data_file(DATA_FOLDER, "items", "pixelmillReview.items", len(names), rows)
        names.append(file.name)
        total += len(batch)
        yield file
    if not names:
        return
    yield render_page(
        REVIEW_NAME,
        "review.html.j2",
        style="review.css",
        scripts=SCRIPTS,
        job=job,
        total=total,
        gallery=GALLERY_NAME,
        written=datetime.now(UTC),
        config={
            "job": job.id,
            "lists": names,
            "total": total,
            "perPage": ITEMS_PER_PAGE,
            "fields": {kind: row._fields for kind, row in _ROWS.items()},
        },
    )


# Rows are short lists; the page finds their values by the names of these fields.


class _ImageRow(NamedTuple):
    label: str
    link: str
    thumbnail: str | None  # fingerprint of the image, if it has a thumbnail
    width: int
    height: int


class _DecisionRow(NamedTuple):
    verdict: str
    reviewer: str | None
    reason: str | None
    reviewed_at: str  # ISO 8601, UTC


class _Row(NamedTuple):
    name: str
    prompt: str | None
    input: str | None
    gate: str | None
    reason: str | None
    fingerprint: str | None
    image: _ImageRow | None
    others: list[_ImageRow]  # the repeated item's image if that is why it was refused, sources, earlier attempts
    decision: _DecisionRow | None


_ROWS: Mapping[str, Any] = {"item": _Row, "image": _ImageRow, "decision": _DecisionRow}


_Show = Callable[[str, ArtefactRecord], _ImageRow]  # label, image


def _row(job: JobRecord, item: RefusedItem, original: ItemReport | None, show: _Show) -> _Row:
    record = item.record
    images: dict[str, _ImageRow] = {}  # by object: a step that only measures has the image of the one before
    refused: _ImageRow | None = None
    visits: Counter[str] = Counter()  # of each step by this item, whatever numbers the recipe gives them
    for visit, entry in item.steps.items():
        step = step_of(visit)
        visits[step] += entry.outcome is not Outcome.SKIPPED
        if (artefact := entry.artefact) is None or artefact.root != job.output or artefact.key in images:
            continue
        images[artefact.key] = show(visit_label(step, visits[step]), artefact)
        if artefact.fingerprint == record.refused_image:
            refused = images[artefact.key]
    return _Row(
        name=record.item.name,
        prompt=record.item.prompt,
        input=record.item.image and shown(record.item.image),  # without the signature
        gate=record.refused_by,
        reason=record.error,
        fingerprint=record.refused_image,
        image=refused,
        others=[*_last_final(job, original, show), *(image for image in images.values() if image is not refused)],
        decision=decision_row(item.review) if item.review is not None else None,
    )


def _original(item: RefusedItem) -> str | None:
    """Return the name of the item that this one repeats, or None if it was refused for another reason."""
    return repeated_in(item.record.error or "") if item.record.refused_by == DISTINCT else None


def _last_final(job: JobRecord, original: ItemReport | None, show: _Show) -> list[_ImageRow]:
    if original is None:
        return []
    last = next(reversed(list(original.record.finals)), None)
    entry = original.steps.get(last) if last is not None else None
    if entry is None or (artefact := entry.artefact) is None or artefact.root != job.output:
        return []
    return [show(f"item {original.record.item.name}", artefact)]


def _image(job: JobRecord, thumbnails: Container[str], label: str, artefact: ArtefactRecord) -> _ImageRow:
    thumbnail = artefact.fingerprint if artefact.fingerprint in thumbnails else None
    return _ImageRow(label, relative_link(job.name, artefact.key), thumbnail, artefact.width, artefact.height)


def decision_row(review: Review) -> _DecisionRow:
    """Return what the page shows of a decision."""
    when = review.reviewed_at.astimezone(UTC).isoformat()
    return _DecisionRow(review.verdict.value, review.reviewer, review.reason, when)
