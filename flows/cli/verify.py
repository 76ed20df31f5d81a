"""`pixelmill verify`: its work, and what it prints for programs and for people."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings
from flows.cli.progress import counted
from flows.job.plan import job_identity, known_job, read_plan_request
from flows.report.render import Answer
from flows.report.report import EXIT_DONE, EXIT_INCOMPLETE
from flows.verify.findings import LISTED, Finding, Kind
from flows.verify.repair import Mended, Repair, reindex_artefacts, repair_job
from flows.verify.verify import Verification, verify_job
from storage.images.job_mark import MARK
from storage.ledger.lease import is_held
from storage.ledger.ledger import Ledger
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

_REPAIR_WORDS = {
    "adopted": "artefacts taken into the ledger",
    "restored": "artefacts restored from their finals",
    "forgotten": "lost artefacts forgotten",
    "published": "finals published again",
    "removed": "finals of no item removed",
    "reopened": "items made pending",
}


def find_job_id(wanted: str, ledger: Ledger, settings: Settings) -> str:
    """Return the id of a job in the ledger, or else of the job that a job file describes. Raises InvalidInput."""
    try:
        return ledger.jobs.find(wanted, field="id").id
    except InvalidInput:
        if not wanted.startswith("s3://") and not Path(wanted).is_file():
            raise
    return job_identity(read_plan_request(wanted, settings), settings)


def verify_command(
    job_id: str, wanted: str, ledger: Ledger, settings: Settings, *, repair: bool, console: Console
) -> Answer:
    """Verify the job, or repair it. Exit status 0: nothing is wrong; 3: something is, or has to be made again.

    A job file whose job is not in the ledger is refused, but with `repair`, as after the loss of the ledger, the images
    in its output are adopted into the ledger.
    """
    known = known_job(ledger, job_id)
    if known is None:
        return _adopt_only(job_id, wanted, ledger, settings, repair, console)
    store = open_store(known.output, settings)
    if repair:
        done = repair_job(
            job_id, ledger, store, settings, count=lambda text, total: counted(f"{known.name}: {text}", total, console)
        )
        status = EXIT_DONE if done.left.sound and not done.mended.reopened else EXIT_INCOMPLETE
        return Answer(repair_document(done), describe_repair(done), status)
    with counted(f"{known.name}: verifying", known.total, console) as advance:
        found = verify_job(job_id, ledger, store, running=is_held(job_id, ledger), advance=advance)
    status = EXIT_DONE if found.sound else EXIT_INCOMPLETE
    return Answer(verification_document(found), describe_verification(found), status)


def _adopt_only(job_id: str, path: str, ledger: Ledger, settings: Settings, repair: bool, console: Console) -> Answer:
    if not repair:
        message = (
            f"the ledger has no job {job_id}. If the ledger was lost, --repair adopts the images in the job's output, "
            "so that a run does not make them again"
        )
        raise InvalidInput([Problem("job", message)])
    request = read_plan_request(path, settings)
    store = open_store(request.output, settings)
    with counted(f"{request.job.name}: taking images into the ledger", None, console) as advance:
        mended = reindex_artefacts(store, ledger, request.job.name, advance=advance)
    store.delete(job_key(request.job.name, MARK))  # the job's next run marks the folder as this ledger's
    hint = Text(f"The ledger has no job {job_id}: `pixelmill run {path}` continues it")
    document = {
        "job": job_id,
        "status": None,
        "sound": False,
        "repair": {"adopted": mended.adopted, "not_adopted": mended.not_adopted},
    }
    return Answer(document, Group(*describe_mended(mended), hint), EXIT_INCOMPLETE)


def verification_document(verification: Verification) -> dict[str, Any]:
    """Return the result as one JSON object, a stable interface: fields may be added, never renamed or removed.

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
    """Return the result for a person; names are never read as Rich markup."""
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
        lines.append(Text("  the job has not ended: manifest, report and gallery were not checked", "dim"))
    if not verification.sound:
        lines += [Text(f"  {kind.words}: {count:,}") for kind, count in _counts(verification)]
        lines.append(_table(verification))
    return Group(*lines)


def _counts(verification: Verification) -> list[tuple[Kind, int]]:
    counts = verification.findings.counts
    return [(kind, counts[kind]) for kind in Kind if counts[kind]]


def _in_order(verification: Verification) -> list[Finding]:
    return sorted(verification.findings.listed, key=lambda finding: list(Kind).index(finding.kind))


def _table(verification: Verification) -> Table:
    more = verification.findings.total > len(verification.findings.listed)
    title = Text(f"What is wrong (the first {LISTED} of each kind)" if more else "What is wrong", "bold")
    columns = (Column("item", overflow="fold", ratio=1), Column("finding", overflow="fold", ratio=3))
    table = Table(*columns, box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
    for finding in _in_order(verification):
        table.add_row(Text(finding.item or "–"), Text(finding.message))
    return table


def repair_document(repair: Repair) -> dict[str, Any]:
    """Return the state after the repair, with the findings before (`found`) and the repairs (`repair`)."""
    found = verification_document(repair.found)
    return {
        **verification_document(repair.left),
        "found": {"sound": found["sound"], "problems": found["problems"], "findings": found["findings"]},
        "repair": asdict(repair.mended),
    }


def describe_repair(repair: Repair) -> RenderableType:
    """Return findings, repairs and the present state for a person."""
    lines: list[RenderableType] = []
    if not repair.found.sound:
        lines += [Text("Before the repair", "bold"), describe_verification(repair.found), ""]
    lines += [*describe_mended(repair.mended), Text("Now", "bold"), describe_verification(repair.left)]
    return Group(*lines)


def describe_mended(mended: Mended) -> list[RenderableType]:
    """Return one line for each kind of repair."""
    lines: list[RenderableType] = [Text("Repaired", "bold")]
    lines += [
        Text(f"  {words}: {getattr(mended, name):,}") for name, words in _REPAIR_WORDS.items() if getattr(mended, name)
    ]
    if mended.rewritten:
        lines.append(Text("  manifest, report and gallery written again"))
    if len(lines) == 1:
        lines.append(Text("  nothing had to be done"))
    for reason, count in mended.not_adopted.most_common():
        lines.append(Text(f"  artefacts still not in the ledger: {count:,} ({reason})", "dim"))
    return lines
