"""Verify a job: read every image back from the store, and compare ledger, store, manifest, report and gallery."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from configs.documents.problems import InvalidInput
from flows.pages.gallery import DATA_FOLDER
from flows.report.report import GALLERY_NAME, REPORT_NAME, Summary, build_summary
from flows.verify.findings import Fault, Finding, Findings, Kind, ReadBack, manifest_files
from gpu_worker.walk.prediction import replay
from steps.recipe import resolve_program
from steps.recipe.program import Program
from storage.images.manifest import manifest_row
from storage.ledger.ledger import Ledger
from storage.ledger.records import (
    ArtefactRecord,
    ItemReport,
    ItemState,
    JobRecord,
    JobStatus,
    Outcome,
    Progress,
    final_keys,
)
from storage.ledger.runs import JobChanged
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject, StoreError
from storage.objects.keys import job_key, sha256_hex

SLICE = 100  # items whose objects are read together, between two reports of progress

Advance = Callable[[int], None]  # called with the number of further items verified


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of reading everything back."""

    job: JobRecord
    progress: Progress
    findings: Findings
    artefacts: int  # read back, once each
    finals: int  # read back, once each
    bytes: int
    complete: bool  # whether the job has ended, so that manifest, report and gallery were checked too

    @property
    def sound(self) -> bool:
        return not self.findings.total


def verify_job(job_id: str, ledger: Ledger, store: ArtefactStore, *, running: bool, advance: Advance) -> Verification:
    """Read back every artefact and every final of the job. Memory: some 500 bytes for each item.

    A `running` job is verified as far as it is recorded. Raises StoreError where the store refuses or seems to be
    another one than the job was written to, and JobChanged if the job went on meanwhile.
    """
    job = ledger.jobs.get(job_id)
    complete = not running and job.status in (JobStatus.DONE, JobStatus.INCOMPLETE)
    with closing(ReadBack(store)) as read_back:
        check = _ItemCheck(job, store, read_back)
        findings = check.findings
        manifest = manifest_files(job, store) if complete else ()
        reports = ledger.items.reports(job_id)
        while some := list(islice(reports, SLICE)):
            check.check(some)
            for report in some if complete else ():
                row = manifest_row(store, report)
                for file in manifest:
                    findings.add(file.compare(row))
            advance(len(some))
    progress = ledger.items.progress(job_id)
    findings.add(stray_finals(job, store, check.finals, check.open_names))
    findings.add(_wrong_job(job, progress, complete))
    if complete:
        for file in manifest:
            findings.add(file.finish())
        findings.add(wrong_pages(job, build_summary(ledger, job, store, run=job.run), store))
    now = ledger.jobs.get(job_id)
    if not running and (now.run, now.status) != (job.run, job.status):
        raise JobChanged(f"{job_id} went on while it was being verified: verify it again")
    return Verification(
        job=job,
        progress=progress,
        findings=findings,
        artefacts=check.artefacts,
        finals=read_back.objects - check.artefacts,
        bytes=read_back.bytes,
        complete=complete,
    )


def _wrong_job(job: JobRecord, progress: Progress, complete: bool) -> Iterator[Finding]:
    if progress.total != job.total:
        message = f"the ledger has {progress.total} of the job's {job.total} items: `pixelmill run` its job file again"
        yield Finding(Kind.MISSING_ITEM, message)
    if not complete:
        return
    if progress.pending:
        message = f"the job's status is {job.status.value}, but {progress.pending} items are pending"
        yield Finding(Kind.WRONG_STATUS, message)
    elif (job.status is JobStatus.DONE) != (progress.done == progress.total):
        message = f"the job's status is {job.status.value}, but {progress.done} of {progress.total} items are done"
        yield Finding(Kind.WRONG_STATUS, message)


