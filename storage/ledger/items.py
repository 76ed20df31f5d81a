"""The ledger's queries about items."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, Select, delete, func, select, update
from sqlmodel import Session, col

from configs.documents.fields import Item
from storage.ledger.database import SLICE
from storage.ledger.finals import in_order
from storage.ledger.records import ItemRecord, ItemReport, ItemResult, ItemState, Outcome, Progress, StepOutcome
from storage.ledger.steps import end_items, entries_between, entries_of
from storage.ledger.tables import ItemRow, JobRow, StepRunRow

ITEM_COLUMNS = tuple(
    getattr(ItemRow, name)
    for name in (
        *("shard", "state", "error", "error_step", "finals", "warnings", "refused_image", "refused_by"),
        *Item.model_fields,
    )
)


def find_items(
    job_id: str, shard: int | None, states: Sequence[ItemState] | None, *, session: Session
) -> list[ItemRecord]:
    return [item_record(row) for row in session.execute(_matching(job_id, shard, states))]


def _matching(job_id: str, shard: int | None, states: Sequence[ItemState] | None) -> Select[Any]:
    # Columns, not entities: a whole job is read at once.
    query = select(*ITEM_COLUMNS).where(col(ItemRow.job_id) == job_id).order_by(col(ItemRow.index))
    if shard is not None:
        query = query.where(col(ItemRow.shard) == shard)
    if states is not None:
        query = query.where(col(ItemRow.state).in_([state.value for state in states]))
    return query


def reset_items(
    job_id: str, states: Sequence[ItemState] | None, indices: Sequence[int] | None, *, session: Session
) -> int:
    slices: Sequence[Sequence[int] | None] = [None]
    if indices is not None:
        wanted = sorted(set(indices))
        slices = [wanted[start : start + SLICE] for start in range(0, len(wanted), SLICE)]
    return sum(_reset_slice(job_id, states, some, session) for some in slices)


def _reset_slice(
    job_id: str, states: Sequence[ItemState] | None, indices: Sequence[int] | None, session: Session
) -> int:
    matches = [col(ItemRow.job_id) == job_id]
    if states is not None:
        matches.append(col(ItemRow.state).in_([state.value for state in states]))
    if indices is not None:
        matches.append(col(ItemRow.index).in_(indices))
    session.execute(
        delete(StepRunRow)
        .where(col(StepRunRow.job_id) == job_id, col(StepRunRow.outcome) == Outcome.FAILED.value)
        .where(col(StepRunRow.index).in_(select(col(ItemRow.index)).where(*matches))),
        execution_options={"synchronize_session": False},
    )
    pending: dict[str, Any] = {"state": ItemState.PENDING.value, "error": None, "error_step": None}
    pending |= {"finals": {}, "warnings": [], "refused_image": None, "refused_by": None}
    changed = session.execute(
        update(ItemRow).where(*matches).values(pending), execution_options={"synchronize_session": False}
    )
    return cast("CursorResult[Any]", changed).rowcount


def revise_ends(job_id: str, run: int, ends: Sequence[ItemResult], *, session: Session) -> None:
    current = session.scalar(select(col(JobRow.run)).where(col(JobRow.id) == job_id).with_for_update(read=True))
    if current != run:
        return
    ordered = sorted(ends, key=lambda end: end.index)
    for some in (ordered[start : start + SLICE] for start in range(0, len(ordered), SLICE)):
        rows = (
            select(col(ItemRow.index))
            .where(col(ItemRow.job_id) == job_id, col(ItemRow.index).in_([end.index for end in some]))
            .where(col(ItemRow.state) != ItemState.PENDING.value)
            .order_by(col(ItemRow.index))
            .with_for_update()
        )
        ended = set(session.scalars(rows))
        end_items(job_id, [end for end in some if end.index in ended], session=session)


def count_progress(job_id: str, *, session: Session) -> Progress:
    rows = session.execute(
        select(col(ItemRow.state), func.count()).where(col(ItemRow.job_id) == job_id).group_by(col(ItemRow.state))
    )
    counts = {state: int(count) for state, count in rows}
    return Progress(total=sum(counts.values()), **{state.value: counts.get(state.value, 0) for state in ItemState})


def count_errors(job_id: str, limit: int, *, session: Session) -> list[tuple[str, int]]:
    number = func.count().label("number")
    query = (
        select(col(ItemRow.error), number)
        .where(col(ItemRow.job_id) == job_id, col(ItemRow.state) == ItemState.FAILED.value)
        .where(col(ItemRow.error).is_not(None))
        .group_by(col(ItemRow.error))
        .order_by(number.desc(), col(ItemRow.error))
        .limit(limit)
    )
    return [(error, int(count)) for error, count in session.execute(query)]


def reports_after(job_id: str, index: int, order: Mapping[str, int], *, session: Session) -> list[ItemReport]:
    """The next slice of reports behind the item `index`, steps sorted by `order`."""
    query = _matching(job_id, None, None).where(col(ItemRow.index) > index).limit(SLICE)
    records = [item_record(row) for row in session.execute(query)]
    if not records:
        return []
    first, last = records[0].item.index, records[-1].item.index
    return _reports(records, entries_between(job_id, first, last, session=session), order)


def reports_named(
    job_id: str, names: Sequence[str], order: Mapping[str, int], *, session: Session
) -> dict[str, ItemReport]:
    """By name, those that the job has; steps sorted by `order`."""
    found: dict[str, ItemReport] = {}
    for start in range(0, len(names), SLICE):
        query = _matching(job_id, None, None).where(col(ItemRow.name).in_(names[start : start + SLICE]))
        records = [item_record(row) for row in session.execute(query)]
        entries = entries_of(job_id, [record.item.index for record in records], session=session)
        found |= {report.record.item.name: report for report in _reports(records, entries, order)}
    return found


def get_report(job_id: str, index: int, order: Mapping[str, int], *, session: Session) -> ItemReport:
    row = session.execute(_matching(job_id, None, None).where(col(ItemRow.index) == index)).first()
    if row is None:
        raise LookupError(f"The job {job_id!r} has no item {index}.")
    entries = entries_between(job_id, index, index, session=session)
    return ItemReport(item_record(row), dict(sorted(entries, key=lambda pair: in_order(pair[0], order))))


def _reports(
    records: Sequence[ItemRecord], entries: Iterable[tuple[str, StepOutcome]], order: Mapping[str, int]
) -> list[ItemReport]:
    steps: dict[int, dict[str, StepOutcome]] = {}
    for visit, entry in sorted(entries, key=lambda pair: in_order(pair[0], order)):
        steps.setdefault(entry.index, {})[visit] = entry
    return [ItemReport(record, steps.get(record.item.index, {})) for record in records]


def item_record(row: Sequence[Any]) -> ItemRecord:
    shard, state, error, error_step, finals, warnings, refused_image, refused_by, *fields = row
    item = Item.model_construct(**dict(zip(Item.model_fields, fields, strict=True)))
    return ItemRecord(
        item, shard, ItemState(state), error, error_step, finals, tuple(warnings), refused_image, refused_by
    )
