"""Plan a regate: a job's items under another recipe, from the ledger and the store. Changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from configs.documents.fields import Item
from configs.documents.problems import InvalidInput, Problem
from configs.documents.uris import is_remote
from configs.settings.settings import Settings
from flows.job.request import OtherRecipe, revision_of
from flows.regate.recipe import JobOverrides, NewRecipe, read_new_recipe
from flows.regate.reevaluate import Reviews, reevaluate
from flows.regate.reevaluation import Change, Reevaluation
from gpu_worker.walk.prediction import FindArtefacts
from steps.recipe import resolve_program
from steps.recipe.program import Program
from storage.inputs.sources import read_item_file
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemReport, JobRecord, JobStatus
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import sha256_hex
from storage.objects.open_store import open_store

ENDED = (JobStatus.DONE, JobStatus.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class RegatePlan:
    """A job, another recipe, and the result of each item under it."""

    job: JobRecord
    new: OtherRecipe
    own: JobOverrides
    store: ArtefactStore
    items: tuple[Reevaluation, ...]

    @property
    def new_job(self) -> JobRecord:
        """The job after the regate."""
        return replace(
            self.job,
            recipe=self.new.recipe,
            model_digests=self.new.model_digests,
            overrides=self.own.overrides,
        )

    @property
    def changed(self) -> list[Reevaluation]:
        """The items that had ended and have another result now."""
        return [each for each in self.items if each.change not in (Change.UNCHANGED, Change.PENDING)]

    @property
    def is_applied(self) -> bool:
        """Whether the job has ended and fits the recipe already."""
        same = self.job.recipe == self.new.recipe and self.job.model_digests == self.new.model_digests
        seen = all(each.item.vars == each.report.record.item.vars for each in self.items)
        return same and seen and self.job.status in ENDED and not self.changed


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
    reevaluated = reevaluate(
        job,
        reports,
        new.items,
        old=old,
        new=new.program,
        new_job=replace(job, recipe=new.recipe, model_digests=new.model_digests),
        reviews=Reviews(ledger.reviews.accepted_images(job.id), ledger.reviews.rejected_images(job.id)),
        find_artefacts=_known_first(reports, partial(ledger.steps.find_artefacts, store.root)),
        digest_file=lambda uri: sha256_hex(read_item_file(uri, settings)),
        files_as_before=_files_as_before(job, old, items),
    )
    return RegatePlan(job, new, own, store, tuple(reevaluated))


def _known_first(reports: Sequence[ItemReport], find: FindArtefacts) -> FindArtefacts:
    """Return a lookup that queries only fingerprints that are not in the reports: usually none."""
    known = {
        entry.artefact.fingerprint: entry.artefact
        for report in reports
        for entry in report.steps.values()
        if entry.artefact is not None
    }

    def find_others(fingerprints: Sequence[str]) -> Mapping[str, ArtefactRecord]:
        others = [fingerprint for fingerprint in fingerprints if fingerprint not in known]
        if others:
            known.update(find(others))
        return known

    return find_others


def _files_as_before(job: JobRecord, old: Program, items: Sequence[Item]) -> Callable[[Item], bool]:
    """Return whether an item's files are unchanged; if they are gone, assume that they were."""
    untouched = revision_of(job.recipe, old, items, dict(job.model_digests)) == job.revision

    def as_before(item: Item) -> bool:
        files = [uri for uri in (item.image, item.mask) if uri is not None]
        return untouched or not all(is_remote(uri) or Path(uri).is_file() for uri in files)

    return as_before
