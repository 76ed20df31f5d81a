"""What `pixelmill verify` prints: for programs and for people."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.verify.findings import LISTED, Finding, Kind
from flows.verify.verify import Verification

_WORDS = {
    Kind.MISSING_ARTEFACT: "artefacts missing from the store",
    Kind.DAMAGED_ARTEFACT: "artefacts damaged",
    Kind.MISSING_FINAL: "finals missing from the store",
    Kind.DAMAGED_FINAL: "finals damaged",
    Kind.STRAY_FINAL: "finals of no item that is done",
    Kind.MISSING_OUTCOME: "done items without the outcome of a step",
    Kind.UNKNOWN_ARTEFACT: "done items with an artefact that the ledger has lost",
    Kind.NO_FINAL: "done items without their finals in the ledger",
    Kind.MISSING_ITEM: "items missing from the ledger",
    Kind.WRONG_STATUS: "status of the job wrong",
    Kind.MANIFEST: "differences between manifest and ledger",
    Kind.REPORT: "report missing, or of another state",
    Kind.GALLERY: "files of the gallery missing or damaged",
}


def verification_document(verification: Verification) -> dict[str, Any]:
    """The result as one JSON object. A stable interface: fields may come, none goes or changes its name.

    `problems` counts each kind of finding, `findings` lists the first 20 of each.
    """
    progress = verification.progress
    return {
        "job": verification.job.id,
        "status": verification.job.status.value,
        "sound": verification.sound,
        "complete": verification.complete,
        "items": {
            "total": progress.total,
            "done": progress.done,
            "failed": progress.failed,
            "quarantined": progress.quarantined,
            "pending": progress.pending,
        },
        "artefacts": verification.artefacts,
        "finals": verification.finals,
        "bytes": verification.bytes,
        "problems": {kind.value: count for kind, count in _counts(verification)},
        "findings": [
            {"kind": finding.kind.value, "item": finding.item, "key": finding.key, "message": finding.message}
            for finding in _in_order(verification)
        ],
    }


def describe_verification(verification: Verification) -> RenderableType:
    """The result for a person. Names stay as they are, never read as Rich markup."""
    head = Text("sound", "bold green") if verification.sound else Text("not sound", "bold red")
    head.append(
        f" · {verification.artefacts:,} artefacts and {verification.finals:,} finals of "
        f"{verification.progress.total:,} items read back, {verification.bytes / 1e6:,.1f} MB",
        "default",
    )
    lines: list[RenderableType] = [head]
    if pending := verification.progress.pending:
        lines.append(Text(f"  {pending:,} items are pending: `pixelmill resume {verification.job.id}` makes them"))
    if not verification.complete:
        lines.append(Text("  the job has not come to its end: manifest, report and gallery were not looked at", "dim"))
    if not verification.sound:
        lines += [Text(f"  {_WORDS[kind]}: {count:,}") for kind, count in _counts(verification)]
        lines.append(_table(verification))
    return Group(*lines)


def _counts(verification: Verification) -> list[tuple[Kind, int]]:
    counts = verification.findings.counts
    return [(kind, counts[kind]) for kind in Kind if counts[kind]]


def _in_order(verification: Verification) -> list[Finding]:
    order = list(Kind)
    return sorted(verification.findings.listed, key=lambda finding: order.index(finding.kind))


def _table(verification: Verification) -> Table:
    more = verification.findings.total > len(verification.findings.listed)
    title = Text(f"What is wrong (the first {LISTED} of each kind)" if more else "What is wrong", "bold")
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
    table.add_column("item", overflow="fold", ratio=1)
    table.add_column("finding", overflow="fold", ratio=3)
    for finding in _in_order(verification):
        table.add_row(Text(finding.item or "–"), Text(finding.message))
    return table
