"""What bursts publish: artifacts in the Prefect UI, and a webhook as https://www.standardwebhooks.com describes."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import stamina
from markupsafe import Markup
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactUpdate

from configs.documents import uris
from configs.failures import PixelmillError
from configs.settings.settings import Settings
from flows.job.plan import Plan
from flows.report.contact_sheet import CONTACT_SHEET_NAME
from flows.report.render import (
    attempt_rows,
    escape_markdown,
    failing_rows,
    failing_title,
    failures_title,
    format_cost,
    format_counts,
    format_seconds,
    gate_rows,
    markdown_table,
    plan_document,
    plural,
    reason_rows,
    shared_warnings,
    warning_title,
)
from flows.report.report import (
    GALLERY_NAME,
    MANIFEST_NAME,
    REPORT_NAME,
    REVIEW_NAME,
    GateStats,
    Summary,
    file_address,
    job_address,
    served_address,
    uri_if_written,
)
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, RefusedItem, StepCounts
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

MAX_FAILURES = 50  # rows in the report, which Prefect stores in one database row; the manifest has them all
_KEY = re.compile(r"[^a-z0-9]+")
MAX_WAITING = 50  # rows; the review page has them all
MAX_REASON = 200  # characters

ATTEMPTS = 6  # over about a minute: longer than the restart of a receiver, shorter than a person waits for the flow run
FIRST_WAIT, LONGEST_WAIT = 2.0, 20.0  # seconds; doubled after each attempt, with up to a second of jitter
TIMEOUT_SECONDS = 10.0
_FINISHED = frozenset({JobStatus.DONE, JobStatus.INCOMPLETE})


def artifact_key(kind: str, name: str) -> str:
    """Return a key of lower-case letters, digits and hyphens, as Prefect requires, for a job of any name."""
    return f"{kind}-{_KEY.sub('-', name.casefold()).strip('-')}"[:200].rstrip("-")


def progress_artifact(job: JobRecord, client: SyncPrefectClient, settings: Settings) -> Callable[[float, str], object]:
    """Create the artifact with the burst's progress. Returns a function that updates it: percentage, text.

    Both lead to the job's images, if these are served.
    """
    link = _link_first(job, settings)
    artifact: Any = create_progress_artifact(
        progress=0.0,
        key=artifact_key("progress", job.name),
        description=f"{link}{escape_markdown(job.name)}: starting",
    )
    return lambda share, text: client.update_artifact(
        artifact, ArtifactUpdate(data=share, description=link + escape_markdown(text))
    )


def _link_first(job: JobRecord, settings: Settings, page: str = "") -> str:
    """Return the beginning of a description that leads to the job's images, or nothing if these are not served."""
    address = job_address(job, settings, page)
    return f"[{page.capitalize() or 'Gallery'}]({address}) · " if address else ""


def publish_report(job: JobRecord, summary: Summary, settings: Settings) -> None:
    """Publish the report of a run: counts, seconds, costs, failures with reasons, contact sheet and links."""
    store = open_store(job.output, settings)
    create_markdown_artifact(
        report_markdown(job, summary, store, settings),
        key=artifact_key("report", job.name),
        description=f"{_link_first(job, settings)}Report of {escape_markdown(job.name)}",
    )


def report_markdown(job: JobRecord, summary: Summary, store: ArtefactStore, settings: Settings) -> str:
    """Return the report as Markdown; names and messages are escaped."""
    parts = [f"# {escape_markdown(job.name)}: {_outcome(summary)}"]
    parts += [f"**{escape_markdown(error.message)}**" for error in summary.errors]
    if waiting := summary.items.waiting:
        page = links_to(job, {"Review page": REVIEW_NAME}, store, settings)
        parts.append(" · ".join([f"**{plural(waiting, 'item')} to review**", *page]))
    parts.append(_links(job, store, settings))
    if summary.items.done and (address := _address(job, CONTACT_SHEET_NAME, store, settings)):
        parts.append(f"![Contact sheet]({address})")
    parts.append("## Steps\n\n" + _steps(summary))
    if summary.model_loads:
        rows = [[model, count] for model, count in summary.model_loads.items()]
        parts.append("## Models loaded\n\n" + markdown_table(["model", "times"], rows))
    if summary.ways is not None:
        parts += _gate_sections(summary.ways)
    if summary.failures:
        parts.append(_failures(summary))
    return "\n\n".join(parts) + "\n"


def _outcome(summary: Summary) -> str:
    text = f"{summary.status}, {format_counts(summary.items)} in {format_seconds(summary.seconds)}"
    return f"{text}, cost {format_cost(summary.cost)}" if summary.cost else text


def _links(job: JobRecord, store: ArtefactStore, settings: Settings) -> str:
    files = {"Gallery": GALLERY_NAME, "Manifest": MANIFEST_NAME, "Report as JSON": REPORT_NAME}
    text = f"Images, manifest and gallery: {escape_markdown(store.uri(job.name))}"
    return "\n\n".join(part for part in (" · ".join(links_to(job, files, store, settings)), text) if part)


