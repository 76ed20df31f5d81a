"""The ledger's queries about leases: who works at what, so that nobody else does."""

from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update
from sqlmodel import Session, col

from storage.ledger.database import SLICE, Database
from storage.ledger.records import Lease
from storage.ledger.tables import LeaseRow


def take_lease(name: str, holder: str, dead: Lease | None, *, session: Session, database: Database) -> Lease:
    fresh = {"name": name, "holder": holder, "beat": 0}
    session.execute(database.insert(LeaseRow).on_conflict_do_nothing(), [fresh])
    row = session.get_one(LeaseRow, name, with_for_update=True)
    if row.holder != holder and dead == _record(row):
        row.holder, row.beat = holder, row.beat + 1  # the beat goes on: the former holder's last one never comes again
    return _record(row)


def beat_lease(name: str, holder: str, *, session: Session) -> bool:
    beaten = session.execute(
        update(LeaseRow)
        .where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder)
        .values({"beat": col(LeaseRow.beat) + 1}),
        execution_options={"synchronize_session": False},
    )
    return cast("CursorResult[Any]", beaten).rowcount == 1


def drop_lease(name: str, holder: str, *, session: Session) -> None:
    session.execute(delete(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder))


def find_leases(names: Iterable[str], *, session: Session) -> dict[str, Lease]:
    wanted = sorted(set(names))
    found: dict[str, Lease] = {}
    for start in range(0, len(wanted), SLICE):
        query = select(LeaseRow).where(col(LeaseRow.name).in_(wanted[start : start + SLICE]))
        found.update((row.name, _record(row)) for row in session.scalars(query))
    return found


def _record(row: LeaseRow) -> Lease:
    return Lease(row.holder, row.beat)
