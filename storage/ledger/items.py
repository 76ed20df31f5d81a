"""Queries about items."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select, update
from sqlmodel import Session, col

from configs.documents.fields import Item
from storage.ledger.database import SLICE, Repository, change, query, single_transaction, slices, transaction
from storage.ledger.jobs import get_row, step_order
from storage.ledger.records import (
    ItemRecord,
    ItemReport,
    ItemResult,
    ItemState,
    Outcome,
    Progress,
    ReviewVerdict,
    StepOutcome,
    in_order,
)
from storage.ledger.steps import RESULT_FIELDS, end_items, outcomes_of, result_values
from storage.ledger.tables import ItemRow, JobRow, ReviewRow, ShardRow, StepRunRow

ITEM_COLUMNS = tuple(getattr(ItemRow, name) for name in ("shard", *RESULT_FIELDS, *Item.model_fields))
# Joins an item with what a person decided about the image that a gate refused.
REVIEW_OF_REFUSED = (
    (col(ReviewRow.job_id) == col(ItemRow.job_id))
    & (col(ReviewRow.item) == col(ItemRow.name))
    & (col(ReviewRow.fingerprint) == col(ItemRow.refused_image))
)
# Joins a shard with its pending items.
PENDING_IN_SHARD = (
    (col(ItemRow.job_id) == col(ShardRow.job_id))
    & (col(ItemRow.shard) == col(ShardRow.index))
    & (col(ItemRow.state) == ItemState.PENDING.value)
)


class ItemRepository(Repository):
    """The items of jobs: their state, how they ended, and reports of all their steps."""

    @query
    def find(
        self,
        session: Session,
        job_id: str,
        *,
        shard: int | None = None,
        states: Sequence[ItemState] | None = None,
    ) -> list[ItemRecord]:
        """Return the matching items in the job's order."""
        matches = [col(ItemRow.shard) == shard] if shard is not None else []
        if states is not None:
            matches.append(_in_states(states))
        return _records(_items(job_id).where(*matches), session)

    @query
    def wide_seeds(self, session: Session, job_id: str) -> dict[str, int]:
        """Return the seed of each item by name whose derived seeds have 63 bits, as those of earlier versions."""
        rows = select(col(ItemRow.name), col(ItemRow.seed)).where(col(ItemRow.job_id) == job_id)
        return {name: seed for name, seed in session.execute(rows.where(col(ItemRow.wide_seeds)))}  # noqa: C416

    @single_transaction
    def reset(
        self,
        session: Session,
        job_id: str,
        *,
        states: Sequence[ItemState] | None = None,
        indices: Sequence[int] | None = None,
    ) -> int:
        """Make matching items pending again and clear their errors and failed step outcomes. Returns their number."""
        return reset_items(job_id, states, indices, session)

    @single_transaction
    def retry(self, session: Session, job_id: str, states: Sequence[ItemState]) -> int:
        """Reset items of these states, except those whose image a person has rejected. Returns their number."""
        rejected = set(refused_with(job_id, ReviewVerdict.REJECTED, session))
        if not rejected:
            return reset_items(job_id, states, None, session)
        indices = session.scalars(select(col(ItemRow.index)).where(col(ItemRow.job_id) == job_id, _in_states(states)))
        return reset_items(job_id, states, [*(set(indices) - rejected)], session)

    @transaction
    def revise(self, session: Session, job_id: str, run: int, ends: Mapping[int, ItemResult]) -> None:
        """Replace how items have ended, also done ones: for decisions that need the whole job.

        Changes no item that is pending by now, and nothing at all if `run` is no longer the newest.
        """
        current = session.scalar(select(col(JobRow.run)).where(col(JobRow.id) == job_id).with_for_update(read=True))
        if current != run:
            return
        for some in slices(sorted(ends)):
            rows = (
                select(col(ItemRow.index))
                .where(col(ItemRow.job_id) == job_id, col(ItemRow.index).in_(some))
                .where(col(ItemRow.state) != ItemState.PENDING.value)
                .order_by(col(ItemRow.index))
                .with_for_update()
            )
            end_items(job_id, {index: ends[index] for index in session.scalars(rows)}, session)

    @query
    def progress(self, session: Session, job_id: str) -> Progress:
        """Count the job's items by state. Raises LookupError for an unknown job."""
        rows = session.execute(
            select(col(ItemRow.state), func.count()).where(col(ItemRow.job_id) == job_id).group_by(col(ItemRow.state))
        )
        counts = as_progress(rows)
        if counts.total == 0:
            get_row(job_id, session)
        return counts

    @query
    def common_errors(self, session: Session, job_id: str, limit: int = 3) -> list[tuple[str, int]]:
        """Return the most frequent errors of the job's failed items, with their numbers."""
        number = func.count().label("number")
        rows = session.execute(
            select(col(ItemRow.error), number)
            .where(col(ItemRow.job_id) == job_id, col(ItemRow.state) == ItemState.FAILED.value)
            .where(col(ItemRow.error).is_not(None))
            .group_by(col(ItemRow.error))
            .order_by(number.desc(), col(ItemRow.error))
            .limit(limit)
        )
        return [(error, int(count)) for error, count in rows]

    def reports(self, job_id: str) -> Iterator[ItemReport]:
        """Yield every item with its step outcomes and artefacts in the job's order; reads slices (constant memory)."""
        order, last = self.database.read(partial(step_order, job_id)), -1
        while some := self._reports_after(job_id, last, order):
            yield from some
            last = some[-1].record.item.index

    @query
    def report(self, session: Session, job_id: str, index: int) -> ItemReport:
        """Return one item as `reports` has it. Raises LookupError."""
        order = step_order(job_id, session)
        records = _records(_items(job_id).where(col(ItemRow.index) == index), session)
        if not records:
            raise LookupError(f"The job {job_id!r} has no item {index}.")
        return _reports(records, outcomes_of(job_id, [index], session), order)[0]

    @query
    def reports_named(self, session: Session, job_id: str, names: Sequence[str]) -> dict[str, ItemReport]:
        """Return items by name as `reports` has them, without names that the job does not have."""
        order = step_order(job_id, session)
        found: dict[str, ItemReport] = {}
        for some in slices(names):
            records = _records(_items(job_id).where(col(ItemRow.name).in_(some)), session)
            outcomes = outcomes_of(job_id, [record.item.index for record in records], session)
            found |= {report.record.item.name: report for report in _reports(records, outcomes, order)}
        return found

    @query
    def _reports_after(self, session: Session, job_id: str, index: int, order: Mapping[str, int]) -> list[ItemReport]:
        records = _records(_items(job_id).where(col(ItemRow.index) > index).limit(SLICE), session)
        if not records:
            return []
        return _reports(records, outcomes_of(job_id, [record.item.index for record in records], session), order)


