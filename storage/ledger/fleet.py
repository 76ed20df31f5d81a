"""What the processes of a fleet share: the work of all jobs, batch sizes that fit its devices, and leases."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import and_, case, delete, exists, func, select, update
from sqlmodel import Session, col

from storage.ledger.database import Repository, change, query, slices, transaction, upsert
from storage.ledger.items import PENDING_IN_SHARD, as_progress
from storage.ledger.records import BatchSize, Fleet, JobStatus, Lease, Progress, ShardState
from storage.ledger.tables import BatchSizeRow, ItemRow, JobRow, LeaseRow, ShardRow

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
        idle = and_(col(ShardRow.state) == ShardState.PENDING.value, ~exists().where(PENDING_IN_SHARD))
        state = case((idle, ShardState.DONE.value), else_=col(ShardRow.state)).label("state")
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
        replacing = upsert(self.database.insert(BatchSizeRow), ("size", "fallback", "recorded_at"))
        row = {"device": device, "key": key, "size": size, "fallback": fallback, "recorded_at": datetime.now(UTC)}
        session.execute(replacing, [row])

    @transaction
    def forget_batch_size(self, session: Session, device: str, key: str) -> None:
        """Remove the limit of this work on this kind of device."""
        session.execute(delete(BatchSizeRow).where(col(BatchSizeRow.device) == device, col(BatchSizeRow.key) == key))


class LeaseRepository(Repository):
    """Names and the processes that own them: which process works at what, so that no other one does."""

    @transaction
    def take(self, session: Session, name: str, owner: str, *, dead: Lease | None = None) -> Lease:
        """Give `name` to `owner` if it is free, or if its lease is unchanged since it was read as `dead`.

        Returns the lease as it is afterwards: it is the caller's if it names the caller.
        """
        fresh = {"name": name, "owner": owner, "heartbeat": 0}
        session.execute(self.database.insert(LeaseRow).on_conflict_do_nothing(), [fresh])
        row = session.get_one(LeaseRow, name, with_for_update=True)
        if row.owner != owner and dead == _lease(row):
            row.owner, row.heartbeat = owner, row.heartbeat + 1  # not reset: no state of the former owner may return
        return _lease(row)

    @transaction
    def confirm(self, session: Session, name: str, owner: str) -> bool:
        """Record the owner's heartbeat. False means that the lease is no longer its own, and it has to stop."""
        own = update(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.owner) == owner)
        return change(session, own.values({"heartbeat": col(LeaseRow.heartbeat) + 1})) == 1

    @transaction
    def drop(self, session: Session, name: str, owner: str) -> None:
        """Give the lease up, if it is this owner's."""
        session.execute(delete(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.owner) == owner))

    @query
    def named(self, session: Session, beginning: str) -> list[str]:
        """Return the names of all leases that begin so."""
        names = select(col(LeaseRow.name)).where(col(LeaseRow.name).startswith(beginning, autoescape=True))
        return list(session.scalars(names))

    @query
    def find(self, session: Session, names: Collection[str]) -> dict[str, Lease]:
        """Return the leases of those names that are held."""
        found: dict[str, Lease] = {}
        for some in slices(sorted(set(names))):
            rows = session.scalars(select(LeaseRow).where(col(LeaseRow.name).in_(some)))
            found.update((row.name, _lease(row)) for row in rows)
        return found


def _lease(row: LeaseRow) -> Lease:
    return Lease(row.owner, row.heartbeat)
