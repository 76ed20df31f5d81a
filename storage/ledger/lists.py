"""Queries for lists of jobs: a few for all of them together, however many there are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, or_, select
from sqlmodel import Session, col

from storage.ledger.database import Repository, query, slices
from storage.ledger.items import REVIEW_OF_REFUSED, as_progress
from storage.ledger.records import ItemState, JobSample, JobStatus, ListedJob, Progress
from storage.ledger.tables import ArtefactRow, ItemRow, JobRow, ReviewRow, StepRunRow

_COLUMNS = tuple(
    getattr(JobRow, name)
    for name in ("id", "name", "output", "run", "status", "total", "error", "started_at", "finished_at")
)
# The items that are a job's samples: four, spread over it.
_PLACES = tuple(col(JobRow.total) * quarter // 4 for quarter in range(4))


class ListRepository(Repository):
    """Jobs as lists show them, without their recipes."""

    @query
    def jobs(
        self, session: Session, *, job_id: str | None = None, limit: int | None = None, offset: int = 0
    ) -> list[ListedJob]:
        """Return jobs with their counts, the newest start first; with `job_id` that one, or none."""
        rows = select(*_COLUMNS).order_by(col(JobRow.started_at).desc(), col(JobRow.id))
        if job_id is not None:
            rows = rows.where(col(JobRow.id) == job_id)
        found = list(session.execute(rows.limit(limit).offset(offset)))
        # Counting reads an index entry for each item; of a job that is done, all are.
        open_jobs = [row.id for row in found if row.status != JobStatus.DONE]
        counts: dict[str, list[tuple[str, int]]] = {}
        waiting: dict[str, int] = {}
        for some in slices(open_jobs):
            for one, state, number in session.execute(_counts(some)):
                counts.setdefault(one, []).append((state, number))
        refused = [one for one, states in counts.items() if any(state == ItemState.QUARANTINED for state, _ in states)]
        for some in slices(refused):
            waiting.update((one, int(number)) for one, number in session.execute(_waiting(some)))
        return [
            ListedJob(
                id=row.id,
                name=row.name,
                output=row.output,
                run=row.run,
                status=JobStatus(row.status),
                error=row.error,
                started_at=row.started_at,
                finished_at=row.finished_at,
                progress=Progress(row.total, 0, row.total, 0, 0)
                if row.status == JobStatus.DONE
                else as_progress(counts.get(row.id, ())),
                waiting=waiting.get(row.id, 0),
            )
            for row in found
        ]

    @query
    def samples(self, session: Session, job_ids: Sequence[str]) -> dict[str, list[JobSample]]:
        """Return up to four images of each job, in its order: finals, or images that gates refused."""
        found: dict[str, dict[int, JobSample]] = {}
        for some in slices(job_ids):
            for job_id, index, name, finals, refused_image, visit, *image in session.execute(_samples(some)):
                if visit == next(reversed(finals)) if finals else image[0] == refused_image:
                    found.setdefault(job_id, {})[index] = JobSample(name, *image)
        return {job_id: [samples[index] for index in sorted(samples)] for job_id, samples in found.items()}


def _counts(job_ids: Sequence[str]) -> Any:
    # By shard first: that is the order of the index, so that nothing has to be sorted.
    by_shard = (
        select(col(ItemRow.job_id), col(ItemRow.state), func.count().label("number"))
        .where(col(ItemRow.job_id).in_(job_ids))
        .group_by(col(ItemRow.job_id), col(ItemRow.shard), col(ItemRow.state))
        .subquery()
    )
    columns = by_shard.c
    return select(columns.job_id, columns.state, func.sum(columns.number)).group_by(columns.job_id, columns.state)


def _waiting(job_ids: Sequence[str]) -> Any:
    return (
        select(col(ItemRow.job_id), func.count())
        .outerjoin(ReviewRow, REVIEW_OF_REFUSED)
        .where(col(ItemRow.job_id).in_(job_ids), col(ItemRow.state) == ItemState.QUARANTINED.value)
        .where(col(ItemRow.refused_image).is_not(None), col(ReviewRow.verdict).is_(None))
        .group_by(col(ItemRow.job_id))
    )


def _samples(job_ids: Sequence[str]) -> Any:
    return (
        select(
            col(JobRow.id),
            col(ItemRow.index),
            col(ItemRow.name),
            col(ItemRow.finals),
            col(ItemRow.refused_image),
            col(StepRunRow.visit),
            col(ArtefactRow.fingerprint),
            col(ArtefactRow.key),
            col(ArtefactRow.width),
            col(ArtefactRow.height),
        )
        .join(ItemRow, (col(ItemRow.job_id) == col(JobRow.id)) & or_(*(col(ItemRow.index) == at for at in _PLACES)))
        .join(StepRunRow, (col(StepRunRow.job_id) == col(JobRow.id)) & (col(StepRunRow.index) == col(ItemRow.index)))
        .join(
            ArtefactRow,
            (col(ArtefactRow.root) == col(JobRow.output))
            & (col(ArtefactRow.fingerprint) == col(StepRunRow.fingerprint)),
        )
        .where(col(JobRow.id).in_(job_ids))
        .where(col(ItemRow.state).in_([ItemState.DONE.value, ItemState.QUARANTINED.value]))
    )
