"""The artifact in the Prefect UI that lists what waits for a person's decision."""

from prefect.artifacts import create_markdown_artifact

from configs.settings.settings import Settings
from flows.burst.artifacts import artifact_key
from flows.report.links import file_address, served_address
from flows.report.markdown import escape_markdown
from flows.report.report import REVIEW_NAME
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, RefusedItem
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

MAX_WAITING = 50  # rows: Prefect keeps an artifact whole in a row of its database, and the review page has them all
MAX_REASON = 200  # characters


def publish_waiting(job: JobRecord, ledger: Ledger, settings: Settings) -> int:
    """Publishes the list, also where it has become empty. Returns how many items wait."""
    waiting = ledger.count_waiting(job.id)
    store = open_store(job.output, settings)
    create_markdown_artifact(
        waiting_markdown(
            job, waiting, list(ledger.refused_items(job.id, waiting=True, limit=MAX_WAITING)), store, settings
        ),
        key=artifact_key("review", job.name),
        description=f"What waits for a decision in {escape_markdown(job.name)}",
    )
    return waiting


def waiting_markdown(
    job: JobRecord, waiting: int, some: list[RefusedItem], store: ArtefactStore, settings: Settings
) -> str:
    """A table of `some` of the items that wait, and how to decide."""
    name = escape_markdown(job.name)
    if not waiting:
        return f"# {name}: nothing waits for a decision\n"
    parts = [f"# {name}: {waiting:,} {'item waits' if waiting == 1 else 'items wait'} for a decision"]
    if page := served_address(store, job_key(job.name, REVIEW_NAME), settings):
        parts.append(f"[Review page]({page})")
    parts.append(
        f"Accept or reject them on the review page, by the deployment `review`, or with "
        f"`pixelmill accept {job.id} ITEM` and `pixelmill reject {job.id} ITEM`."
    )
    if waiting > len(some):
        parts.append(f"The first {len(some)} of {waiting:,}:")
    rows = [_row(item, store, settings) for item in some]
    parts.append("\n".join(["| item | gate | why | image |", "| --- | --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def _row(item: RefusedItem, store: ArtefactStore, settings: Settings) -> str:
    record = item.record
    cells = [
        escape_markdown(record.item.name, limit=MAX_REASON),
        escape_markdown(record.refused_by or "", limit=MAX_REASON),
        escape_markdown(record.error or "", limit=MAX_REASON),
        _image(item, store, settings),
    ]
    return "| " + " | ".join(cells) + " |"


def _image(item: RefusedItem, store: ArtefactStore, settings: Settings) -> str:
    for entry in item.steps.values():
        artefact = entry.artefact
        if artefact is not None and artefact.fingerprint == item.record.refused_image and artefact.root == store.root:
            address = file_address(store, artefact.key, settings)
            return f"[image]({address})" if address else ""
    return ""
