"""A job's items decided again under another recipe, from what is stored: without images and without a device."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice

from configs.documents.fields import Item
from configs.recipe.recipe import DISTINCT, Distinct
from gpu_worker.monitor.failures import describe
from gpu_worker.walk.distinct import Finished, Repetition, repetitions
from gpu_worker.walk.item_context import NO_IMAGE, ItemError
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import PredictedStep, Prediction
from steps.recipe.program import Program, Visit
from storage.ledger.records import ArtefactRecord, ItemReport, ItemResult, ItemState, JobRecord, Outcome, final_keys

# `gpu_worker.walk.prediction.predict` with its look-ups: paths, visits, model digests -> the steps at each visit
Walk = Callable[[Iterable[ItemPath], Iterable[Visit], Mapping[str, str]], Iterator[tuple[Visit, list[PredictedStep]]]]
_COMPARED = ("error", "error_step", "warnings", "refused_image", "refused_by")


class Change(StrEnum):
    """The effect of another recipe on an item."""

    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"
    DONE = "done"  # it was quarantined, or had failed
    FAILED = "failed"
    OTHER_FINALS = "other_finals"  # it is done either way
    OTHER_RECORD = "other_record"  # same end, same finals: other reason, warnings or names of steps
    TO_RUN = "to_run"  # steps have to compute images first
    TO_MEASURE = "to_measure"  # facts have to be measured first
    PENDING = "pending"  # it had not come to its end, and still has to

    @property
    def is_settled(self) -> bool:
        """Whether everything is known that the item's end needs."""
        return self not in (Change.TO_RUN, Change.TO_MEASURE, Change.PENDING)


@dataclass(frozen=True, slots=True)
class Reevaluation:
    """An item under the new recipe.

    `ways` are its steps: visit id -> the image it has there already, None where it skips the step; to all but the
    `certain_ways` it may not come. `computes` (visit id -> fingerprint), `undecided` (visit ids) and `unmeasured` (fact
    -> visit ids) name what is missing. `result` is how it would end, None where something is missing; then `expected`
    is its state if no step fails, None where that depends on what is missing.
    """

    item: Item  # as the new recipe sees it
    report: ItemReport  # as the ledger has it
    change: Change
    result: ItemResult | None
    ways: Mapping[str, ArtefactRecord | None]
    certain_ways: Mapping[str, ArtefactRecord | None]
    computes: Mapping[str, str] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    unmeasured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expected: ItemState | None = None

    @property
    def finals(self) -> Mapping[str, str]:
        """Visit id -> final key, under the new recipe."""
        return self.result.finals if self.result is not None else {}

    @property
    def images(self) -> dict[str, str]:
        """Final key -> fingerprint, under the new recipe."""
        return final_images(self.finals, self.ways)

    @property
    def images_before(self) -> dict[str, str]:
        """Final key -> fingerprint, as the ledger has it."""
        return images_of(self.report)


def final_images(finals: Mapping[str, str], made: Mapping[str, ArtefactRecord | None]) -> dict[str, str]:
    """Return final key -> fingerprint of the finals (visit id -> key) whose artefacts are known (by visit id)."""
    return {key: image.fingerprint for visit, key in finals.items() if (image := made.get(visit)) is not None}


def images_of(report: ItemReport) -> dict[str, str]:
    """Return the same for an item as the ledger has it."""
    return final_images(report.record.finals, report.artefacts)


@dataclass(frozen=True, slots=True)
class Reviews:
    """Decisions of people: name of an item -> fingerprints of images that they accepted, and that they rejected.

    No gate rejects an accepted image. An item in quarantine with a rejected one stays there while it is made of it.
    """

    accepted: Mapping[str, frozenset[str]]
    rejected: Mapping[str, frozenset[str]]


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
    walk: Walk,
) -> list[Reevaluation]:
    """Return every item of the job under the program `new`, in the job's order.

    `items` are those of the reports as the new recipe sees them, `new_job` the job with its recipe and models. One
    look-up a visit over all items; an image counts as known whichever job made it.
    """
    traces = _traces(items, new, new_job, reviews, walk)
    # A step that could not make its image then would not make it now either.
    stuck = [
        report.record.item
        for report in reports
        if any(entry.outcome is Outcome.FAILED for entry in report.steps.values())
    ]
    before = _traces(stuck, old, job, reviews, walk)
    attempts = {item.index: _attempt(trace) for item, trace in zip(stuck, before, strict=True)}
    reevaluations = [
        _reevaluate(report, trace, new_job, reviews, attempts.get(report.record.item.index))
        for report, trace in zip(reports, traces, strict=True)
    ]
    rule = new_job.recipe.distinction
    return reevaluations if rule is None else _apply_distinct(reevaluations, rule, reviews)


