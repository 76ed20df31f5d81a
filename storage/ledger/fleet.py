"""Queries about all jobs together: the work of a fleet, and the batch sizes that fit its devices."""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, select
from sqlmodel import Session, col

from storage.ledger.database import Repository, query, transaction
from storage.ledger.items import as_progress
from storage.ledger.records import BatchSize, Fleet, ItemState, JobStatus, Progress, ShardState
from storage.ledger.tables import BatchSizeRow, ItemRow, JobRow, ShardRow

_IS_RUNNING = col(JobRow.status) == JobStatus.RUNNING.value


class FleetRepository(Repository):
    """Work of the fleet, and batch sizes that fit its devices."""

    @query
    def work(self, session: Session) -> Fleet:
        """Return what there is to do: costs one row a job and one seek for each of its shards, however many items."""
        statuses = session.execute(select(col(JobRow.status), func.count()).group_by(col(JobRow.status)))
        jobs = {JobStatus(status): int(count) for status, count in statuses}
        running = session.scalars(select(col(JobRow.id)).where(_IS_RUNNING).order_by(col(JobRow.id)))
        shards = dict.fromkeys(ShardState, 0)
        oldest = None
        # A shard whose items have all ended stays pending when a job is resumed, and never runs.
        state = case(
            (and_(col(ShardRow.state) == ShardState.PENDING.value, ~_has_pending_items()), ShardState.DONE.value),
            else_=col(ShardRow.state),
        ).label("state")
        open_shards = (
            select(state, col(ShardRow.updated_at))
            .join(JobRow, col(JobRow.id) == col(ShardRow.job_id))
            .where(_IS_RUNNING)
            .subquery()
        )
        counts = select(open_shards.c.state, func.count(), func.min(open_shards.c.updated_at))
        for name, count, since in session.execute(counts.group_by(open_shards.c.state)):
            shards[ShardState(name)] = int(count)
            if name == ShardState.PENDING.value:
                oldest = since
        return Fleet(jobs=jobs, running=tuple(running), shards=shards, oldest_waiting=oldest)

    @query
    def progress(self, session: Session) -> Progress:
        """Count the items of all running jobs; reads an index entry for each (a million: 0.2 s)."""
        # By job and shard first: that is the order of the index, so that nothing has to be sorted.
        by_shard = (
            select(col(ItemRow.state), func.count().label("number"))
            .where(col(ItemRow.job_id).in_(select(col(JobRow.id)).where(_IS_RUNNING)))
            .group_by(col(ItemRow.job_id), col(ItemRow.shard), col(ItemRow.state))
            .subquery()
        )
        return as_progress(
            session.execute(select(by_shard.c.state, func.sum(by_shard.c.number)).group_by(by_shard.c.state))
        )

    @query
    def batch_sizes(self, session: Session, device: str) -> dict[str, BatchSize]:
        """Return all that is known of this kind of device, by key: one query, and few rows, as most work fits."""
        rows = session.scalars(select(BatchSizeRow).where(col(BatchSizeRow.device) == device))
        return {row.key: BatchSize(row.size, row.fallback, row.recorded_at) for row in rows}

    @transaction
    def record_batch_size(self, session: Session, device: str, key: str, size: int, fallback: int) -> None:
        """Record, or replace, what fitted this kind of device after more had not."""
        insert = self.database.insert(BatchSizeRow)
        changed = {name: insert.excluded[name] for name in ("size", "fallback", "recorded_at")}
        upsert = insert.on_conflict_do_update(index_elements=["device", "key"], set_=changed)
        row = {"device": device, "key": key, "size": size, "fallback": fallback, "recorded_at": datetime.now(UTC)}
        session.execute(upsert, [row])

    @transaction
    def forget_batch_size(self, session: Session, device: str, key: str) -> None:
        """Remove the limit of this work on this kind of device."""
        session.execute(delete(BatchSizeRow).where(col(BatchSizeRow.device) == device, col(BatchSizeRow.key) == key))


def _has_pending_items() -> ColumnElement[bool]:
    return exists().where(
        col(ItemRow.job_id) == col(ShardRow.job_id),
        col(ItemRow.shard) == col(ShardRow.index),
        col(ItemRow.state) == ItemState.PENDING.value,
    )
