"""The ledger's queries about people's decisions, and about the bursts that wait for them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, update
from sqlmodel import Session, col

from storage.ledger.database import SLICE, Database
from storage.ledger.finals import in_order
from storage.ledger.items import ITEM_COLUMNS, item_record, reset_items
from storage.ledger.records import ItemState, RefusedItem, Review, ReviewVerdict, StepOutcome, Wait
from storage.ledger.steps import entries_of
from storage.ledger.tables import ItemRow, ReviewRow, WaitRow

_REVIEW_COLUMNS = tuple(
    getattr(ReviewRow, name) for name in ("item", "fingerprint", "verdict", "reason", "reviewer", "reviewed_at")
)
_OF_THE_IMAGE = and_(
    col(ReviewRow.job_id) == col(ItemRow.job_id),
    col(ReviewRow.item) == col(ItemRow.name),
    col(ReviewRow.fingerprint) == col(ItemRow.refused_image),
)


def add_reviews(job_id: str, reviews: Sequence[Review], *, session: Session, database: Database) -> None:
    if not reviews:
        return
    insert = database.insert(ReviewRow)
    changed = ("verdict", "reason", "reviewer", "reviewed_at")
    upsert = insert.on_conflict_do_update(
        index_elements=["job_id", "item", "fingerprint"], set_={name: insert.excluded[name] for name in changed}
    )
    rows = [
        {
            "job_id": job_id,
            "item": review.item,
            "fingerprint": review.fingerprint,
            "verdict": review.verdict.value,
            "reason": review.reason,
            "reviewer": review.reviewer,
            "reviewed_at": review.reviewed_at,
        }
        for review in sorted(reviews, key=lambda review: (review.item, review.fingerprint))  # as all writers do
    ]
    session.execute(upsert, rows)


def find_reviews(job_id: str, *, session: Session) -> list[Review]:
    query = select(*_REVIEW_COLUMNS).where(col(ReviewRow.job_id) == job_id).order_by(col(ReviewRow.reviewed_at))
    return [_review(row) for row in session.execute(query)]


def reviewed_images(job_id: str, verdict: ReviewVerdict, *, session: Session) -> dict[str, frozenset[str]]:
    query = select(col(ReviewRow.item), col(ReviewRow.fingerprint)).where(
        col(ReviewRow.job_id) == job_id, col(ReviewRow.verdict) == verdict.value
    )
    found: dict[str, set[str]] = {}
    for item, fingerprint in session.execute(query):
        found.setdefault(item, set()).add(fingerprint)
    return {item: frozenset(fingerprints) for item, fingerprints in found.items()}


def _refused(job_id: str) -> list[ColumnElement[bool]]:
    return [
        col(ItemRow.job_id) == job_id,
        col(ItemRow.state) == ItemState.QUARANTINED.value,
        col(ItemRow.refused_image).is_not(None),
    ]


def count_waiting(job_id: str, *, session: Session) -> int:
    query = (
        select(func.count())
        .select_from(ItemRow)
        .outerjoin(ReviewRow, _OF_THE_IMAGE)
        .where(*_refused(job_id), col(ReviewRow.verdict).is_(None))
    )
    return int(session.scalar(query) or 0)


def refused_after(
    job_id: str, index: int, limit: int, order: Mapping[str, int], *, waiting: bool, session: Session
) -> list[RefusedItem]:
    """The next items behind `index`, at most a slice of them. `waiting`: only those without a decision."""
    query: Select[Any] = (
        select(*ITEM_COLUMNS, *_REVIEW_COLUMNS)
        .outerjoin(ReviewRow, _OF_THE_IMAGE)
        .where(*_refused(job_id), col(ItemRow.index) > index)
        .order_by(col(ItemRow.index))
        .limit(min(limit, SLICE))
    )
    if waiting:
        query = query.where(col(ReviewRow.verdict).is_(None))
    rows = list(session.execute(query))
    width = len(ITEM_COLUMNS)
    records = [item_record(row[:width]) for row in rows]
    steps: dict[int, dict[str, StepOutcome]] = {}
    entries = entries_of(job_id, [record.item.index for record in records], session=session)
    for visit, entry in sorted(entries, key=lambda pair: in_order(pair[0], order)):
        steps.setdefault(entry.index, {})[visit] = entry
    return [
        RefusedItem(record, steps.get(record.item.index, {}), _review(row[width:]) if row[width] is not None else None)
        for record, row in zip(records, rows, strict=True)
    ]


def refused_images(job_id: str, *, session: Session) -> dict[str, tuple[str, ReviewVerdict | None]]:
    query = (
        select(col(ItemRow.name), col(ItemRow.refused_image), col(ReviewRow.verdict))
        .outerjoin(ReviewRow, _OF_THE_IMAGE)
        .where(*_refused(job_id))
        .order_by(col(ItemRow.index))
    )
    return {
        name: (image, None if verdict is None else ReviewVerdict(verdict))
        for name, image, verdict in session.execute(query)
    }


def refused_with(job_id: str, verdict: ReviewVerdict, *, session: Session) -> list[int]:
    """Items whose refused image has this verdict."""
    query = (
        select(col(ItemRow.index))
        .join(ReviewRow, _OF_THE_IMAGE)
        .where(*_refused(job_id), col(ReviewRow.verdict) == verdict.value)
    )
    return list(session.scalars(query))


def release(job_id: str, verdict: ReviewVerdict, *, session: Session) -> int:
    """Makes items pending whose refused image has this verdict. Returns how many."""
    indices = refused_with(job_id, verdict, session=session)
    return reset_items(job_id, [ItemState.QUARANTINED], indices, session=session) if indices else 0


def reset_undecided(job_id: str, states: Sequence[ItemState], *, session: Session) -> int:
    """As `reset_items`, but spares the items whose image a person has rejected."""
    rejected = set(refused_with(job_id, ReviewVerdict.REJECTED, session=session))
    if not rejected:
        return reset_items(job_id, states, None, session=session)
    query = select(col(ItemRow.index)).where(
        col(ItemRow.job_id) == job_id, col(ItemRow.state).in_([state.value for state in states])
    )
    return reset_items(job_id, states, [*(set(session.scalars(query)) - rejected)], session=session)


def _review(row: Sequence[Any]) -> Review:
    item, fingerprint, verdict, reason, reviewer, reviewed_at = row
    return Review(item, fingerprint, ReviewVerdict(verdict), reason, reviewer, reviewed_at)


# -- bursts that wait ------------------------------------------------------------------------------------------------
def set_wait(wait: Wait, *, session: Session, database: Database) -> None:
    insert = database.insert(WaitRow)
    upsert = insert.on_conflict_do_update(
        index_elements=["flow_run_id"],
        set_={name: insert.excluded[name] for name in ("job_id", "since", "until")},
    )
    row = {"flow_run_id": wait.flow_run_id, "job_id": wait.job_id, "since": wait.since, "until": wait.until}
    session.execute(upsert, [row])


def find_waits(job_id: str | None, *, session: Session) -> list[Wait]:
    query = select(WaitRow).order_by(col(WaitRow.since), col(WaitRow.flow_run_id))
    if job_id is not None:
        query = query.where(col(WaitRow.job_id) == job_id)
    return [Wait(row.flow_run_id, row.job_id, row.since, row.until) for row in session.scalars(query)]


def find_wait(flow_run_id: str, *, session: Session) -> Wait | None:
    row = session.get(WaitRow, flow_run_id)
    return None if row is None else Wait(row.flow_run_id, row.job_id, row.since, row.until)


def shorten_waits(job_id: str, until: datetime, *, session: Session) -> None:
    session.execute(
        update(WaitRow).where(col(WaitRow.job_id) == job_id).values({"until": until}),
        execution_options={"synchronize_session": False},
    )


def drop_wait(flow_run_id: str, *, session: Session) -> None:
    session.execute(
        delete(WaitRow).where(col(WaitRow.flow_run_id) == flow_run_id),
        execution_options={"synchronize_session": False},
    )