def _traces(items: Iterable[Item], program: Program, job: JobRecord, reviews: Reviews, walk: Walk) -> list[_Trace]:
    traces = [_Trace(ItemPath(item, program, reviews.accepted.get(item.name, frozenset()))) for item in items]
    by_path = {id(trace.path): trace for trace in traces}
    paths = [trace.path for trace in traces]
    for visit, predicted in walk(paths, program.visits, job.model_digests):
        for seen in predicted:
            by_path[id(seen.path)].add(visit, seen)
    for trace in traces:
        if trace.failed is None:
            try:
                trace.path.finish()
            except ItemError as error:
                trace.fail(program.visits[-1].id, error)
    return traces


def _attempt(trace: _Trace) -> str | None:
    """Return the fingerprint that a step would have to make next, or None if nothing is missing."""
    return next(iter(trace.computes.values()), None)


def _reevaluate(
    report: ItemReport, trace: _Trace, job: JobRecord, reviews: Reviews, failed_at: str | None
) -> Reevaluation:
    change, result = _decide(report, trace, job, reviews, failed_at)
    expected = _expected(trace) if change in (Change.TO_RUN, Change.TO_MEASURE) else None
    return Reevaluation(
        item=trace.path.item,
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


def _decide(
    report: ItemReport, trace: _Trace, job: JobRecord, reviews: Reviews, failed_at: str | None
) -> tuple[Change, ItemResult | None]:
    record, path = report.record, trace.path
    if record.state is ItemState.PENDING:
        return Change.PENDING, None
    rejected = reviews.rejected.get(path.item.name, frozenset())
    if record.state is ItemState.QUARANTINED and rejected.intersection(made for _, made in path.images()):
        return Change.UNCHANGED, record
    if failed_at is not None and failed_at == _attempt(trace):
        still = replace(record, error_step=next(iter(trace.computes)))
        return _change(report, still, trace.certain_ways), still
    if trace.computes:
        return Change.TO_RUN, None
    if trace.unmeasured:
        return Change.TO_MEASURE, None
    result = _ending(trace, job)
    return _change(report, result, trace.ways), result


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
    return ItemResult(ItemState.DONE, finals=finals, warnings=path.warnings)


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
    last = _last_image(each)
    likeness = last.facts.get("likeness")
    accepted = last.fingerprint in reviews.accepted.get(each.item.name, frozenset())
    return Finished(each.item.index, each.item.name, likeness if isinstance(likeness, str) else None, accepted)


def _last_image(each: Reevaluation) -> ArtefactRecord:
    last = each.ways[list(each.finals)[-1]]
    assert last is not None, "a final is an image that is there"
    return last


def _repeating(each: Reevaluation, repetition: Repetition, rule: Distinct) -> Reevaluation:
    assert each.result is not None, "only items that are done were compared"
    if rule.on_fail == "warn":
        result = replace(each.result, warnings=(*each.result.warnings, repetition.reason))
    else:
        result = ItemResult(
            ItemState.QUARANTINED,
            repetition.reason,
            DISTINCT,
            warnings=each.result.warnings,
            refused_image=_last_image(each).fingerprint,
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
    entries = {visit: entry.artefact for visit, entry in report.steps.items() if entry.outcome is not Outcome.FAILED}
    return Change.UNCHANGED if same and _fingerprints(entries) == _fingerprints(ways) else Change.OTHER_RECORD


def _fingerprints(ways: Mapping[str, ArtefactRecord | None]) -> dict[str, str | None]:
    return {visit: image.fingerprint if image is not None else None for visit, image in ways.items()}
