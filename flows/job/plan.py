"""Plan and begin a job: compare its request with the ledger and the store. Loads no torch."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from configs.documents import uris
from configs.documents.fields import DERIVED_SEEDS, Item, slug
from configs.documents.problems import InvalidInput, Problem
from configs.documents.yaml_source import Document
from configs.failures import Log
from configs.recipe.source import Overrides
from configs.settings.settings import Settings
from flows.job.input_files import InputFiles
from flows.job.request import JobRequest, check_request, read_request, revision_of
from gpu_worker.monitor.failures import describe
from gpu_worker.walk.prediction import Forecast, PredictedStep, Prediction, forecast
from steps.recipe.program import Visit
from storage.images.job_mark import read_mark, write_mark
from storage.ledger.lease import JobIsRunning, is_abandoned, lease_of_pruning
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemState, JobRecord, ReviewVerdict, step_of
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import sha256_hex
from storage.objects.open_store import open_store

logger = logging.getLogger(__name__)

SLOW_SECONDS = 2.0  # of silence, after which a person wonders
Retried = Literal["both", "failed", "quarantined", "rejected"]
_STATES: Mapping[Retried, tuple[ItemState, ...]] = {
    "both": (ItemState.FAILED, ItemState.QUARANTINED),
    "failed": (ItemState.FAILED,),
    "quarantined": (ItemState.QUARANTINED,),
}


def job_id(name: str, root: str) -> str:
    """Return the id of a job: its name, and a digest of name and output."""
    digest = sha256_hex(f"{root}\n{name}".encode())
    return f"{name}-{digest[:6]}"


def job_identity(request: JobRequest, settings: Settings) -> str:
    """Return the id of the request's job."""
    return job_id(request.job.name, open_store(request.output, settings).root)