class _ItemCheck:
    """Checks items in the job's order."""

    def __init__(self, job: JobRecord, store: ArtefactStore, read_back: ReadBack) -> None:
        self._job, self._store, self._read_back = job, store, read_back
        self._program: Program | None = None  # of a job with steps that this installation does not have
        with suppress(InvalidInput):
            self._program = resolve_program(job.recipe)
        self._steps = [step.id for step in job.recipe.leaves]
        self.findings = Findings()
        self.finals: set[str] = set()  # keys that belong to done items
        self.open_names: set[str] = set()  # of items that have not ended, whose finals will be replaced
        self.artefacts = 0  # read back; all other objects are finals

    def check(self, reports: list[ItemReport]) -> None:
        artefacts = {image.key: image for report in reports for image in report.artefacts.values()}
        finals = {key: image for report in reports for key, image in self._finals(report).items()}
        before = self._read_back.objects
        lost = self._read_back.read({key: artefact.sha256 for key, artefact in artefacts.items()})
        self.artefacts += self._read_back.objects - before
        lost_finals = self._read_back.read({key: artefact.sha256 for key, artefact in finals.items()})
        # An unmounted disk or a wrong prefix has lost nothing.
        if Fault.MISSING in lost.values() and next(iter(self._store.list("")), None) is None:
            raise StoreError(f"{self._store.root} is empty: mount it or bring it back, then verify again.")
        for report in reports:
            self.findings.add(self._judge(report, lost))
            self.findings.add(self._judge_finals(report, lost_finals, lost))

    def _finals(self, report: ItemReport) -> Mapping[str, ArtefactRecord]:
        """Return the keys of the item's finals, with the images that they should show."""
        made = report.artefacts
        return {key: made[step] for step, key in report.record.finals.items() if step in made}

    def _judge(self, report: ItemReport, lost: Mapping[str, Fault]) -> Iterator[Finding]:
        record, damage = report.record, self.findings.damage
        for artefact in report.artefacts.values():
            if artefact.key not in lost:
                continue
            damage.items.setdefault(record.item.index, set()).add(artefact.fingerprint)
            if artefact.fingerprint in damage.artefacts:
                continue  # reported with the first item that visited it
            damage.artefacts[artefact.fingerprint] = artefact, lost[artefact.key]
            damaged = lost[artefact.key] is Fault.DAMAGED
            kind = Kind.DAMAGED_ARTEFACT if damaged else Kind.MISSING_ARTEFACT
            message = "its bytes are not those that were stored" if damaged else "it is not in the store"
            yield Finding(kind, f"{artefact.key}: {message}", record.item.name, artefact.key)
        if record.state is ItemState.PENDING:
            self.open_names.add(record.item.name)
        elif record.state is ItemState.DONE and (finding := self._incomplete(report)) is not None:
            damage.incomplete.add(record.item.index)
            self.open_names.add(record.item.name)
            yield finding

    def _incomplete(self, report: ItemReport) -> Finding | None:
        """Return the first thing that the ledger lacks of a done item, or None; any others follow from it."""
        name = report.record.item.name
        for step in self._steps:
            entry = report.steps.get(step)
            if entry is None or entry.outcome is Outcome.FAILED:
                problem = "has failed at" if entry else "has no outcome of"
                return Finding(Kind.MISSING_OUTCOME, f"the item is done, and yet {problem} step {step!r}", name)
            if entry.outcome is not Outcome.SKIPPED and entry.artefact is None:
                return Finding(Kind.UNKNOWN_ARTEFACT, f"the ledger has lost the artefact of step {step!r}", name)
        expected = expected_finals(self._job, report, self._program)
        if not expected or report.record.finals != expected:
            message = f"its finals are {dict(report.record.finals)} in the ledger, and should be {expected}"
            return Finding(Kind.NO_FINAL, message, name)
        return None

    def _judge_finals(
        self, report: ItemReport, lost_finals: Mapping[str, Fault], lost: Mapping[str, Fault]
    ) -> Iterator[Finding]:
        if report.record.state is not ItemState.DONE:
            return
        damage, name = self.findings.damage, report.record.item.name
        self.finals.update(report.record.finals.values())
        for key, artefact in self._finals(report).items():
            fault = lost_finals.get(key)
            if fault is None:
                if artefact.key in lost:
                    damage.copies[artefact.fingerprint] = key
                continue
            damage.finals[key] = artefact
            missing = fault is Fault.MISSING
            kind = Kind.MISSING_FINAL if missing else Kind.DAMAGED_FINAL
            message = "it is not in the store" if missing else "its bytes are not those of its artefact"
            yield Finding(kind, f"{key}: {message}", name, key)


