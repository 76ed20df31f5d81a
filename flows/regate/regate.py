"""Plan a regate, a job's items under another recipe, and apply it: run what is missing and record the rest."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from configs.documents.fields import Item
from configs.documents.problems import InvalidInput, Problem
from configs.documents.uris import is_remote
from configs.failures import Log
from configs.settings.settings import Settings
from flows.job.plan import refuse_while_pruned, require_own_folder
from flows.job.request import CheckedRecipe, revision_of
from flows.regate.recipe import JobOverrides, NewRecipe, as_written, read_new_recipe
from flows.regate.reevaluate import Change, Reevaluation, Reviews, reevaluate
from flows.report.report import Summary
from flows.verify.findings import READERS
from flows.verify.repair import refuse_living_shards, remove_copies
from flows.verify.verify import stray_finals
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import FindArtefacts, KnownProvenance, PredictedStep, predict, replay
from steps.recipe import resolve_program
from steps.recipe.program import Program, Visit
from storage.images.job_mark import write_mark
from storage.images.png_recipe import Provenance
from storage.inputs.sources import read_item_file
from storage.ledger.lease import HeldLease, job_lease, job_run
from storage.ledger.ledger import Ledger
from storage.ledger.records import (
    ArtefactRecord,
    ItemReport,
    ItemState,
    JobRecord,
    JobStatus,
    Outcome,
    Rerecord,
    ReviewVerdict,
    StepOutcome,
)
from storage.objects.artefacts import ArtefactStore, MissingObject
from storage.objects.keys import job_key, sha256_hex
from storage.objects.open_store import open_store


@dataclass(frozen=True, slots=True)
class StepNeed:
    """The work of a step for items that change.

    `computed` counts images, each once however many items share it; `undecided` counts items whose need depends on
    images that are still missing.
    """

    computed: int = 0
    undecided: int = 0


@dataclass(frozen=True, slots=True)
class RegatePlan:
    """A job, another recipe, and the result of each item under it."""

    job: JobRecord
    new: CheckedRecipe
    own: JobOverrides
    store: ArtefactStore
    items: tuple[Reevaluation, ...]

    @property
    def changed(self) -> list[Reevaluation]:
        """The items that had ended and have another result now."""
        return [each for each in self.items if each.change not in (Change.UNCHANGED, Change.PENDING)]

    @property
    def is_applied(self) -> bool:
        """Whether the job has ended and fits the recipe already."""
        same = self.job.recipe == self.new.recipe and self.job.model_digests == self.new.model_digests
        seen = all(each.item.vars == each.report.record.item.vars for each in self.items)
        return same and seen and self.job.status in (JobStatus.DONE, JobStatus.INCOMPLETE) and not self.changed

    @property
    def needs_steps(self) -> bool:
        """Whether applying it runs or measures anything."""
        return any(not each.change.is_settled for each in self.items)

    def needs(self) -> dict[str, StepNeed]:
        """Return the steps that the items that change need, by visit id in recipe order."""
        computed = defaultdict[str, set[str]](set)
        undecided = Counter[str]()
        for each in self.items:
            if each.change is Change.UNCHANGED:
                continue
            for visit_id, fingerprint in each.computes.items():
                computed[visit_id].add(fingerprint)
            undecided.update(each.undecided)
        return {
            visit_id: StepNeed(len(computed[visit_id]), undecided[visit_id])
            for visit_id in self.new.program.step_ids
            if computed[visit_id] or undecided[visit_id]
        }

    def unmeasured(self) -> dict[str, int]:
        """Return fact -> number of images that lack it although the new recipe reads it."""
        images = defaultdict[str, set[str]](set)
        for each in self.items:
            for fact, visit_ids in each.unmeasured.items():
                images[fact].update(image.fingerprint for visit in visit_ids if (image := each.ways[visit]) is not None)
        return {fact: len(found) for fact, found in sorted(images.items())}


@dataclass(frozen=True, slots=True)
class Applied:
    """The plan and what applying it did; without a `summary`, the job fitted the recipe already."""

    plan: RegatePlan
    summary: Summary | None = None
    former_recipe: str | None = None  # URI of the former recipe
    removed: int = 0  # former finals; their images stay as artefacts


def plan_regate(job_id: str, wanted: NewRecipe, ledger: Ledger, settings: Settings) -> RegatePlan:
    """Plan every item of the job under another recipe. Raises InvalidInput with every mistake, StoreError, LookupError.

    Input files of items whose sizes and modification times are as they were when the job ran are not read again.
    """
    job = ledger.jobs.get(job_id)
    reports = list(ledger.items.reports(job.id))
    if len(reports) != job.total:
        message = (
            f"the ledger has lost {job.total - len(reports)} of the job's {job.total} items: "
            "`pixelmill run` with its job file brings them back"
        )
        raise InvalidInput([Problem(job.id, message)])
    items = [report.record.item for report in reports]
    new, own = read_new_recipe(job, items, wanted, settings)
    old = resolve_program(job.recipe)
    store = open_store(job.output, settings)
    find_artefacts = _known_first(reports, partial(ledger.steps.find_artefacts, store.root))
    digest_file = cache(lambda uri: sha256_hex(read_item_file(uri, settings)))
    known = _earlier_provenance(job, reports, old) if any(_files_of(item) for item in items) else None

    def walk(
        paths: Iterable[ItemPath], visits: Iterable[Visit], model_digests: Mapping[str, str]
    ) -> Iterator[tuple[Visit, list[PredictedStep]]]:
        return predict(
            paths,
            visits,
            model_digests=model_digests,
            find_artefacts=find_artefacts,
            digest_file=digest_file,
            known_provenance=known,
        )

    reevaluated = reevaluate(
        job,
        reports,
        new.items,
        old=old,
        new=new.program,
        new_job=replace(job, recipe=new.recipe, model_digests=new.model_digests),
        reviews=Reviews(
            ledger.reviews.images_with(job.id, ReviewVerdict.ACCEPTED),
            ledger.reviews.images_with(job.id, ReviewVerdict.REJECTED),
        ),
        walk=walk,
    )
    return RegatePlan(job, new, own, store, tuple(reevaluated))


def _known_first(reports: Sequence[ItemReport], find: FindArtefacts) -> FindArtefacts:
    """Return a lookup that queries only fingerprints that are not in the reports: usually none."""
    known = {image.fingerprint: image for report in reports for image in report.artefacts.values()}

    def find_others(fingerprints: Sequence[str]) -> Mapping[str, ArtefactRecord]:
        others = [fingerprint for fingerprint in fingerprints if fingerprint not in known]
        if others:
            known.update(find(others))
        return known

    return find_others


def _earlier_provenance(job: JobRecord, reports: Sequence[ItemReport], old: Program) -> KnownProvenance:
    """Return a lookup of the same step, parameters, models and input image on the item's path under the recipe `old`.

    It spares reading an item's files again, unless they have changed; files that are gone count as unchanged.
    """
    by_index = {report.record.item.index: report for report in reports}
    items = [report.record.item for report in reports]
    untouched = revision_of(job.recipe, old, items, dict(job.model_digests)) == job.revision

    visits_of = cache(lambda index: list(_file_visits(by_index[index], old)))

    def find(path: ItemPath, visit: Visit) -> Provenance | None:
        item = visit.item(path.item)
        if not visit.step.item_files(item) or not all(
            job.model_digests.get(str(ref)) for ref in visit.step.model_refs()
        ):
            return None
        if not untouched and all(is_remote(uri) or Path(uri).is_file() for uri in _files_of(path.item)):
            return None
        for earlier, seen, source, fingerprint in visits_of(path.item.index):
            same = (earlier.name, earlier.step, source) == (visit.name, visit.step, path.fingerprint)
            if same and earlier.step.identity(seen) == visit.step.identity(item):
                return Provenance(visit.name, visit.step.version, {}, {}, (), fingerprint)
        return None

    return find


def _files_of(item: Item) -> list[str]:
    return [uri for uri in (item.image, item.mask) if uri is not None]


def _file_visits(report: ItemReport, old: Program) -> Iterator[tuple[Visit, Item, str | None, str]]:
    """Yield (visit, item as it saw it, input image, fingerprint) of the visits that read files."""
    item, source = report.record.item, None
    everything = frozenset(image.fingerprint for image in report.artefacts.values())
    path = replay(item, old, report.steps, accepted=everything)
    by_id = {visit.id: visit for visit in old.visits}
    for visit_id, fingerprint in path.made.items():
        visit = by_id[visit_id]
        seen = visit.item(item)
        if visit.step.item_files(seen):
            yield visit, seen, source, fingerprint
        if not visit.step.keeps_image:
            source = fingerprint


# -- application -------------------------------------------------------------------------------------------------------


def apply(
    job_id: str,
    wanted: NewRecipe,
    ledger: Ledger,
    settings: Settings,
    *,
    run: Callable[[JobRecord, HeldLease], Summary],
    log: Log | None = None,
    on_plan: Callable[[RegatePlan], object] | None = None,
) -> Applied:
    """Redo the items that have another result under the recipe, and no others.

    `on_plan` is called before the ledger changes. `run` completes the job, without a worker if no item is pending.
    After any interruption, a repetition completes it: finals are published before the ledger names them and removed
    after it no longer does, and the ledger changes in one transaction.
    Raises InvalidInput before anything is changed, JobIsRunning while the job is held, and StoreError.
    """
    with job_lease(job_id, ledger, log=log) as held:
        refuse_living_shards(job_id, ledger, "regate")
        known = ledger.jobs.get(job_id)
        refuse_while_pruned(known.output, ledger)
        require_own_folder(known.name, known.revision, known, open_store(known.output, settings))
        plan = _publish(job_id, wanted, ledger, settings)
        if on_plan is not None:
            on_plan(plan)
        if plan.is_applied:
            return Applied(plan)
        job, store = plan.job, plan.store
        former = None
        if job.recipe != plan.new.recipe:
            former = store.uri(_keep_recipe(job, store))
        open_or_changed = [each for each in plan.items if each.change is not Change.UNCHANGED]
        after = ledger.runs.change_recipe(
            job,
            recipe=plan.new.recipe,
            overrides=plan.own.overrides,
            revision=plan.new.revision,
            model_digests=plan.new.model_digests,
            variables={
                each.item.index: each.item.vars for each in plan.items if each.item.vars != each.report.record.item.vars
            },
            items=[_rerecord(each) for each in open_or_changed],
        )
        write_mark(store, after)
        removed = _remove_finals(open_or_changed, store)
        if job.status is JobStatus.RUNNING:  # it was interrupted, perhaps right here
            removed += _remove_strays(after, ledger, store)
        with job_run(job_id, ledger, log=log):
            return Applied(plan, run(after, held), former, removed)


def _publish(job_id: str, wanted: NewRecipe, ledger: Ledger, settings: Settings) -> RegatePlan:
    """Plan, and publish the new finals. Images that the store has lost are forgotten, so that they are made again."""
    while True:
        plan = plan_regate(job_id, wanted, ledger, settings)
        store = plan.store
        new = [
            (key, artefact)
            for each in plan.changed
            for visit_id, key in each.finals.items()
            if (artefact := each.ways[visit_id]) is not None and each.images_before.get(key) != artefact.fingerprint
        ]
        with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-regate") as pool:
            lost = [artefact for artefact in pool.map(partial(_publish_one, store), new) if artefact is not None]
        store.sync()
        if not lost:
            return plan
        ledger.steps.forget_artefacts(store.root, [artefact.fingerprint for artefact in lost])


def _publish_one(store: ArtefactStore, final: tuple[str, ArtefactRecord]) -> ArtefactRecord | None:
    """Publish an artefact as a final. Return it if the store has lost it, else None."""
    key, artefact = final
    try:
        store.publish(artefact.key, key, content_type=artefact.content_type)
    except MissingObject:
        return artefact
    return None


def _keep_recipe(job: JobRecord, store: ArtefactStore) -> str:
    """Keep the job's recipe beside its manifest, as a file that `--recipe` takes. Return its key."""
    key = job_key(job.name, f"recipes/{job.revision[:16]}.yaml")
    recipe = as_written(job.recipe)
    # The overrides of the job as it is when this is read must not apply here.
    recipe["overrides"] = job.overrides.model_dump(mode="json", exclude_defaults=True) if job.overrides else None
    head = f"# The recipe of {job.id} up to its run {job.run}. JSON, which YAML contains.\n"
    text = head + json.dumps(recipe, indent=2, ensure_ascii=False) + "\n"
    store.replace(key, text.encode(), content_type="application/yaml")
    return key