class FailingItem(NamedTuple):
    """An item that a run would fail; not for `certain` where facts decide whether it comes to the step."""

    item: str
    step: str
    message: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked job that has not begun; nothing was written for it."""

    job_id: str
    request: JobRequest
    store: ArtefactStore
    done: int  # items whose finals exist already under this revision
    steps: dict[str, Forecast]  # of the other items, by step id
    failing: tuple[FailingItem, ...] = ()
    notices: tuple[str, ...] = ()  # what is left out, what of the input files is not used, and what would be replaced


def read_plan_request(job: str | Path, settings: Settings) -> JobRequest:
    """Return the checked job file. Raises InvalidInput with every mistake."""
    return read_request(job, settings)


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """A job without a job file: a recipe, and one place that holds what its items are made of."""

    recipe: str
    items: str  # a folder, a glob, an s3:// prefix, a table or a list of prompts
    option: str  # the command's, that named them
    output: str
    name: str | None = None

    def read(self, settings: Settings) -> JobRequest:
        """Return the checked request; paths start at the working folder. Raises InvalidInput, by option."""
        name = self.name or slug(uris.stem_of(self.recipe)) or "images"
        data = {"name": name, "recipe": self.recipe, "output": self.output, "items": self.items}
        try:
            return check_request(Document(data, "", {}), str(Path.cwd()), settings)
        except InvalidInput as refusal:
            options = {"items": self.option, "recipe": "RECIPE", "output": "--output", "name": "--name"}
            told = [
                each if each.file else Problem(options.get(each.path, each.path), each.message)
                for each in refusal.problems
            ]
            raise InvalidInput(told) from None


def make_plan(
    request: JobRequest, ledger: Ledger, settings: Settings, *, advance: Callable[[int], None] | None = None
) -> Plan:
    """Compare the request with the ledger and the store, and look at the input files.

    `advance(1)` is called for each file. Raises StoreError where no image could be written.
    """
    store = open_store(request.output, settings)
    with _said_when_slow(store, logger.warning):
        store.check_writable(patient=False)
    identifier = job_id(request.job.name, store.root)
    former = known_job(ledger, identifier)
    request = keep_seeds(request, former, ledger)
    replaced = _replaced(request, former, ledger, store)
    lost = _lost(former, ledger, store) if former is not None else _Lost()
    done: set[int] = set()
    if former is not None and former.revision == request.revision:
        done = {record.item.index for record in ledger.items.find(identifier, states=[ItemState.DONE])} - lost.items

    def find_artefacts(fingerprints: Sequence[str]) -> Mapping[str, ArtefactRecord]:
        return ledger.steps.find_artefacts(store.root, [each for each in fingerprints if each not in lost.artefacts])

    failing: dict[tuple[str, str], FailingItem] = {}

    def fail(visit: Visit, one: PredictedStep) -> None:
        assert one.error is not None
        name, message = one.path.item.name, describe(one.error)
        item = FailingItem(name, visit.step_id, message, one.prediction is Prediction.FAIL)
        failing.setdefault((name, message), item)

    left = [item for item in request.items if item.index not in done]
    files = InputFiles(left, request.program, settings, advance)
    visits = forecast(
        left,
        request.program,
        model_digests=request.model_digests,
        find_artefacts=find_artefacts,
        digest_file=files.digest,
        accepted=ledger.reviews.images_with(identifier, ReviewVerdict.ACCEPTED),
        object_to_files=files.objection,
        on_failure=fail,
    )
    notices = (*request.notices, *replaced, *files.notices())
    return Plan(identifier, request, store, len(done), _by_step(visits), tuple(failing.values()), notices)


def _by_step(visits: Mapping[str, Forecast]) -> dict[str, Forecast]:
    """Add up the images of all visits of a step; of items that skip it or are undecided, its largest visit counts."""
    steps: dict[str, Forecast] = {}
    for visit, one in visits.items():
        known = steps.get(step_of(visit), Forecast())
        steps[step_of(visit)] = Forecast(
            computed=known.computed + one.computed,
            reused=known.reused + one.reused,
            skipped=max(known.skipped, one.skipped),
            undecided=max(known.undecided, one.undecided),
        )
    return steps


def keep_seeds(request: JobRequest, former: JobRecord | None, ledger: Ledger) -> JobRequest:
    """Return the request with the seeds of 63 bits that the ledger has of its items: their images stay as they are."""
    wide = ledger.items.wide_seeds(former.id) if former is not None else {}
    if not wide:
        return request

    def kept(item: Item) -> Item:
        seed = wide.get(item.name)
        if seed is None or item.seed not in (seed, seed % DERIVED_SEEDS):
            return item
        return item.model_copy(update={"seed": seed, "wide_seeds": True})

    items = tuple(map(kept, request.items))
    revision = revision_of(request.recipe, request.program, items, request.model_digests)
    return replace(request, items=items, revision=revision)


def start_job(request: JobRequest, ledger: Ledger, settings: Settings, *, log: Log) -> JobRecord:
    """Begin a run of the job in the ledger.

    If recipe, items or models changed, the job starts from the beginning: its former finals are removed, so that its
    folder never shows images of two recipes, but their artefacts stay. Items that failed, items whose finals are gone
    from the store and items with accepted images become pending.

    Before anything is changed, raises InvalidInput if the job's folder is another ledger's, JobIsRunning while its
    output is pruned, and StoreError where no image could be written.
    """
    store = open_store(request.output, settings)
    with _said_when_slow(store, log):
        store.check_writable()
    refuse_while_pruned(store.root, ledger)
    identifier = job_id(request.job.name, store.root)
    former = known_job(ledger, identifier)
    request = keep_seeds(request, former, ledger)
    for notice in _replaced(request, former, ledger, store):
        log(notice)
    if former is not None and former.revision != request.revision:
        for record in ledger.items.find(identifier, states=[ItemState.DONE]):
            for key in record.finals.values():
                store.delete(key)
    job = ledger.runs.start(
        job_id=identifier,
        name=request.job.name,
        output=store.root,
        revision=request.revision,
        recipe=request.recipe,
        model_digests=request.model_digests,
        items=[(item, item.index // settings.shard_size) for item in request.items],
        budget=request.job.budget,
        review=request.job.review,
        overrides=Overrides(parameters=request.job.parameters, distinct=request.job.distinct),
    )
    write_mark(store, job)
    _reopen_items(job, ledger, store)
    ledger.items.reset(job.id, states=[ItemState.FAILED])
    return job


def continue_job(job: JobRecord, ledger: Ledger, settings: Settings) -> JobRecord:
    """Begin another run of a job from the ledger, without its job file; items with accepted images become pending.

    Raises InvalidInput if the ledger has lost items of the job, or its folder is another ledger's by now, JobIsRunning
    while its output is pruned, and StoreError where no image could be written.
    """
    records = ledger.items.find(job.id)
    if len(records) != job.total:
        lost = job.total - len(records)
        message = (
            f"the ledger has lost {lost} of the job's {job.total} items: "
            "`pixelmill run` with its job file brings them back"
        )
        raise InvalidInput([Problem(job.id, message)])
    store = open_store(job.output, settings)
    with _said_when_slow(store, logger.warning):
        store.check_writable()
    refuse_while_pruned(store.root, ledger)
    require_own_folder(job.name, job.revision, job, store)
    again = ledger.runs.start(
        job_id=job.id,
        name=job.name,
        output=job.output,
        revision=job.revision,
        recipe=job.recipe,
        model_digests=job.model_digests,
        items=[(record.item, record.shard) for record in records],
        budget=job.budget,
        review=job.review,
        overrides=job.overrides,
    )
    write_mark(store, again)
    _reopen_items(again, ledger, store)
    return again


@contextmanager
def _said_when_slow(store: ArtefactStore, log: Log) -> Iterator[None]:
    """Log what is waited for if the block takes longer than a moment."""
    timer = threading.Timer(SLOW_SECONDS, log, [f"waiting for an answer from {store.root}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _replaced(request: JobRequest, former: JobRecord | None, ledger: Ledger, store: ArtefactStore) -> tuple[str, ...]:
    """Return what of an earlier job a run would replace. Raises InvalidInput if the folder is another ledger's."""
    name, place = request.job.name, store.uri(request.job.name)
    require_own_folder(name, request.revision, former, store)
    if former is None:
        if next(iter(store.list(f"{name}/final/")), None) is None:
            return ()
        return (f"{place} holds images that no job in this ledger has made: those of the same names are replaced",)
    if former.revision == request.revision or not (images := ledger.items.progress(former.id).done):
        return ()
    return (
        f"recipe, items or models have changed since the last run: its images in {place} are replaced ({images:,})",
    )


