"""Repair a job: mend the ledger from the store and the store from itself; reopen items that need new images."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from configs.settings.settings import Settings
from flows.pages.gallery import finish_job
from flows.verify.findings import Damage, Kind
from flows.verify.reindex import reindex_artefacts
from flows.verify.verify import Advance, Verification, verify_job
from storage.images.image_formats import UnreadableImage
from storage.images.png_recipe import read_recipe
from storage.ledger.lease import JobIsRunning, is_abandoned, job_lease, shard_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState, JobStatus
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject
from storage.objects.keys import sha256_hex

Count = Callable[[str, int | None], AbstractContextManager[Advance]]  # shows progress: its title and total

_ENDED = (JobStatus.DONE, JobStatus.INCOMPLETE)
_PAGES = (Kind.MANIFEST, Kind.REPORT, Kind.GALLERY)


@dataclass(slots=True)
class Mended:
    """Counts of what a repair did. The fields are keys of the JSON output."""

    adopted: int = 0  # artefacts that are in the ledger again
    not_adopted: Counter[str] = field(default_factory=Counter)  # artefacts that are still missing from it, by reason
    restored: int = 0  # artefacts put back from a final that is a copy of them
    forgotten: int = 0  # lost artefacts, to be made again
    published: int = 0  # finals copied from their artefacts again
    removed: int = 0  # stray finals, stored as artefacts too
    reopened: int = 0  # items that are pending now
    rewritten: bool = False  # manifest, report and gallery


@dataclass(frozen=True, slots=True)
class Repair:
    found: Verification
    mended: Mended
    left: Verification


def repair_job(job_id: str, ledger: Ledger, store: ArtefactStore, settings: Settings, *, count: Count) -> Repair:
    """Verify, mend and verify again.

    Images that the store has lost or that are damaged are forgotten, and their items become pending; the next run of
    the job makes these and no others. Raises JobIsRunning, StoreError and errors of the ledger; what was mended until
    then stays, and a repair can be repeated.
    """
    with job_lease(job_id, ledger):
        refuse_living_shards(job_id, ledger, "repair")
        found = _verify(job_id, ledger, store, count, "verifying")
        with count("taking images into the ledger", None) as advance:
            adopted, not_adopted = reindex_artefacts(store, ledger, found.job.name, advance=advance)
        mended = Mended(adopted=adopted, not_adopted=not_adopted)
        before = found
        if adopted and found.findings.counts[Kind.UNKNOWN_ARTEFACT]:
            before = _verify(job_id, ledger, store, count, "verifying the images taken in")
        if before.sound:
            return Repair(found, mended, before)
        _mend(before, mended, ledger, store, settings)
        return Repair(found, mended, _verify(job_id, ledger, store, count, "verifying again"))


def refuse_living_shards(job_id: str, ledger: Ledger, verb: str) -> None:
    """Raise JobIsRunning if a shard is alive: it may outlive its burst for a while, and records what it makes."""
    names = [shard_lease(job_id, shard.index) for shard in ledger.runs.shards(job_id)]
    if any(not is_abandoned(name, ledger) for name in ledger.leases.find(names)):
        raise JobIsRunning(f"a worker still works at {job_id}: cancel it or wait for its end, then {verb} it")


def _verify(job_id: str, ledger: Ledger, store: ArtefactStore, count: Count, text: str) -> Verification:
    with count(text, ledger.jobs.get(job_id).total) as advance:
        return verify_job(job_id, ledger, store, running=False, advance=advance)


def _mend(before: Verification, mended: Mended, ledger: Ledger, store: ArtefactStore, settings: Settings) -> None:
    job, damage, counts = before.job, before.findings.damage, before.findings.counts
    forgotten = _mend_artefacts(damage, mended, store)
    ledger.steps.forget_artefacts(store.root, sorted(forgotten))
    lost = {index for index, fingerprints in damage.items.items() if fingerprints & forgotten}
    mended.reopened = ledger.items.reset(job.id, states=[ItemState.DONE], indices=sorted(lost | damage.incomplete))
    _mend_finals(damage, forgotten, mended, store)
    store.sync()
    mended.removed = remove_copies(damage.stray, ledger, store)
    restated = job.status in _ENDED and _correct_status(job.id, job.status, ledger)
    if restated or (before.complete and any(counts[kind] for kind in _PAGES)):
        finish_job(ledger.jobs.get(job.id), ledger, settings)
        mended.rewritten = True


def _mend_artefacts(damage: Damage, mended: Mended, store: ArtefactStore) -> set[str]:
    """Put artefacts back from a sound final where there is one. Return the fingerprints of the others."""
    forgotten = set()
    for fingerprint, (record, damaged) in damage.artefacts.items():
        copy = damage.copies.get(fingerprint)
        if copy is not None:
            store.publish(copy, record.key, content_type=record.content_type)
            mended.restored += 1
            continue
        if damaged:
            store.delete(record.key)
        forgotten.add(fingerprint)
    mended.forgotten = len(forgotten)
    return forgotten


def _mend_finals(damage: Damage, forgotten: set[str], mended: Mended, store: ArtefactStore) -> None:
    for key, artefact in damage.finals.items():
        if artefact.fingerprint in forgotten:
            store.delete(key)  # a damaged image must not pass for a final until a new one is made
        else:
            store.publish(artefact.key, key, content_type=artefact.content_type)
            mended.published += 1


def remove_copies(finals: Iterable[str], ledger: Ledger, store: ArtefactStore) -> int:
    """Remove finals of no item that are copies of artefacts; anything else may be the only copy. Return how many."""
    removed = 0
    for key in finals:
        try:
            data = store.get(key)
            recipe = read_recipe(data)
            history = recipe.steps[-1:] if recipe is not None else ()
            known = ledger.steps.find_artefacts(store.root, [made.fingerprint for made in history])
            if any(artefact.sha256 == sha256_hex(data) and store.exists(artefact.key) for artefact in known.values()):
                store.delete(key)
                removed += 1
        except (MissingObject, DamagedObject, UnreadableImage):
            continue
    return removed


def _correct_status(job_id: str, status: JobStatus, ledger: Ledger) -> bool:
    """Correct the job's status from the states of its items. Return whether it was wrong."""
    progress = ledger.items.progress(job_id)
    right = JobStatus.DONE if progress.done == progress.total else JobStatus.INCOMPLETE
    error = None
    if progress.pending:
        right = JobStatus.FAILED
        error = f"{progress.pending} items have to be made again: `pixelmill resume {job_id}` does so"
    if right is status:
        return False
    ledger.jobs.set_status(job_id, right, error)
    return True