def links_to(job: JobRecord, files: Mapping[str, str], store: ArtefactStore, settings: Settings) -> list[str]:
    """Return Markdown links to those of the job's files that are there and that a browser reaches.

    `files`: words of the link -> name of the file.
    """
    addresses = {words: _address(job, name, store, settings) for words, name in files.items()}
    return [f"[{words}]({address})" for words, address in addresses.items() if address]


def _address(job: JobRecord, name: str, store: ArtefactStore, settings: Settings) -> str | None:
    if uri_if_written(store, job, name) is None:
        return None
    # A page that S3 signs for a browser could not load its images: those are other objects.
    address_of = served_address if name.endswith(".html") else file_address
    return address_of(store, job_key(job.name, name), settings)


def _steps(summary: Summary) -> str:
    rows = [
        [
            name,
            *(f"{count:,}" for count in (step.computed, step.reused, step.skipped, step.failed)),
            format_seconds(step.seconds),
            format_seconds(step.seconds / step.computed) if step.computed else None,
            format_cost(step.cost),
            format_cost(step.cost / step.computed) if step.computed else None,
        ]
        for name, step in summary.steps.items()
    ]
    headers = ["step", "computed", "reused", "skipped", "failed", "time", "per image", "cost", "per image"]
    if not summary.cost:
        headers, rows = headers[:-2], [row[:-2] for row in rows]
    return markdown_table(headers, rows)


def _gate_sections(ways: GateStats) -> list[str]:
    parts = []
    if ways.gates:
        parts.append("## Gates\n\n" + markdown_table(*gate_rows(ways)))
        if (reasons := reason_rows(ways))[1]:
            parts.append(markdown_table(*reasons))
    if ways.attempts:
        made = "\n".join(f"* {escape_markdown(row)}" for row in attempt_rows(ways))
        parts.append(f"## Made more than once\n\n{made}")
    if ways.warned:
        shown = ways.warned[:MAX_FAILURES]
        rows = [[one.item, one.message] for one in shown]
        parts.append(f"## {warning_title(ways, len(shown))}")
        if shared := shared_warnings(ways):
            parts.append(markdown_table(["items", "the same warning"], shared))
        parts.append(markdown_table(["item", "warning"], rows))
    return parts


def _failures(summary: Summary) -> str:
    shown = summary.failures[:MAX_FAILURES]
    total = summary.items.failed + summary.items.quarantined
    more = f" (the first {len(shown)} of {total:,}; the manifest has all)" if total > len(shown) else ""
    rows = [[failure.item, failure.state, failure.step, failure.message] for failure in shown]
    return f"## {failures_title(summary)}{more}\n\n" + markdown_table(["item", "state", "at step", "why"], rows)


def publish_branches(job: JobRecord, shard: int, counts: dict[str, StepCounts]) -> None:
    """Publish the outcomes of a shard's items: one row per step."""
    conditions = {step.id: step.when or "always" for step in job.recipe.leaves}
    rows = [
        {
            "step": step,
            "when": conditions.get(step, "again"),
            "computed": count.computed,
            "reused": count.reused,
            "skipped": count.skipped,
            "failed": count.failed,
            "seconds": round(count.seconds, 1),
        }
        for step, count in counts.items()
    ]
    create_table_artifact(rows, key="branches", description=f"The items of shard {shard} at each step")


def publish_plan(plan: Plan, settings: Settings) -> None:
    """Publish the report of a dry run."""
    document = plan_document(plan, settings)
    items = document["items"]
    names = ("computed", "reused", "skipped", "undecided")
    rows = [[step, *(counts[name] for name in names)] for step, counts in document["steps"].items()]
    items_shown = plan.request.items[:MAX_FAILURES]
    shown = [[item.name, item.prompt or uris.shown(item.image or ""), item.seed] for item in items_shown]
    more = f", the first {len(shown)}" if len(plan.request.items) > len(shown) else ""
    parts = [
        f"# {escape_markdown(plan.request.job.name)}: a dry run",
        f"{items['total']:,} images, {items['done']:,} of them there already, {items['to_do']:,} to be made. "
        "Nothing was made.",
        f"They would go to {escape_markdown(document['output'])}",
        *(escape_markdown(notice) for notice in document["notices"]),
        markdown_table(["step", "to compute", "to reuse", "to skip", "decided as it runs"], rows),
        *_failing(document),
        f"## Items{more}",
        markdown_table(["name", "prompt or image", "seed"], shown),
    ]
    create_markdown_artifact(
        "\n\n".join(parts), key=artifact_key("plan", plan.request.job.name), description="What a run would do"
    )


def _failing(document: dict[str, Any]) -> list[str]:
    title = failing_title(document, MAX_FAILURES)
    return [f"## {title}", markdown_table(*failing_rows(document, MAX_FAILURES))] if title else []


