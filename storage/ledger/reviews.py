"""Queries about people's decisions, and about the bursts that wait for them."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlmodel import Session, col

from storage.ledger.database import SLICE, Repository, change, query, single_transaction, transaction, upsert
from storage.ledger.items import (
    ITEM_COLUMNS,
    REVIEW_OF_REFUSED,
    item_record,
    refused,
    refused_with,
    reset_items,
    steps_by_item,
)
from storage.ledger.jobs import step_order
from storage.ledger.records import ItemState, RefusedItem, Review, ReviewVerdict, Wait
from storage.ledger.steps import outcomes_of
from storage.ledger.tables import ItemRow, ReviewRow, WaitRow

_REVIEW_COLUMNS = tuple(getattr(ReviewRow, name) for name in Review.__dataclass_fields__)
_WAIT_COLUMNS = tuple(getattr(WaitRow, name) for name in Wait.__dataclass_fields__)


class ReviewRepository(Repository):
    """People's decisions on images that gates refused, and the bursts that wait for them."""

    @transaction
    def add(self, session: Session, job_id: str, reviews: Sequence[Review]) -> None:
        """Record decisions, all or none; one about the same image of the same item replaces the former."""
        if not reviews:
            return
        replacing = upsert(self.database.insert(ReviewRow), ("verdict", "reason", "reviewer", "reviewed_at"))
        rows = [
            {"job_id": job_id, **asdict(review), "verdict": review.verdict.value}
            for review in sorted(reviews, key=lambda review: (review.item, review.fingerprint))  # as all writers do
        ]
        session.execute(replacing, rows)

    @query
    def all(self, session: Session, job_id: str) -> list[Review]:
        """Return all decisions about the job's images, also about those it no longer makes; the newest last."""
        rows = select(*_REVIEW_COLUMNS).where(col(ReviewRow.job_id) == job_id).order_by(col(ReviewRow.reviewed_at))
        return [_review(row) for row in session.execute(rows)]

    @query
    def images_with(self, session: Session, job_id: str, verdict: ReviewVerdict) -> dict[str, frozenset[str]]:
        """Return name of an item -> fingerprints of its images with this verdict; no gate refuses accepted ones."""
        rows = select(col(ReviewRow.item), col(ReviewRow.fingerprint)).where(
            col(ReviewRow.job_id) == job_id, col(ReviewRow.verdict) == verdict.value
        )
        found: dict[str, set[str]] = {}
        for item, fingerprint in session.execute(rows):
            found.setdefault(item, set()).add(fingerprint)
        return {item: frozenset(fingerprints) for item, fingerprints in found.items()}

    @query
    def count_waiting(self, session: Session, job_id: str) -> int:
        """Count quarantined items whose image awaits a decision."""
        waiting = (
            select(func.count())
            .select_from(ItemRow)
            .outerjoin(ReviewRow, REVIEW_OF_REFUSED)
            .where(*refused(job_id), col(ReviewRow.verdict).is_(None))
        )
        return int(session.scalar(waiting) or 0)

    @query
    def refused_images(self, session: Session, job_id: str) -> dict[str, tuple[str, ReviewVerdict | None]]:
        """Return name of a quarantined item -> fingerprint of its image and the decision on it, in the job's order."""
        rows = (
            select(col(ItemRow.name), col(ItemRow.refused_image), col(ReviewRow.verdict))
            .outerjoin(ReviewRow, REVIEW_OF_REFUSED)
            .where(*refused(job_id))
            .order_by(col(ItemRow.index))
        )
        return {
            name: (image, None if verdict is None else ReviewVerdict(verdict))
            for name, image, verdict in session.execute(rows)
        }

    def refused_items(self, job_id: str, *, waiting: bool = False, limit: int | None = None) -> Iterator[RefusedItem]:
        """Yield the items that a gate has quarantined, in the job's order, read in slices.

        `waiting`: only those without a decision.
        """
        order = self.database.read(partial(step_order, job_id))
        last, left = -1, limit if limit is not None else sys.maxsize
        while left > 0 and (some := self._refused_after(job_id, last, min(left, SLICE), order, waiting=waiting)):
            yield from some
            last, left = some[-1].record.item.index, left - len(some)

    @query
    def _refused_after(
        self, session: Session, job_id: str, index: int, limit: int, order: Mapping[str, int], *, waiting: bool
    ) -> list[RefusedItem]:
        matching: Select[Any] = (
            select(*ITEM_COLUMNS, *_REVIEW_COLUMNS)
            .outerjoin(ReviewRow, REVIEW_OF_REFUSED)
            .where(*refused(job_id), col(ItemRow.index) > index)
            .order_by(col(ItemRow.index))
            .limit(limit)
        )
        if waiting:
            matching = matching.where(col(ReviewRow.verdict).is_(None))
        rows = list(session.execute(matching))
        width = len(ITEM_COLUMNS)
        records = [item_record(row[:width]) for row in rows]
        steps = steps_by_item(outcomes_of(job_id, [record.item.index for record in records], session), order)
        reviews = [_review(row[width:]) if row[width] is not None else None for row in rows]
        return [
            RefusedItem(record, steps.get(record.item.index, {}), review)
            for record, review in zip(records, reviews, strict=True)
        ]

    @single_transaction
    def release(self, session: Session, job_id: str, verdict: ReviewVerdict) -> int:
        """Make items pending whose refused image has this verdict. Returns their number."""
        indices = refused_with(job_id, verdict, session)
        return reset_items(job_id, [ItemState.QUARANTINED], indices, session) if indices else 0

    @transaction
    def set_wait(self, session: Session, wait: Wait) -> None:
        """Record that a burst waits, replacing an earlier wait of its flow run."""
        session.execute(upsert(self.database.insert(WaitRow), ("job_id", "since", "until")), [asdict(wait)])

    @query
    def waits(self, session: Session, job_id: str | None = None) -> list[Wait]:
        """Return the waiting bursts of all jobs or of one; the longest wait first."""
        rows = select(*_WAIT_COLUMNS).order_by(col(WaitRow.since), col(WaitRow.flow_run_id))
        if job_id is not None:
            rows = rows.where(col(WaitRow.job_id) == job_id)
        return [Wait(*row) for row in session.execute(rows)]

    @query
    def wait_of(self, session: Session, flow_run_id: str) -> Wait | None:
        """Return the wait of this flow run, or None if it does not wait."""
        row = session.execute(select(*_WAIT_COLUMNS).where(col(WaitRow.flow_run_id) == flow_run_id)).first()
        return None if row is None else Wait(*row)

    @transaction
    def shorten_waits(self, session: Session, job_id: str, until: datetime) -> None:
        """Make the job's waiting bursts wait only until then."""
        change(session, update(WaitRow).where(col(WaitRow.job_id) == job_id).values({"until": until}))

    @transaction
    def drop_wait(self, session: Session, flow_run_id: str) -> None:
        """Record that the flow run no longer waits."""
        change(session, delete(WaitRow).where(col(WaitRow.flow_run_id) == flow_run_id))


def _review(row: Sequence[Any]) -> Review:
    item, fingerprint, verdict, reason, reviewer, reviewed_at = row
    return Review(item, fingerprint, ReviewVerdict(verdict), reason, reviewer, reviewed_at)
