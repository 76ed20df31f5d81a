"""The ledger's queries about shards and model loads."""

from datetime import UTC, datetime

from sqlalchemy import and_, func, select
from sqlmodel import Session, col

from storage.ledger.records import ItemState, ModelLoads, ShardRecord, ShardState
from storage.ledger.tables import ItemRow, ModelLoadRow, ShardRow


def find_shards(job_id: str, *, session: Session) -> list[ShardRecord]:
    pending = and_(
        col(ItemRow.job_id) == col(ShardRow.job_id),
        col(ItemRow.shard) == col(ShardRow.index),
        col(ItemRow.state) == ItemState.PENDING.value,
    )
    counts = (
        select(col(ShardRow.index), func.count(col(ItemRow.index)))
        .outerjoin(ItemRow, pending)
        .where(col(ShardRow.job_id) == job_id)
        .group_by(col(ShardRow.index))
    )
    items = {index: int(count) for index, count in session.execute(counts)}
    rows = session.scalars(select(ShardRow).where(col(ShardRow.job_id) == job_id).order_by(col(ShardRow.index)))
    return [_record(row, items[row.index]) for row in rows]


def _record(row: ShardRow, items: int) -> ShardRecord:
    return ShardRecord(
        index=row.index,
        state=ShardState(row.state),
        items=items,
        attempts=len(row.started),
        flow_run_id=row.flow_run_id,
        error=row.error,
        updated_at=row.updated_at,
    )


def set_shard(
    job_id: str, shard: int, state: ShardState, flow_run_id: str | None, error: str | None, *, session: Session
) -> None:
    row = session.get(ShardRow, (job_id, shard), with_for_update=True)
    if row is None:
        raise LookupError(f"The ledger has no shard {shard} of job {job_id!r}.")
    if flow_run_id is not None and flow_run_id in row.started[:-1]:
        return  # a flow run that another has taken the place of: it must not speak for the shard
    if state is ShardState.RUNNING and flow_run_id is not None and flow_run_id not in row.started:
        row.started = [*row.started, flow_run_id]
    row.state, row.error, row.updated_at = state.value, error, datetime.now(UTC)
    row.flow_run_id = flow_run_id or row.flow_run_id


def add_model_load(
    job_id: str | None, run: int | None, model: str, worker: str, seconds: float, cost: float, *, session: Session
) -> None:
    session.add(
        ModelLoadRow(
            job_id=job_id,
            run=run,
            model=model,
            worker=worker,
            seconds=seconds,
            cost=cost,
            loaded_at=datetime.now(UTC),
        )
    )


def count_model_loads(job_id: str, run: int | None, *, session: Session) -> dict[str, ModelLoads]:
    query = select(
        col(ModelLoadRow.model), func.count(), func.sum(col(ModelLoadRow.seconds)), func.sum(col(ModelLoadRow.cost))
    ).where(col(ModelLoadRow.job_id) == job_id)
    if run is not None:
        query = query.where(col(ModelLoadRow.run) == run)
    rows = session.execute(query.group_by(col(ModelLoadRow.model)))
    return {model: ModelLoads(int(count), seconds, cost) for model, count, seconds, cost in rows}
