"""The recipe's `distinct` at the end of a job: quarantine images that repeat an earlier one, or warn of them.

It runs once all items have ended, in the job's order, so that neither the order in which workers finished nor the
number of runs decides which of two similar images is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from configs.recipe.recipe import DISTINCT
from configs.settings.settings import Settings
from flows.verify.verify import expected_finals
from gpu_worker.walk.distinct import OPENING, Finished, Repetition, likeness_of, repetitions
from steps.recipe import resolve_program
from steps.recipe.program import Program
from storage.ledger.ledger import Ledger
from storage.ledger.records import (
    ArtefactRecord,
    ItemRecord,
    ItemReport,
    ItemResult,
    ItemState,
    JobRecord,
    ReviewVerdict,
)
from storage.objects.artefacts import ArtefactStore
from storage.objects.open_store import open_store


@dataclass(frozen=True, slots=True)
class _Ended:
    """An item at the recipe's end, kept or quarantined as a repetition."""

    record: ItemRecord
    finals: Mapping[str, str]  # visit id -> key
    images: Mapping[str, ArtefactRecord]  # key of the final -> its artefact
    likeness: str | None  # of the last image, which is the one that is compared
    fingerprint: str | None  # of the same image


def settle_repetitions(job: JobRecord, ledger: Ledger, settings: Settings) -> int:
    """Apply the recipe's `distinct` to the items that have ended. Returns the number of repetitions.

    Accepted images are always kept. A second call changes nothing; it completes one that was interrupted. An item that
    repeated one which has failed since gets its final images back. Raises StoreError and the ledger's errors.
    """
    rule = job.recipe.distinction
    if rule is None:
        return 0
    accepted = ledger.reviews.images_with(job.id, ReviewVerdict.ACCEPTED)
    program = resolve_program(job.recipe)
    ended = [one for report in ledger.items.reports(job.id) if (one := _ended(job, program, report)) is not None]
    found = repetitions(
        rule,
        (
            Finished(
                one.record.item.index,
                one.record.item.name,
                one.likeness,
                one.fingerprint in accepted.get(one.record.item.name, ()),
            )
            for one in ended
        ),
    )
    store = open_store(job.output, settings)
    if rule.on_fail == "warn":
        ends = dict(_warned(ended, found))
    else:
        ends = dict(_sorted_out(ended, found, store))
        store.sync()
    ledger.items.revise(job.id, job.run, ends)
    return len(found)


def _ended(job: JobRecord, program: Program, report: ItemReport) -> _Ended | None:
    """Return the item, or None if it failed, is pending, or was quarantined for another reason."""
    record, finals = report.record, report.record.finals
    if record.state is ItemState.QUARANTINED and record.error_step == DISTINCT:
        finals = expected_finals(job, report, program)
    elif record.state is not ItemState.DONE:
        return None
    made = report.artefacts
    images = {key: made[visit] for visit, key in finals.items() if visit in made}
    last = next(reversed(list(finals)), None)
    compared = made.get(last) if last is not None else None
    return _Ended(
        record,
        finals,
        images,
        likeness_of(last, report.steps) if last is not None else None,
        compared.fingerprint if compared is not None else None,
    )


def _warned(ended: Sequence[_Ended], found: Mapping[int, Repetition]) -> Iterator[tuple[int, ItemResult]]:
    for one in ended:
        record = one.record
        index = record.item.index
        warnings = [text for text in record.warnings if not text.startswith(OPENING)]
        warnings += [found[index].reason] if index in found else []
        if tuple(warnings) != record.warnings:
            yield index, replace(record, warnings=tuple(warnings))


def _sorted_out(
    ended: Sequence[_Ended], found: Mapping[int, Repetition], store: ArtefactStore
) -> Iterator[tuple[int, ItemResult]]:
    """Publish or delete finals, then yield the new results: the ledger never has a done item without its finals."""
    for one in ended:
        record = one.record
        repetition = found.get(record.item.index)
        if repetition is None and record.state is ItemState.QUARANTINED:
            for key, artefact in one.images.items():
                store.publish(artefact.key, key, content_type=artefact.content_type)
            yield record.item.index, ItemResult(ItemState.DONE, finals=one.finals, warnings=record.warnings)
        elif repetition is not None and record.error != repetition.reason:
            for key in record.finals.values():
                store.delete(key)
            quarantined = replace(
                record,
                state=ItemState.QUARANTINED,
                finals={},
                error=repetition.reason,
                error_step=DISTINCT,
                refused_image=one.fingerprint,
                refused_by=DISTINCT,
            )
            yield record.item.index, quarantined
