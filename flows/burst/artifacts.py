"""Artifacts of bursts in the Prefect UI: progress, report, plan, and what waits for a decision."""

import re
from collections.abc import Callable
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactUpdate

from configs.documents import uris
from configs.settings.settings import Settings
from flows.job.plan import Plan
from flows.report.contact_sheet import CONTACT_SHEET_NAME
from flows.report.render import (
    attempt_rows,
    failures_title,
    format_cost,
    format_counts,
    format_seconds,
    gate_rows,
    plan_document,
    reason_rows,
    warning_title,
)
from flows.report.report import GALLERY_NAME, MANIFEST_NAME, REPORT_NAME, REVIEW_NAME, GateStats, Summary
from flows.report.web import escape_markdown, file_address, served_address, table
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, RefusedItem, StepCounts
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

MAX_FAILURES = 50  # rows in the report, which Prefect stores in one database row; the manifest has them all
_KEY = re.compile(r"[^a-z0-9]+")
MAX_WAITING = 50  # rows; the review page has them all
MAX_REASON = 200  # characters


def artifact_key(kind: str, name: str) -> str:
    """Return a key of lower-case letters, digits and hyphens, as Prefect requires, for a job of any name."""
    return f"{kind}-{_KEY.sub('-', name.casefold()).strip('-')}"[:200].rstrip("-")


def progress_artifact(job: JobRecord, client: SyncPrefectClient) -> Callable[[float, str], object]:
    """Create the artifact with the burst's progress. Returns a function that updates it: percentage, text."""
    artifact: Any = create_progress_artifact(
        progress=0.0, key=artifact_key("progress", job.name), description=f"{escape_markdown(job.name)}: starting"
    )
    return lambda share, text: client.update_artifact(
        artifact, ArtifactUpdate(data=share, description=escape_markdown(text))
    )


def publish_report(job: JobRecord, summary: Summary, settings: Settings) -> None:
    """Publish the report of a run: counts, seconds, costs, failures with reasons, contact sheet and links."""
    store = open_store(job.output, settings)
    create_markdown_artifact(
        report_markdown(job, summary, store, settings),
        key=artifact_key("report", job.name),
        description=f"Report of {escape_markdown(job.name)}",
    )


def report_markdown(job: JobRecord, summary: Summary, store: ArtefactStore, settings: Settings) -> str:
    """Return the report as Markdown; names and messages are escaped."""
    parts = [f"# {escape_markdown(job.name)}: {_outcome(summary)}"]
    parts += [f"**{escape_markdown(error.message)}**" for error in summary.errors]
    parts.append(_links(job, store, settings))
    if summary.items.done and (address := file_address(store, job_key(job.name, CONTACT_SHEET_NAME), settings)):
        parts.append(f"![Contact sheet]({address})")
    parts.append("## Steps\n\n" + _steps(summary))
    if summary.model_loads:
        rows = [[model, count] for model, count in summary.model_loads.items()]
        parts.append("## Models loaded\n\n" + table(["model", "times"], rows))
    if summary.ways is not None:
        parts += _gate_sections(summary.ways)
    if summary.failures:
        parts.append(_failures(summary))
    return "\n\n".join(parts) + "\n"


def _outcome(summary: Summary) -> str:
    text = f"{summary.status}, {format_counts(summary.items)} in {format_seconds(summary.seconds)}"
    return f"{text}, cost {format_cost(summary.cost)}" if summary.cost else text


def _links(job: JobRecord, store: ArtefactStore, settings: Settings) -> str:
    links = []
    # A gallery that S3 signs for a browser could not load its images: those are other objects.
    if address := served_address(store, job_key(job.name, GALLERY_NAME), settings):
        links.append(f"[Gallery]({address})")
    for name, file in (("Manifest", MANIFEST_NAME), ("Report as JSON", REPORT_NAME)):
        if address := file_address(store, job_key(job.name, file), settings):
            links.append(f"[{name}]({address})")
    text = f"Images, manifest and gallery: {escape_markdown(store.uri(job.name))}"
    return f"{' · '.join(links)}\n\n{text}" if links else text


def _steps(summary: Summary) -> str:
    rows = [
        [
            name,
            f"{step.computed:,}",
            f"{step.reused:,}",
            f"{step.skipped:,}",
            f"{step.failed:,}",
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
    return table(headers, rows)


def _gate_sections(ways: GateStats) -> list[str]:
    parts = []
    if ways.gates:
        parts.append("## Gates\n\n" + table(*gate_rows(ways)))
        if (reasons := reason_rows(ways))[1]:
            parts.append(table(*reasons))
    if ways.attempts:
        made = "\n".join(f"* {escape_markdown(row)}" for row in attempt_rows(ways))
        parts.append(f"## Made more than once\n\n{made}")
    if ways.warned:
        shown = ways.warned[:MAX_FAILURES]
        rows = [[one.item, one.message] for one in shown]
        parts.append(f"## {warning_title(ways, len(shown))}\n\n" + table(["item", "warning"], rows))
    return parts


def _failures(summary: Summary) -> str:
    shown = summary.failures[:MAX_FAILURES]
    total = summary.items.failed + summary.items.quarantined
    more = f" (the first {len(shown)} of {total:,}; the manifest has all)" if total > len(shown) else ""
    rows = [[failure.item, failure.state, failure.step, failure.message] for failure in shown]
    return f"## {failures_title(summary)}{more}\n\n" + table(["item", "state", "at step", "why"], rows)


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
        table(["step", "to compute", "to reuse", "to skip", "decided as it runs"], rows),
        f"## Items{more}",
        table(["name", "prompt or image", "seed"], shown),
    ]
    create_markdown_artifact(
        "\n\n".join(parts), key=artifact_key("plan", plan.request.job.name), description="What a run would do"
    )


def publish_text(kind: str, name: str, text: str, description: str) -> None:
    """Publish preformatted text."""
    fenced = "\n".join("    " + line for line in text.splitlines())
    create_markdown_artifact(f"{fenced}\n", key=artifact_key(kind, name), description=description)


def publish_waiting(job: JobRecord, ledger: Ledger, settings: Settings) -> int:
    """Publish the list of items that wait for a decision, even if it is empty. Returns their number."""
    waiting = ledger.reviews.count_waiting(job.id)
    store = open_store(job.output, settings)
    create_markdown_artifact(
        waiting_markdown(
            job, waiting, list(ledger.reviews.refused_items(job.id, waiting=True, limit=MAX_WAITING)), store, settings
        ),
        key=artifact_key("review", job.name),
        description=f"What waits for a decision in {escape_markdown(job.name)}",
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
