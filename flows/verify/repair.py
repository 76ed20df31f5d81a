"""Repair a job: mend the ledger from the store and the store from itself; reopen items that need new images."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.failures import PixelmillError
from configs.settings.settings import Settings
from flows.pages.gallery import finish_job
from flows.verify.findings import READERS, Damage, Fault, Kind
from flows.verify.verify import Advance, Verification, verify_job
from gpu_worker.shard.stored_images import MAX_STORED_PIXELS
from steps.contract import WARNINGS, Fact, Step
from steps.facts import measure
from storage.images.images import FORMATS, UnreadableImage, decode, open_image, read_recipe, reading_errors
from storage.images.job_mark import read_mark, write_mark
from storage.images.manifest import manifest_keys
from storage.images.png_recipe import Provenance
from storage.ledger.lease import JobIsRunning, is_abandoned, job_lease, shard_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemState, JobStatus
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject
from storage.objects.keys import fingerprint_of, sha256_hex

Count = Callable[[str, int | None], AbstractContextManager[Advance]]  # shows progress: its title and total
Facts = Mapping[str, Fact]

_SLICE = 200  # objects that are looked up and recorded together
ARTEFACT_KEY = re.compile(r"artefacts/[0-9a-f]{2}/([0-9a-f]{64})\.([a-z0-9]+)")
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


class NotIndexable(PixelmillError):
    """The artefact does not prove what it is; the message is the reason."""


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
        known = ledger.jobs.get(job_id)
        if (mark := read_mark(store, known.name)) is not None and not mark.is_of(known):
            write_mark(store, known)  # the folder is taken over from another ledger
        found = _verify(job_id, ledger, store, count, "verifying")
        with count("taking images into the ledger", None) as advance:
            mended = reindex_artefacts(store, ledger, found.job.name, advance=advance)
        before = found
        if mended.adopted and found.findings.counts[Kind.UNKNOWN_ARTEFACT]:
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
    ended = job.status in (JobStatus.DONE, JobStatus.INCOMPLETE)
    restated = ended and _correct_status(job.id, job.status, ledger)
    if restated or (before.complete and any(counts[kind] for kind in _PAGES)):
        finish_job(ledger.jobs.get(job.id), ledger, settings)
        mended.rewritten = True


def _mend_artefacts(damage: Damage, mended: Mended, store: ArtefactStore) -> set[str]:
    """Put artefacts back from a sound final where there is one. Return the fingerprints of the others."""
    forgotten = set()
    for fingerprint, (record, fault) in damage.artefacts.items():
        copy = damage.copies.get(fingerprint)
        if copy is not None:
            store.publish(copy, record.key, content_type=record.content_type)
            mended.restored += 1
            continue
        if fault is Fault.DAMAGED:
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


# -- images that lie in the store and are missing from the ledger ------------------------------------------------------


def reindex_artefacts(store: ArtefactStore, ledger: Ledger, job_name: str, *, advance: Advance) -> Mended:
    """Record every artefact in the store that is missing from the ledger, no matter which job made it.

    A process that was killed between object and row leaves them, as does a lost ledger or the backup of an older one.
    Only what an image itself proves is believed: its chain must give its fingerprint, and its facts are measured. Facts
    that only a step can know are taken from the manifest of the job `job_name`, if it has them; an image without them
    is left out, because conditions read them. Raises StoreError where the store refuses or fails.
    """
    reader = _ReindexingReader(store, job_name)
    mended = Mended()
    with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-reindex") as pool:
        for keys in _unknown(store, ledger):
            results = list(pool.map(reader.read, keys))
            records = [result for result in results if isinstance(result, ArtefactRecord)]
            ledger.steps.add_artefacts(records)
            mended.adopted += len(records)
            advance(len(keys))
            mended.not_adopted.update(reason for reason in results if isinstance(reason, str))
    return mended


def _unknown(store: ArtefactStore, ledger: Ledger) -> Iterator[list[str]]:
    """Yield the keys of artefacts that are missing from the ledger, in slices."""
    matches = ((match[1], key) for key, _ in store.list("artefacts/") if (match := ARTEFACT_KEY.fullmatch(key)))
    while some := dict(islice(matches, _SLICE)):
        known = ledger.steps.find_artefacts(store.root, list(some))
        yield [key for found, key in some.items() if found not in known]


class _ReindexingReader:
    """Reads artefacts, and the facts in the manifest when first needed. Safe to share between threads."""

    def __init__(self, store: ArtefactStore, job_name: str) -> None:
        self._store, self._manifest_key = store, manifest_keys(job_name).jsonl
        self._recorded: dict[str, Facts] | None = None
        self._lock = threading.Lock()

    def read(self, key: str) -> ArtefactRecord | str | None:
        """Return a row for the ledger, the reason for none, or None if the object has disappeared meanwhile."""
        try:
            return self._record(key)
        except MissingObject:
            return None
        except (DamagedObject, UnreadableImage):
            return "it is damaged"
        except NotIndexable as error:
            return str(error)

    def _record(self, key: str) -> ArtefactRecord:
        data = self._store.get(key)
        with reading_errors(data):  # also for one wrong bit in a PNG; other formats have no checksum
            header = open_image(data)
            header.verify()
        traits = next((each for each in FORMATS.values() if each.extension == key.rpartition(".")[2]), None)
        if traits is None or traits.content_type != header.get_format_mimetype():
            raise NotIndexable("its name belongs to another format")
        image = decode(data, max_pixels=MAX_STORED_PIXELS)
        made = _provenance(key, data)
        return ArtefactRecord(
            root=self._store.root,
            fingerprint=made.fingerprint,
            key=key,
            sha256=sha256_hex(data),
            size=len(data),
            width=image.width,
            height=image.height,
            content_type=traits.content_type,
            step=made.step,
            facts=self._facts(made, measure(image), exact=traits is FORMATS["png"]),
            created_at=datetime.now(UTC),
        )

    def _facts(self, made: Provenance, measured: Facts, *, exact: bool) -> Facts:
        try:
            step: type[Step] = load_step(made.step)
        except (UnknownName, BrokenEntry) as error:
            raise NotIndexable(f"its step {made.step!r} is not in the catalogue") from error
        own = step.own_facts
        recorded = self._recorded_facts().get(made.fingerprint, {})
        if exact and not own:
            return {**measured, **({WARNINGS: recorded[WARNINGS]} if WARNINGS in recorded else {})}
        # Facts were measured before the image was encoded: only a format without loss shows the same ones again.
        size = {"width", "height"}
        compared = recorded.keys() & measured.keys() if exact else size
        if own.keys() | size <= recorded.keys() and all(recorded[name] == measured[name] for name in compared):
            # A version that measured less wrote less. What a lossy file lacks is measured when it is needed.
            return {**measured, **recorded} if exact else recorded
        if own:
            raise NotIndexable(f"only step {made.step!r} can know its {', '.join(own)}, and no manifest has it")
        # Conditions that read slightly different facts would send items down other paths than before.
        raise NotIndexable("its facts were measured before lossy encoding and are not in the manifest")

    def _recorded_facts(self) -> dict[str, Facts]:
        """Return fingerprint -> facts; empty if the manifest cannot be read."""
        with self._lock:
            if self._recorded is None:
                self._recorded = self._read_manifest()
        return self._recorded

    def _read_manifest(self) -> dict[str, Facts]:
        try:
            rows = [json.loads(line) for line in self._store.get(self._manifest_key).splitlines()]
            return {step["fingerprint"]: step["facts"] for row in rows for step in row["steps"] if step["fingerprint"]}
        except (MissingObject, DamagedObject, ValueError, LookupError, TypeError):
            return {}


def _provenance(key: str, data: bytes) -> Provenance:
    """Return what made the image. Raises NotIndexable if that is not what its key names."""
    recipe = read_recipe(data)
    if recipe is None or not recipe.steps:
        raise NotIndexable("it has no record of how it was made")
    made = recipe.steps[-1]
    if not made.is_genuine or made.fingerprint != fingerprint_of(key):
        raise NotIndexable("its record belongs to another image")
    return made