def _in_states(states: Sequence[ItemState]) -> ColumnElement[bool]:
    return col(ItemRow.state).in_([state.value for state in states])


def _items(job_id: str) -> Select[Any]:
    # Columns, not entities: a whole job is read at once.
    return select(*ITEM_COLUMNS).where(col(ItemRow.job_id) == job_id).order_by(col(ItemRow.index))


def _records(rows: Select[Any], session: Session) -> list[ItemRecord]:
    return [item_record(row) for row in session.execute(rows)]


def reset_items(
    job_id: str, states: Sequence[ItemState] | None, indices: Sequence[int] | None, session: Session
) -> int:
    """Make matching items pending again and clear their errors and failed step outcomes. Returns their number."""
    some: list[Sequence[int] | None] = [None] if indices is None else [*slices(sorted(set(indices)))]
    return sum(_reset_slice(job_id, states, each, session) for each in some)


def _reset_slice(
    job_id: str, states: Sequence[ItemState] | None, indices: Sequence[int] | None, session: Session
) -> int:
    matches = [col(ItemRow.job_id) == job_id]
    if states is not None:
        matches.append(_in_states(states))
    if indices is not None:
        matches.append(col(ItemRow.index).in_(indices))
    failures = delete(StepRunRow).where(
        col(StepRunRow.job_id) == job_id, col(StepRunRow.outcome) == Outcome.FAILED.value
    )
    change(session, failures.where(col(StepRunRow.index).in_(select(col(ItemRow.index)).where(*matches))))
    return change(session, update(ItemRow).where(*matches).values(result_values(ItemResult(ItemState.PENDING))))


def refused(job_id: str) -> list[ColumnElement[bool]]:
    """Return the conditions that match the job's items that a gate has quarantined."""
    return [
        col(ItemRow.job_id) == job_id,
        col(ItemRow.state) == ItemState.QUARANTINED.value,
        col(ItemRow.refused_image).is_not(None),
    ]


def refused_with(job_id: str, verdict: ReviewVerdict, session: Session) -> list[int]:
    """Return the indices of items whose refused image has this verdict."""
    rows = select(col(ItemRow.index)).join(ReviewRow, REVIEW_OF_REFUSED)
    return list(session.scalars(rows.where(*refused(job_id), col(ReviewRow.verdict) == verdict.value)))


def as_progress(rows: Iterable[Any]) -> Progress:
    """Return the counts of rows (state, number)."""
    counts = {state: int(count) for state, count in rows}
    return Progress(total=sum(counts.values()), **{state.value: counts.get(state.value, 0) for state in ItemState})


def steps_by_item(
    outcomes: Iterable[tuple[str, StepOutcome]], order: Mapping[str, int]
) -> dict[int, dict[str, StepOutcome]]:
    """Return index of an item -> visit id -> outcome, in the order of the recipe."""
    steps: dict[int, dict[str, StepOutcome]] = {}
    for visit, outcome in sorted(outcomes, key=lambda pair: in_order(pair[0], order)):
        steps.setdefault(outcome.index, {})[visit] = outcome
    return steps


def _reports(
    records: Sequence[ItemRecord], outcomes: Iterable[tuple[str, StepOutcome]], order: Mapping[str, int]
) -> list[ItemReport]:
    steps = steps_by_item(outcomes, order)
    return [ItemReport(record, steps.get(record.item.index, {})) for record in records]


def item_record(row: Sequence[Any]) -> ItemRecord:
    """Return the record of the columns of ITEM_COLUMNS."""
    shard, state, error, error_step, finals, warnings, *refused_image_and_by = row[: 1 + len(RESULT_FIELDS)]
    fields = row[1 + len(RESULT_FIELDS) :]
    item = Item.model_construct(**dict(zip(Item.model_fields, fields, strict=True)))
    result = (ItemState(state), error, error_step, finals, tuple(warnings), *refused_image_and_by)
    return ItemRecord(*result, item=item, shard=shard)
