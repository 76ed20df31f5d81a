"""Forget jobs, and remove the artefacts that no job names. Nothing that another ledger's job may need is removed."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings
from flows.verify.findings import READERS
from flows.verify.repair import ARTEFACT_KEY, refuse_living_shards
from storage.images.job_mark import MARK, read_mark, write_mark
from storage.images.manifest import manifest_keys
from storage.ledger.database import slices
from storage.ledger.lease import (
    JOB_LEASES,
    JobIsRunning,
    LeaseTaken,
    is_abandoned,
    job_lease,
    lease,
    lease_of_pruning,
)
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus
from storage.objects.artefacts import ArtefactStore, DamagedObject, ListedObject, MissingObject, StoreError
from storage.objects.keys import fingerprint_of, job_key
from storage.objects.open_store import open_store

_JOB_FILE = re.compile(rf"([^/]+)/({re.escape(MARK)}|manifest\.jsonl|final/.*)")


@dataclass(frozen=True, slots=True)
class Unnamed:
    """The artefacts of a store that no job names, and why others of them stay."""

    output: str
    artefacts: int  # in the store
    old: tuple[ListedObject, ...]  # to be removed
    young: int  # too young: a job of another ledger may be about to name them
    foreign: tuple[str, ...]  # folders of jobs that this ledger does not have; what their manifests name stays
    unreadable: tuple[str, ...]  # those of them without a manifest: what they need is unknown

    @property
    def bytes(self) -> int:
        return sum(each.size for each in self.old)


@dataclass(frozen=True, slots=True)
class ForgottenFiles:
    """A forgotten job, and with its images the files of its folder and the artefacts that were its alone."""

    job: JobRecord
    files: tuple[str, ...] = ()  # keys
    artefacts: tuple[str, ...] = ()  # keys of those that no other job names


# -- pruning -----------------------------------------------------------------------------------------------------------


def find_unnamed(store: ArtefactStore, older_than: timedelta, ledger: Ledger) -> Unnamed:
    """Compare the store with the ledger; changes nothing. Takes 100 bytes for each image that a job names."""
    named = ledger.steps.named_images(store.root)
    listed: list[ListedObject] = []
    folders: set[str] = set()
    for entry in store.entries(""):
        if ARTEFACT_KEY.fullmatch(entry.key):
            listed.append(entry)
        elif (found := _JOB_FILE.fullmatch(entry.key)) is not None:
            folders.add(found[1])
    foreign = _foreign(folders, store, ledger)
    unreadable = []
    for folder in foreign:
        if (theirs := _named_in_manifest(store, folder)) is None:
            unreadable.append(folder)
        else:
            named |= theirs
    unnamed = [entry for entry in listed if fingerprint_of(entry.key) not in named]
    limit = datetime.now(UTC) - older_than
    old = tuple(entry for entry in unnamed if entry.modified <= limit)
    return Unnamed(store.root, len(listed), old, len(unnamed) - len(old), foreign, tuple(unreadable))


def _foreign(folders: Iterable[str], store: ArtefactStore, ledger: Ledger) -> tuple[str, ...]:
    """Return those folders that hold a job which the ledger does not have, and has not forgotten."""
    known = {job.name: job for job in ledger.jobs.all() if job.output == store.root}
    foreign = []
    for folder in sorted(folders):
        mark = read_mark(store, folder)
        is_ours = folder in known if mark is None else mark.is_forgotten or mark.is_of(known.get(folder))
        foreign += [] if is_ours else [folder]
    return tuple(foreign)


def _named_in_manifest(store: ArtefactStore, folder: str) -> set[str] | None:
    """Return the fingerprints of the images that a job's manifest names, or None if it cannot be read."""
    try:
        rows = [json.loads(line) for line in store.get(manifest_keys(folder).jsonl).splitlines()]
        return {fingerprint_of(step["key"]) for row in rows for step in row["steps"] if step["key"]}
    except (MissingObject, DamagedObject, ValueError, LookupError, TypeError):
        return None


def prune(store: ArtefactStore, older_than: timedelta, ledger: Ledger, *, even_unreadable: bool = False) -> Unnamed:
    """Remove the artefacts that no job names, and return them.

    No job can begin or go on in this store meanwhile: it might be about to use one of them. Raises JobIsRunning while
    one does, and InvalidInput if jobs of other ledgers have no manifest, unless `even_unreadable`.
    """
    with _nothing_runs(store.root, ledger):
        found = find_unnamed(store, older_than, ledger)
        if found.unreadable and not even_unreadable:
            raise InvalidInput([Problem("PLACE", f"{_unknown_needs(found.unreadable)}, or give --force")])
        _remove_artefacts([entry.key for entry in found.old], store, ledger)
    return found