def require_own_folder(name: str, revision: str, known: JobRecord | None, store: ArtefactStore) -> None:
    """Raise InvalidInput if a job of another ledger, with other contents, has the folder of this name.

    `known` is this ledger's job of the name, if it has one. Ledgers may share one job: they make the same images.
    """
    mark = read_mark(store, name)
    if mark is None or mark.is_forgotten or mark.is_of(known) or mark.revision == revision:
        return
    message = (
        f"{store.uri(name)} belongs to a job of another ledger with other contents, begun {mark.begun[:10]}: "
        "choose another name or output. If that ledger is lost, `pixelmill verify --repair` takes the folder over"
    )
    raise InvalidInput([Problem("name", message)])


def refuse_while_pruned(root: str, ledger: Ledger) -> None:
    """Raise JobIsRunning while artefacts of this store are being removed: a run could rely on one of them."""
    if not is_abandoned(lease_of_pruning(root), ledger):
        raise JobIsRunning(f"{root} is being pruned: start again when that has ended")


def _reopen_items(job: JobRecord, ledger: Ledger, store: ArtefactStore) -> None:
    """Make done items pending whose finals are gone from the store, and those with accepted images."""
    lost = _lost(job, ledger, store)
    if lost.items:
        ledger.steps.forget_artefacts(job.output, sorted(lost.artefacts))
        ledger.items.reset(job.id, indices=sorted(lost.items))
    ledger.reviews.release(job.id, ReviewVerdict.ACCEPTED)


class _Lost(NamedTuple):
    """Done items whose finals are gone from the store, and their artefacts (fingerprints) that are gone too."""

    items: frozenset[int] = frozenset()
    artefacts: frozenset[str] = frozenset()


def _lost(job: JobRecord, ledger: Ledger, store: ArtefactStore) -> _Lost:
    present = {key for key, _ in store.list(f"{job.name}/final/")}
    items = frozenset(
        record.item.index
        for record in ledger.items.find(job.id, states=[ItemState.DONE])
        if not present.issuperset(record.finals.values())
    )
    if not items:
        return _Lost()
    artefacts = frozenset(
        entry.artefact.fingerprint
        for report in ledger.items.reports(job.id)
        if report.record.item.index in items
        for entry in report.steps.values()
        if entry.artefact is not None and not store.exists(entry.artefact.key)
    )
    return _Lost(items, artefacts)


def known_job(ledger: Ledger, identifier: str) -> JobRecord | None:
    """Return the job with this id, or None if the ledger has none."""
    try:
        return ledger.jobs.get(identifier)
    except LookupError:
        return None


def retry_items(job_id: str, which: Retried, ledger: Ledger) -> int:
    """Make these items pending. Returns their number. Rejected items are retried only by `rejected`."""
    if which == "rejected":
        return ledger.reviews.release(job_id, ReviewVerdict.REJECTED)
    return ledger.items.retry(job_id, _STATES[which])
