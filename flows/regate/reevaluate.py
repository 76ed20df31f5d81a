"""A job's items decided again under another recipe, from what is stored: without images and without a device."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice

from configs.documents.fields import Item
from configs.recipe.recipe import DISTINCT, Distinct
from flows.regate.reevaluation import Change, Reevaluation, final_images, images_of
from gpu_worker.monitor.failures import describe
from gpu_worker.walk.distinct import Finished, Repetition, repetitions
from gpu_worker.walk.item_context import NO_IMAGE, ItemError
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import FindArtefacts, KnownProvenance, PredictedStep, Prediction, predict, replay
from gpu_worker.walk.provenance import DigestFile
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance
from storage.ledger.finals import final_keys
from storage.ledger.records import ArtefactRecord, ItemReport, ItemResult, ItemState, JobRecord, Outcome, StepOutcome

_COMPARED = ("error", "error_step", "warnings", "refused_image", "refused_by")


@dataclass(frozen=True, slots=True)
class Reviews:
    """Decisions of people: name of an item -> fingerprints of images that they accepted, and that they rejected.

    No gate rejects an accepted image. An item in quarantine with a rejected one stays there while it is made of it.
    """

    accepted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    rejected: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Trace:
    """The record of an item on its path under the new recipe."""

    path: ItemPath
    ways: dict[str, ArtefactRecord | None] = field(default_factory=dict)
    computes: dict[str, str] = field(default_factory=dict)
    undecided: list[str] = field(default_factory=list)
    unmeasured: dict[str, list[str]] = field(default_factory=dict)
    failed: tuple[str, str] | None = None  # visit id, error
    certain: int | None = None  # how many of its ways do not depend on what is missing, or None if nothing is

    def add(self, visit: Visit, seen: PredictedStep) -> None:
        match seen.prediction:
            case Prediction.COMPUTE:
                self._miss()
                self.computes[visit.id] = self.path.made[visit.id]
            case Prediction.REUSE:
                self.ways[visit.id] = seen.artefact
                for fact in sorted(seen.unmeasured):
                    self._miss()
                    self.unmeasured.setdefault(fact, []).append(visit.id)
            case Prediction.SKIP:
                if self.path.rejected is None and not visit.is_again:
                    self.ways[visit.id] = None
            case Prediction.UNDECIDED:
                self._miss()
                self.undecided.append(visit.id)
            case Prediction.FAIL:
                assert seen.error is not None
                self.fail(visit.id, seen.error)

    @property
    def certain_ways(self) -> dict[str, ArtefactRecord | None]:
        return dict(islice(self.ways.items(), self.certain))

    def _miss(self) -> None:
        """Note that the item may not come to the visits behind this one: the missing part may end it."""
        self.certain = len(self.ways) if self.certain is None else self.certain

    def fail(self, visit_id: str, error: Exception) -> None:
        self.failed = (visit_id, str(error) if isinstance(error, ItemError) else describe(error))


def reevaluate(
    job: JobRecord,
    reports: Sequence[ItemReport],
    items: Sequence[Item],
    *,
    old: Program,
    new: Program,
    new_job: JobRecord,
    reviews: Reviews,
    find_artefacts: FindArtefacts,
    digest_file: DigestFile,
    files_as_before: Callable[[Item], bool],
) -> list[Reevaluation]:
    """Return every item of the job under the program `new`, in the job's order.

    `items` are those of the reports as the new recipe sees them, `new_job` the job with its recipe and models. One
    look-up a visit over all items; an image counts as known whichever job made it. If `files_as_before` is true for an
    item, its input files count as those that its images were made of, and are not read.
    """
    walk = _Walk(find_artefacts, cache(digest_file))
    known = None
    if any(item.image or item.mask for item in items):
        known = ProvenanceCache(job, reports, old, files_as_before).find
    traces = walk.through(
        [ItemPath(item, new, reviews.accepted.get(item.name, frozenset())) for item in items],
        new,
        new_job.model_digests,
        known,
    )
    stuck = [report for report in reports if _has_failed(report)]
    before = walk.through(
        [ItemPath(each.record.item, old, reviews.accepted.get(each.record.item.name, frozenset())) for each in stuck],
        old,
        job.model_digests,
        known,
    )
    attempts = {report.record.item.index: _attempt(trace) for report, trace in zip(stuck, before, strict=True)}
    reevaluations = [
        _reevaluate(report, trace, new_job, reviews, attempts.get(report.record.item.index))
        for report, trace in zip(reports, traces, strict=True)
    ]
    rule = new_job.recipe.distinction
    return reevaluations if rule is None else _apply_distinct(reevaluations, rule, reviews)


@dataclass(frozen=True, slots=True)
class _Walk:
    find_artefacts: FindArtefacts
    digest_file: DigestFile

    def through(
        self,
        paths: Sequence[ItemPath],
        program: Program,
        model_digests: Mapping[str, str],
        known: KnownProvenance | None,
    ) -> list[_Trace]:
        traces = [_Trace(path) for path in paths]
        by_path = {id(trace.path): trace for trace in traces}
        walk = predict(
            paths,
            program.visits,
            model_digests=model_digests,
            find_artefacts=self.find_artefacts,
            digest_file=self.digest_file,
            known_provenance=known,
        )
        for visit, predicted in walk:
            for seen in predicted:
                by_path[id(seen.path)].add(visit, seen)
        for trace in traces:
            if trace.failed is None:
                try:
                    trace.path.finish()
                except ItemError as error:
                    trace.fail(program.visits[-1].id, error)
        return traces


def _has_failed(report: ItemReport) -> bool:
    """Whether it ended at a step that could not make its image: that step would not make it now either."""
    return any(entry.outcome is Outcome.FAILED for entry in report.steps.values())


def _attempt(trace: _Trace) -> str | None:
    """Return the fingerprint that a step would have to make next, or None if nothing is missing."""
    return next(iter(trace.computes.values()), None)


def _reevaluate(
    report: ItemReport, trace: _Trace, job: JobRecord, reviews: Reviews, failed_at: str | None
) -> Reevaluation:
    record, path = report.record, trace.path

    def told(
        change: Change,
        result: ItemResult | None,
        expected: ItemState | None = None,
    ) -> Reevaluation:
        return Reevaluation(
            item=path.item,
            change=change,
            result=result,
            ways=trace.ways,
            certain_ways=trace.certain_ways,
            computes=trace.computes,
            undecided=tuple(trace.undecided),
            unmeasured={fact: tuple(visit_ids) for fact, visit_ids in trace.unmeasured.items()},
            report=report,
            expected=result.state if result is not None else expected,
        )

    if record.state is ItemState.PENDING:
        return told(Change.PENDING, None)
    rejected = reviews.rejected.get(path.item.name, frozenset())
    if record.state is ItemState.QUARANTINED and rejected.intersection(made for _, made in path.images()):
        return told(Change.UNCHANGED, record)
    if failed_at is not None and failed_at == _attempt(trace):
        still = replace(record, error_step=next(iter(trace.computes)))
        return told(_change(report, still, trace.certain_ways), still)
    if trace.computes:
        return told(Change.TO_RUN, None, expected=_expected(trace))
    if trace.unmeasured:
        return told(Change.TO_MEASURE, None, expected=_expected(trace))
    result = _ending(trace, job)
    return told(_change(report, result, trace.ways), result)


def _expected(trace: _Trace) -> ItemState | None:
    """How an item ends of whose way something is missing, if that decides nothing."""
    if trace.failed is not None:
        return ItemState.FAILED
    if trace.path.rejected is not None:
        return ItemState.QUARANTINED
    return None if trace.path.undecided else ItemState.DONE


def _ending(trace: _Trace, job: JobRecord) -> ItemResult:
    """Return how an item ends once everything is known that it depends on."""
    path = trace.path
    if trace.failed is not None:
        step, error = trace.failed
        return ItemResult(ItemState.FAILED, error, step)
    if path.rejected is not None:
        gate, step_id, reason = path.rejected
        image = path.fingerprint
        return ItemResult(ItemState.QUARANTINED, reason, step_id, refused_image=image, refused_by=gate)
    images = dict(path.images())
    if not images:
        return ItemResult(ItemState.FAILED, NO_IMAGE)
    artefacts = {visit_id: artefact for visit_id in images if (artefact := trace.ways.get(visit_id)) is not None}
    finals = final_keys(job, path.item.name, ((visit_id, artefact.key) for visit_id, artefact in artefacts.items()))
    return ItemResult(ItemState.DONE, finals=finals, warnings=path.state.warnings)


def _apply_distinct(reevaluations: Sequence[Reevaluation], rule: Distinct, reviews: Reviews) -> list[Reevaluation]:
    """Apply the recipe's `distinct` to the items whose images exist, as the end of a job does."""
    finished = [
        _finished(each, reviews)
        for each in reevaluations
        if each.change.is_settled and each.result is not None and each.result.state is ItemState.DONE
    ]
    found = repetitions(rule, finished)
    return [
        each if (repetition := found.get(each.item.index)) is None else _repeating(each, repetition, rule)
        for each in reevaluations
    ]