def publish_text(kind: str, name: str, text: str, description: str) -> None:
    """Publish preformatted text."""
    fenced = "\n".join("    " + line for line in text.splitlines())
    create_markdown_artifact(f"{fenced}\n", key=artifact_key(kind, name), description=description)


def publish_waiting(job: JobRecord, ledger: Ledger, settings: Settings) -> int:
    """Publish the list of items that wait for a decision, even if it is empty. Returns their number."""
    waiting = ledger.reviews.count_waiting(job.id)
    store = open_store(job.output, settings)
    some = list(ledger.reviews.refused_items(job.id, waiting=True, limit=MAX_WAITING))
    create_markdown_artifact(
        waiting_markdown(job, waiting, some, store, settings),
        key=artifact_key("review", job.name),
        description=f"{_link_first(job, settings, 'review')}{plural(waiting, 'item')} of {escape_markdown(job.name)} "
        "to review",
    )
    return waiting


def waiting_markdown(
    job: JobRecord, waiting: int, some: list[RefusedItem], store: ArtefactStore, settings: Settings
) -> str:
    """Return a table of `some` of the waiting items and how to decide."""
    name = escape_markdown(job.name)
    if not waiting:
        return f"# {name}: nothing waits for a decision\n"
    parts = [f"# {name}: {waiting:,} {'item waits' if waiting == 1 else 'items wait'} for a decision"]
    parts += links_to(job, {"Review page": REVIEW_NAME}, store, settings)
    parts.append(
        f"Accept or reject them on the review page, by the deployment `review`, or with "
        f"`pixelmill accept {job.id} ITEM` and `pixelmill reject {job.id} ITEM`."
    )
    if waiting > len(some):
        parts.append(f"The first {len(some)} of {waiting:,}:")
    rows = [
        [item.record.item.name, item.record.refused_by, item.record.error, _image(item, store, settings)]
        for item in some
    ]
    return "\n\n".join([*parts, markdown_table(["item", "gate", "why", "image"], rows, limit=MAX_REASON)])


def _image(item: RefusedItem, store: ArtefactStore, settings: Settings) -> Markup | None:
    """Return a link to the refused image, or None if a browser cannot reach it."""
    for entry in item.steps.values():
        artefact = entry.artefact
        if artefact is not None and artefact.fingerprint == item.record.refused_image and artefact.root == store.root:
            address = file_address(store, artefact.key, settings)
            return Markup(f"[image]({address})") if address else None  # noqa: S704
    return None


# -- the webhook


class WebhookError(PixelmillError):
    """The message was not delivered; the text is the last answer."""

    def __init__(self, problem: str, *, retryable: bool = False) -> None:
        super().__init__(problem)
        self.retryable = retryable


def event_of(job: JobRecord, summary: Summary, settings: Settings) -> dict[str, Any]:
    """Return the message: `type` is `job.finished` or `job.failed`, `data` the summary and the gallery's address."""
    gallery = _address(job, GALLERY_NAME, open_store(job.output, settings), settings)
    return {
        "type": "job.finished" if summary.status in _FINISHED else "job.failed",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": summary.model_dump(mode="json") | {"name": job.name, "run": job.run, "gallery_address": gallery},
    }


def send_webhook(event: dict[str, Any], message_id: str, settings: Settings) -> None:
    """Post the event to `PIXELMILL_WEBHOOK_URL`, if that is set; retry temporary failures for a minute.

    `message_id` is the same for each attempt, so that a receiver can ignore repetitions. With
    `PIXELMILL_WEBHOOK_SECRET` the message is signed. Raises WebhookError.
    """
    if settings.webhook_url is None:
        return
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    attempts = stamina.retry_context(
        on=lambda error: isinstance(error, WebhookError) and error.retryable,
        attempts=ATTEMPTS,
        timeout=None,
        wait_initial=FIRST_WAIT,
        wait_max=LONGEST_WAIT,
    )
    # No redirects: the signed message is for that address and no other.
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        for attempt in attempts:
            with attempt:
                headers = {"content-type": "application/json", **_signed(message_id, body, settings)}
                _post(client, settings.webhook_url, body, headers)


def _post(client: httpx.Client, url: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        # Only the status counts: reading an endless answer would hold the job's flow run.
        with client.stream("POST", url, content=body, headers=headers) as answer:
            status = answer.status_code
    except httpx.TransportError as error:
        raise WebhookError(f"{type(error).__name__}: {error}", retryable=True) from error
    except httpx.InvalidURL as error:
        raise WebhookError(f"PIXELMILL_WEBHOOK_URL: {error}") from error
    if not answer.is_success:
        raise WebhookError(f"HTTP {status}", retryable=status >= 500 or status in (408, 425, 429))


def _signed(message_id: str, body: bytes, settings: Settings) -> dict[str, str]:
    stamp = str(int(time.time()))
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp}
    if settings.webhook_secret is not None:
        secret, prefix = settings.webhook_secret.get_secret_value(), "whsec_"  # which precedes base64
        key = base64.b64decode(secret.removeprefix(prefix)) if secret.startswith(prefix) else secret.encode()
        digest = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
