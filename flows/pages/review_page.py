"""The review page of a job: what gates have refused, image by image, for a person to accept or to reject.

A static page like the gallery, that works from a folder and from a bucket: there it makes the command to be copied.
Served by `pixelmill serve` it shows the decisions as they are, and can take them where
`flows.serve.review_api` allows that.
`review.html` is the page, its items lie in `review/items-….js`, named by the digests of their content.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from configs.documents.uris import shown
from configs.recipe.recipe import DISTINCT
from configs.settings.settings import Settings
from flows.explain.explained import visit_label
from flows.pages.gallery import GalleryFile, relative_link
from flows.pages.page_parts import digest, source, store_data, templates
from flows.report.report import GALLERY_NAME, REVIEW_NAME
from gpu_worker.walk.distinct import repeated_in
from storage.ledger.finals import step_of
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemReport, JobRecord, JobStatus, Outcome, RefusedItem, Review
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key, sha256_hex
from storage.objects.open_store import open_store

DATA_FOLDER = "review"
ITEMS_PER_LIST = 1000  # some 700 KB: the first page shows after the first of them
ITEMS_PER_PAGE = 24

_SCRIPT = "text/javascript; charset=utf-8"
_PAGE = "text/html; charset=utf-8"


def write_review_page(store: ArtefactStore, ledger: Ledger, job: JobRecord) -> str | None:
    """Stores the page in the job's folder, replacing the one before. Returns its key; None: no gate refused anything.

    Memory stays constant however many items there are. If this raises, the page of before still works.
    """
    written = set()
    page = job_key(job.name, REVIEW_NAME)
    for file in review_files(
        job, ledger.reviews.refused_items(job.id), lambda names: ledger.items.reports_named(job.id, names)
    ):
        key = job_key(job.name, file.name)
        if file.name == REVIEW_NAME:
            store.sync()
            store.replace(key, file.data, content_type=file.content_type)
        else:
            store_data(store, key, file.data, content_type=file.content_type)
        written.add(key)
    if not written and store.exists(page):
        store.delete(page)
    for key in [key for key, _ in store.list(job_key(job.name, f"{DATA_FOLDER}/")) if key not in written]:
        store.delete(key)
    return page if written else None


def refresh_review_page(job: JobRecord, ledger: Ledger, settings: Settings) -> None:
    """Brings the page of an ended job up to date; a job that runs writes it at its end."""
    if ledger.jobs.get(job.id).status is not JobStatus.RUNNING:
        write_review_page(open_store(job.output, settings), ledger, job)


Lookup = Callable[[Sequence[str]], Mapping[str, ItemReport]]  # items of the job, by name


def review_files(job: JobRecord, refused: Iterable[RefusedItem], lookup: Lookup) -> Iterator[GalleryFile]:
    """Renders the files, the page last; none at all without items. `refused` is read once, in slices.

    `lookup` finds the items that others repeat, to be shown beside them.
    """
    names: list[str] = []
    total = 0
    items = iter(refused)
    while some := list(islice(items, ITEMS_PER_LIST)):
        originals = lookup(sorted({name for item in some if (name := _original(item)) is not None}))
        found = [_row(job, item, originals.get(_original(item) or "")) for item in some]
        rows = json.dumps(found, separators=(",", ":"), allow_nan=False)
        # ASCII only: the file means the same in whatever encoding a server claims.
        data = f"pixelmillReview.items({len(names)},{rows});\n".encode("ascii")
        file = GalleryFile(f"{DATA_FOLDER}/items-{sha256_hex(data)[:16]}.js", data, _SCRIPT)
        names.append(file.name)
        total += len(some)
        yield file
    if names:
        yield GalleryFile(REVIEW_NAME, _page(job, names, total).encode(), _PAGE)


# Rows are lists, as short as they can be; review.js reads them by position.
def _row(job: JobRecord, item: RefusedItem, original: ItemReport | None) -> list[Any]:
    """[name, prompt, input image, gate, reason, fingerprint, image, others, decision]

    An image is [words, link, width, height]; `others` are those that it was made of, and former attempts. Before them
    comes the image of the item that this one repeats, if that is why it was refused.
    """
    record = item.record
    images: dict[str, list[Any]] = {}  # by object: a step that only measures has the image of the one before
    refused: list[Any] | None = None
    visits: Counter[str] = Counter()  # of each step by this item, whatever numbers the recipe gives them
    for visit, entry in item.steps.items():
        step = step_of(visit)
        visits[step] += entry.outcome is not Outcome.SKIPPED
        if (artefact := entry.artefact) is None or artefact.root != job.output or artefact.key in images:
            continue
        images[artefact.key] = _image(job, visit_label(step, visits[step]), artefact)
        if artefact.fingerprint == record.refused_image:
            refused = images[artefact.key]
    return [
        record.item.name,
        record.item.prompt,
        record.item.image and shown(record.item.image),  # a signature is not for everybody who may see the images
        record.refused_by,
        record.error,
        record.refused_image,
        refused,
        [*_last_final(job, original), *(image for image in images.values() if image is not refused)],
        item.review and decision_row(item.review),
    ]


def _original(item: RefusedItem) -> str | None:
    """The name of the item that this one repeats."""
    return repeated_in(item.record.error or "") if item.record.refused_by == DISTINCT else None


def _last_final(job: JobRecord, original: ItemReport | None) -> list[list[Any]]:
    if original is None:
        return []
    last = next(reversed(list(original.record.finals)), None)
    entry = original.steps.get(last) if last is not None else None
    if entry is None or (artefact := entry.artefact) is None or artefact.root != job.output:
        return []
    return [_image(job, f"item {original.record.item.name}", artefact)]


def _image(job: JobRecord, words: str, artefact: ArtefactRecord) -> list[Any]:
    return [words, relative_link(job.name, artefact.key), artefact.width, artefact.height]


def decision_row(review: Review) -> list[Any]:
    """[verdict, reviewer, reason, when]"""
    return [review.verdict.value, review.reviewer, review.reason, review.reviewed_at.astimezone(UTC).isoformat()]


def _page(job: JobRecord, names: list[str], total: int) -> str:
    config = {"job": job.id, "lists": names, "total": total, "perPage": ITEMS_PER_PAGE}
    return (
        templates()
        .get_template("review.html.j2")
        .render(
            job=job,
            total=total,
            gallery=GALLERY_NAME,
            written=datetime.now(UTC),
            config=config,
            style=source("review.css"),
            script=source("review.js"),
            script_digest=digest(source("review.js")),
        )
    )