def _finished(each: Reevaluation, reviews: Reviews) -> Finished:
    last = each.ways[next(reversed(list(each.finals)))]
    assert last is not None, "a final is an image that is there"
    likeness = last.facts.get("likeness")
    accepted = last.fingerprint in reviews.accepted.get(each.item.name, frozenset())
    return Finished(each.item.index, each.item.name, likeness if isinstance(likeness, str) else None, accepted)


def _repeating(each: Reevaluation, repetition: Repetition, rule: Distinct) -> Reevaluation:
    assert each.result is not None, "only items that are done were compared"
    if rule.on_fail == "warn":
        result = replace(each.result, warnings=(*each.result.warnings, repetition.reason))
    else:
        last = each.ways[next(reversed(list(each.finals)))]
        assert last is not None, "a final is an image that is there"
        result = ItemResult(
            ItemState.QUARANTINED,
            repetition.reason,
            DISTINCT,
            warnings=each.result.warnings,
            refused_image=last.fingerprint,
            refused_by=DISTINCT,
        )
    change = _change(each.report, result, each.ways)
    return replace(each, change=change, result=result, expected=result.state)


def _change(report: ItemReport, after: ItemResult, ways: Mapping[str, ArtefactRecord | None]) -> Change:
    if report.record.state is not after.state:
        return Change(after.state.value)
    if images_of(report) != final_images(after.finals, ways):
        return Change.OTHER_FINALS
    same = all(getattr(report.record, name) == getattr(after, name) for name in _COMPARED)
    new = {visit_id: artefact.fingerprint if artefact is not None else None for visit_id, artefact in ways.items()}
    return Change.UNCHANGED if same and _way(report.steps) == new else Change.OTHER_RECORD