def _rerecord(each: Reevaluation) -> Rerecord:
    index = each.item.index
    entries = {
        visit_id: StepOutcome(index, Outcome.SKIPPED if artefact is None else Outcome.REUSED, artefact=artefact)
        for visit_id, artefact in each.certain_ways.items()
    }
    if not each.change.is_settled:
        return Rerecord(index, entries, None)
    result = each.result
    assert result is not None, "a settled item has a result"
    if result.error_step is not None and (result.state is ItemState.FAILED or each.computes):
        failed = (entry for entry in each.report.steps.values() if entry.outcome is Outcome.FAILED)
        same = next((entry for entry in failed if entry.error == result.error), None)
        entries[result.error_step] = same or StepOutcome(index, Outcome.FAILED, error=result.error)
    return Rerecord(index, entries, result)


def _remove_finals(changed: Sequence[Reevaluation], store: ArtefactStore) -> int:
    """Remove former finals, once their images are sure to stay as artefacts. Return how many."""
    gone = [
        (key, artefact)
        for each in changed
        for visit_id, key in each.report.record.finals.items()
        if key not in each.finals.values() and (artefact := each.report.artefacts.get(visit_id)) is not None
    ]
    with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-regate") as pool:
        list(pool.map(partial(_remove, store), gone))
    return len(gone)


def _remove(store: ArtefactStore, final: tuple[str, ArtefactRecord]) -> None:
    key, artefact = final
    if not store.exists(artefact.key):
        with suppress(MissingObject):
            store.publish(key, artefact.key, content_type=artefact.content_type)
            store.sync()
    store.delete(key)


def _remove_strays(job: JobRecord, ledger: Ledger, store: ArtefactStore) -> int:
    """Remove finals that an interrupted try did not remove, or published without recording them. Return how many."""
    known = {key for record in ledger.items.find(job.id) for key in record.finals.values()}
    strays = [finding.key for finding in stray_finals(job, store, known, ()) if finding.key is not None]
    return remove_copies(strays, ledger, store)
