"""The ledger's queries about all jobs together: what a fleet has to do, for monitoring and scaling."""

from sqlalchemy import ColumnElement, and_, case, exists, func, select
from sqlmodel import Session, col

from storage.ledger.records import Fleet, ItemState, JobStatus, Progress, ShardState
from storage.ledger.tables import ItemRow, JobRow, ShardRow


def fleet(*, session: Session) -> Fleet:
    statuses = session.execute(select(col(JobRow.status), func.count()).group_by(col(JobRow.status)))
    jobs = {JobStatus(status): int(count) for status, count in statuses}
    running = session.scalars(select(col(JobRow.id)).where(_is_running()).order_by(col(JobRow.id)))
    shards = dict.fromkeys(ShardState, 0)
    oldest = None
    # A shard whose items have all ended stays pending when a job is resumed: nobody will run it.
    state = case(
        (and_(col(ShardRow.state) == ShardState.PENDING.value, ~_has_pending_items()), ShardState.DONE.value),
        else_=col(ShardRow.state),
    ).label("state")
    open_shards = (
        select(state, col(ShardRow.updated_at))
        .join(JobRow, col(JobRow.id) == col(ShardRow.job_id))
        .where(_is_running())
        .subquery()
    )
    counts = select(open_shards.c.state, func.count(), func.min(open_shards.c.updated_at)).group_by(open_shards.c.state)
    for name, count, since in session.execute(counts):
        shards[ShardState(name)] = int(count)
        if name == ShardState.PENDING.value:
            oldest = since
    return Fleet(jobs=jobs, running=tuple(running), shards=shards, oldest_waiting=oldest)


def fleet_progress(*, session: Session) -> Progress:
    # By job and shard first: that is the order of the index, so that nothing has to be sorted.
    by_shard = (
        select(col(ItemRow.state), func.count().label("number"))
        .where(col(ItemRow.job_id).in_(select(col(JobRow.id)).where(_is_running())))
        .group_by(col(ItemRow.job_id), col(ItemRow.shard), col(ItemRow.state))
        .subquery()
    )
    rows = session.execute(select(by_shard.c.state, func.sum(by_shard.c.number)).group_by(by_shard.c.state))
    counts = {state: int(count) for state, count in rows}
    return Progress(total=sum(counts.values()), **{state.value: counts.get(state.value, 0) for state in ItemState})


def _is_running() -> ColumnElement[bool]:
    return col(JobRow.status) == JobStatus.RUNNING.value


def _has_pending_items() -> ColumnElement[bool]:
    return exists().where(
        col(ItemRow.job_id) == col(ShardRow.job_id),
        col(ItemRow.shard) == col(ShardRow.index),
        col(ItemRow.state) == ItemState.PENDING.value,
    )