def _unknown_needs(folders: Iterable[str]) -> str:
    return (
        f"jobs of other ledgers have no manifest yet ({', '.join(folders)}), so what they need is unknown: wait for "
        "their end"
    )


def _remove_artefacts(keys: Collection[str], store: ArtefactStore, ledger: Ledger) -> None:
    """Remove artefacts, each first from the ledger: it never names an image that is gone."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-prune") as pool:
        for some in slices(keys):
            ledger.steps.forget_artefacts(store.root, [fingerprint_of(key) for key in some])
            list(pool.map(store.delete, some))


@contextmanager
def _nothing_runs(root: str, ledger: Ledger, *, besides: str | None = None) -> Iterator[None]:
    """Keep jobs from this store for a context. Raises JobIsRunning while one but `besides` runs or may go on."""
    try:
        with lease(lease_of_pruning(root), ledger):
            jobs = {job.id: job for job in ledger.jobs.all()}
            for job in jobs.values():
                if job.output == root and job.status is JobStatus.RUNNING and job.id != besides:
                    hint = f"wait for its end, or `pixelmill cancel {job.id}`"
                    raise JobIsRunning(f"{job.id} is running in {root}, and may need what no job names: {hint}")
            for name in ledger.leases.named(JOB_LEASES):
                identifier = name.removeprefix(JOB_LEASES).partition(" shard ")[0]
                known = jobs.get(identifier)  # None: a job that is about to begin, somewhere
                if identifier != besides and (known is None or known.output == root) and not is_abandoned(name, ledger):
                    raise JobIsRunning(f"a process works at {identifier}: try again when that has ended")
            yield
    except LeaseTaken as taken:
        raise JobIsRunning(f"{root} is being pruned by {taken.owner.place}") from None


# -- forgetting --------------------------------------------------------------------------------------------------------


def what_goes(job: JobRecord, ledger: Ledger, store: ArtefactStore, *, images: bool) -> ForgottenFiles:
    """Return what would go with the job; changes nothing.

    With `images` it raises InvalidInput where jobs of other ledgers have no manifest, which may need any artefact.
    """
    if not images:
        return ForgottenFiles(job)
    own = ledger.steps.named_images(store.root, only=job.id) - ledger.steps.named_images(store.root, but=job.id)
    files = tuple(key for key, _ in store.list(f"{job.name}/"))
    folders = {found[1] for key, _ in store.list("") if (found := _JOB_FILE.fullmatch(key)) is not None}
    foreign = {folder: _named_in_manifest(store, folder) for folder in _foreign(folders, store, ledger)}
    if unreadable := [folder for folder, theirs in foreign.items() if theirs is None]:
        raise InvalidInput([Problem("--images", f"{_unknown_needs(unreadable)}, or forget the job without --images")])
    own = own.difference(*(theirs or () for theirs in foreign.values()))
    known = ledger.steps.find_artefacts(store.root, sorted(own))
    return ForgottenFiles(job, files, tuple(sorted({artefact.key for artefact in known.values()})))


def forget(job: JobRecord, ledger: Ledger, settings: Settings, *, images: bool) -> ForgottenFiles:
    """Remove a job that does not run from the ledger, and with `images` its folder and the artefacts only it names.

    Can be repeated after an interruption. Raises JobIsRunning, and InvalidInput for a job that waits for decisions or
    whose folder is another ledger's.
    """
    store = open_store(job.output, settings)
    with job_lease(job.id, ledger):
        refuse_living_shards(job.id, ledger, "forget")
        if ledger.reviews.waits(job.id):
            message = f"its burst waits for decisions: `pixelmill cancel {job.id}` first"
            raise InvalidInput([Problem(job.id, message)])
        if not images:
            with suppress(StoreError):  # the store may be long gone
                if (mark := read_mark(store, job.name)) is None or mark.is_of(job):
                    write_mark(store, job, forgotten=True)
            ledger.jobs.forget(job.id)
            return ForgottenFiles(job)
        with _nothing_runs(store.root, ledger, besides=job.id):
            mark = read_mark(store, job.name)
            if mark is not None and not mark.is_of(job):
                message = f"{store.uri(job.name)} is another ledger's by now: forget the job without --images"
                raise InvalidInput([Problem(job.id, message)])
            gone = what_goes(job, ledger, store, images=True)
            _remove_artefacts(gone.artefacts, store, ledger)
            marked = job_key(job.name, MARK)
            for key in (*(key for key in gone.files if key != marked), marked):
                store.delete(key)
            ledger.jobs.forget(job.id)
    return gone