def expected_finals(job: JobRecord, report: ItemReport, program: Program | None) -> dict[str, str]:
    """Return visit id -> key of the finals of a done item.

    Without a program, each image counts as made from the one before.
    """
    keys = {visit: image.key for visit, image in report.artefacts.items()}
    if program is None:
        return final_keys(job, report.record.item.name, keys.items())
    everything = frozenset(image.fingerprint for image in report.artefacts.values())
    path = replay(report.record.item, program, report.steps, accepted=everything)
    return final_keys(job, report.record.item.name, ((visit, keys[visit]) for visit, _ in path.images()))


def stray_finals(
    job: JobRecord, store: ArtefactStore, known: Collection[str], open_names: Collection[str]
) -> Iterator[Finding]:
    """Yield finals that belong to no item.

    `known` are the keys of done items, `open_names` the names of items whose finals may yet come or be replaced.
    """
    folder = job_key(job.name, "final/")
    steps = {step.id for step in job.recipe.leaves}
    for key, _ in store.list(folder):
        if key in known:
            continue
        name = key.removeprefix(folder).rpartition(".")[0]
        stem, _, step = name.rpartition(".")
        if name not in open_names and not (step in steps and stem in open_names):
            message = f"{key}: it belongs to no item that is done; delete it unless you need it"
            yield Finding(Kind.STRAY_FINAL, message, None, key)


_DATA_FILE = re.compile(r"(?:items|details|ways)-([0-9a-f]{16})\.js")  # named by the beginning of its digest


def wrong_pages(job: JobRecord, summary: Summary, store: ArtefactStore) -> Iterator[Finding]:
    """Yield the findings about report and gallery. `summary` is that of the job's last run, from the ledger.

    The report is written last: if it is of this run, so is the gallery, and only its files may be damaged.
    """
    key = job_key(job.name, REPORT_NAME)
    try:
        report = json.loads(store.get(key))
    except (MissingObject, DamagedObject, ValueError) as error:
        yield Finding(Kind.REPORT, f"{key} cannot be read: {error}", key=key)
    else:
        if not isinstance(report, dict) or not _describes(report, summary):
            yield Finding(Kind.REPORT, f"{key} describes another state of the job than the ledger", key=key)
    page = job_key(job.name, GALLERY_NAME)
    try:
        text = store.get(page).decode()
    except (MissingObject, DamagedObject, ValueError) as error:
        yield Finding(Kind.GALLERY, f"{page} cannot be read: {error}", key=page)
        return
    files = sorted({(match[0], match[1]) for match in _DATA_FILE.finditer(text)})
    if not files:
        yield Finding(Kind.GALLERY, f"{page} shows no item", key=page)  # a job has at least one
    for name, digest in files:
        data_key = job_key(job.name, f"{DATA_FOLDER}/{name}")
        if not _holds(store, data_key, digest):
            yield Finding(Kind.GALLERY, f"{data_key} is missing or damaged", key=data_key)


def _describes(report: dict[str, Any], summary: Summary) -> bool:
    now = summary.model_dump(mode="json")
    items = report.get("items")
    # How many wait for a decision changes without a run.
    same = isinstance(items, dict) and {**items, "waiting": 0} == {**now["items"], "waiting": 0}
    return same and all(report.get(name) == now[name] for name in ("status", "seconds"))


def _holds(store: ArtefactStore, key: str, digest: str) -> bool:
    try:
        return sha256_hex(store.get(key)).startswith(digest)
    except (MissingObject, DamagedObject):
        return False
