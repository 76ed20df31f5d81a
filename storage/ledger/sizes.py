"""The ledger's queries about what fitted the memory of a device."""

from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlmodel import Session, col

from storage.ledger.database import Database
from storage.ledger.records import BatchSize
from storage.ledger.tables import BatchSizeRow


def find_sizes(device: str, *, session: Session) -> dict[str, BatchSize]:
    query = select(BatchSizeRow).where(col(BatchSizeRow.device) == device)
    return {row.key: BatchSize(row.size, row.relief, row.recorded_at) for row in session.scalars(query)}


def record_size(device: str, key: str, size: int, relief: int, *, session: Session, database: Database) -> None:
    insert = database.insert(BatchSizeRow)
    changed = ("size", "relief", "recorded_at")
    upsert = insert.on_conflict_do_update(
        index_elements=["device", "key"], set_={name: insert.excluded[name] for name in changed}
    )
    row = {"device": device, "key": key, "size": size, "relief": relief, "recorded_at": datetime.now(UTC)}
    session.execute(upsert, [row])


def forget_size(device: str, key: str, *, session: Session) -> None:
    session.execute(delete(BatchSizeRow).where(col(BatchSizeRow.device) == device, col(BatchSizeRow.key) == key))