def _way(entries: Mapping[str, StepOutcome]) -> dict[str, str | None]:
    """Visit id -> fingerprint, None where the step was skipped."""
    return {
        visit_id: entry.artefact.fingerprint if entry.artefact is not None else None
        for visit_id, entry in entries.items()
        if entry.outcome is not Outcome.FAILED
    }


class ProvenanceCache:
    """Provenance of the steps that read an item's files, from its path under the recipe until now.

    Spares reading these files again.
    """

    def __init__(
        self,
        job: JobRecord,
        reports: Sequence[ItemReport],
        old: Program,
        files_as_before: Callable[[Item], bool],
    ) -> None:
        self._job, self._old, self._files_as_before = job, old, files_as_before
        self._reports = {report.record.item.index: report for report in reports}
        self._paths: dict[int, list[tuple[Visit, Item, str | None, str]]] = {}

    def find(self, path: ItemPath, visit: Visit) -> Provenance | None:
        """Return the provenance of the same step, parameters, models and input image made before, or None."""
        item = visit.item(path.item)
        if not visit.step.item_files(item) or not self._files_as_before(path.item):
            return None
        models = {str(ref): self._job.model_digests.get(str(ref)) for ref in visit.step.model_refs()}
        for earlier, seen, source, fingerprint in self._path(path.item.index):
            if (
                (earlier.name, earlier.step, source) == (visit.name, visit.step, path.fingerprint)
                and earlier.step.identity(seen) == visit.step.identity(item)
                and all(models.values())
            ):
                return Provenance(
                    step=visit.name,
                    version=visit.step.version,
                    identity={},
                    models={},
                    inputs=(),
                    fingerprint=fingerprint,
                )
        return None

    def _path(self, index: int) -> list[tuple[Visit, Item, str | None, str]]:
        """Return (visit, item as it saw it, input image, fingerprint) of the visits that read files."""
        if index not in self._paths:
            report = self._reports[index]
            self._paths[index] = list(self._read_path(report))
        return self._paths[index]

    def _read_path(self, report: ItemReport) -> Iterator[tuple[Visit, Item, str | None, str]]:
        item, source = report.record.item, None
        everything = frozenset(entry.artefact.fingerprint for entry in report.steps.values() if entry.artefact)
        path = replay(item, self._old, report.steps, accepted=everything)
        by_id = {visit.id: visit for visit in self._old.visits}
        for visit_id, fingerprint in path.made.items():
            visit = by_id[visit_id]
            seen = visit.item(item)
            if visit.step.item_files(seen):
                yield visit, seen, source, fingerprint
            if not visit.step.keeps_image:
                source = fingerprint
