"""Apply another recipe to a job: record what is already decided, and run what has to be computed.

After any interruption, a repetition completes it: finals are published before the ledger names them and removed
after it no longer does, and the ledger changes in one transaction.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from configs.reporting import Log
from configs.settings.settings import Settings
from flows.regate.recipe import NewRecipe
from flows.regate.reevaluation import Change, Reevaluation
from flows.regate.regate import RegatePlan, plan_regate
from flows.report.report import Summary
from flows.verify.findings import READERS
from flows.verify.repair import refuse_living_shards, remove_copies
from flows.verify.verify import stray_finals
from storage.ledger.lease import HeldLease, job_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import (
    ArtefactRecord,
    ItemState,
    JobRecord,
    JobStatus,
    Outcome,
    Rerecord,
    StepOutcome,
)
from storage.objects.artefacts import ArtefactStore, MissingObject
from storage.objects.keys import job_key

Run = Callable[[JobRecord, HeldLease], Summary]


@dataclass(frozen=True, slots=True)
class Applied:
    """The plan and what applying it did; without a `summary`, the job fitted the recipe already."""

    plan: RegatePlan
    summary: Summary | None = None
    former_recipe: str | None = None  # URI of the former recipe
    removed: int = 0  # former finals; their images stay as artefacts


def apply(
    job_id: str,
    wanted: NewRecipe,
    ledger: Ledger,
    settings: Settings,
    *,
    run: Run,
    log: Log | None = None,
    on_plan: Callable[[RegatePlan], object] | None = None,
) -> Applied:
    """Redo the items that have another result under the recipe, and no others.

    `on_plan` is called before the ledger changes. `run` completes the job, without a worker if no item is pending.
    Raises InvalidInput before anything is changed, JobIsRunning while the job is held, and StoreError.
    """
    with job_lease(job_id, ledger, log=log) as held:
        refuse_living_shards(job_id, ledger, "regate")
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
        removed = _remove_finals(open_or_changed, store)
        if job.status is JobStatus.RUNNING:  # it was interrupted, perhaps right here
            removed += _remove_strays(after, ledger, store)
        return Applied(plan, run(after, held), former, removed)


def _publish(job_id: str, wanted: NewRecipe, ledger: Ledger, settings: Settings) -> RegatePlan:
    """Plan, and publish the new finals. Images that the store has lost are forgotten, so that they are made again."""
    while True:
        plan = plan_regate(job_id, wanted, ledger, settings)
        store = plan.store
        new = [pair for each in plan.changed for pair in _new_finals(each)]
        with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-regate") as pool:
            found = pool.map(partial(_publish_one, store), *zip(*new, strict=True)) if new else ()
            lost = [artefact for artefact in found if artefact is not None]
        store.sync()
        if not lost:
            return plan
        ledger.steps.forget_artefacts(store.root, [artefact.fingerprint for artefact in lost])


def _new_finals(each: Reevaluation) -> Iterable[tuple[str, ArtefactRecord]]:
    before = each.images_before
    for visit_id, key in each.finals.items():
        artefact = each.ways[visit_id]
        assert artefact is not None, "a final is an image that exists"
        if before.get(key) != artefact.fingerprint:
            yield key, artefact


def _publish_one(store: ArtefactStore, key: str, artefact: ArtefactRecord) -> ArtefactRecord | None:
    """Publish an artefact as a final. Return it if the store has lost it, else None."""
    try:
        store.publish(artefact.key, key, content_type=artefact.content_type)
    except MissingObject:
        return artefact
    return None


def _keep_recipe(job: JobRecord, store: ArtefactStore) -> str:
    """Keep the job's recipe beside its manifest, as a file that `--recipe` takes. Return its key."""
    key = job_key(job.name, f"recipes/{job.revision[:16]}.yaml")
    recipe = job.recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
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
        (key, entry.artefact)
        for each in changed
        for visit_id, key in each.report.record.finals.items()
        if key not in each.finals.values()
        and (entry := each.report.steps.get(visit_id)) is not None
        and entry.artefact is not None
    ]
    with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-regate") as pool:
        list(pool.map(lambda pair: _remove(store, *pair), gone))
    return len(gone)


def _remove(store: ArtefactStore, key: str, artefact: ArtefactRecord) -> None:
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
