"""Queries about leases: which process works at what, so that no other one does."""

from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update
from sqlmodel import Session, col

from storage.ledger.database import Repository, query, slices, transaction
from storage.ledger.records import Lease
from storage.ledger.tables import LeaseRow


class LeaseRepository(Repository):
    """Names and the processes that hold them."""

    @transaction
    def take(self, session: Session, name: str, holder: str, *, dead: Lease | None = None) -> Lease:
        """Give `name` to `holder` if it is free, or if its lease is unchanged since it was read as `dead`.

        Returns the lease as it is afterwards: it is the caller's if it names the caller.
        """
        fresh = {"name": name, "holder": holder, "beat": 0}
        session.execute(self.database.insert(LeaseRow).on_conflict_do_nothing(), [fresh])
        row = session.get_one(LeaseRow, name, with_for_update=True)
        if row.holder != holder and dead == _record(row):
            row.holder, row.beat = holder, row.beat + 1  # not reset: no state of the former owner may return
        return _record(row)

    @transaction
    def confirm(self, session: Session, name: str, holder: str) -> bool:
        """Record the owner's heartbeat. False means that the lease is no longer its own, and it has to stop."""
        beaten = session.execute(
            update(LeaseRow)
            .where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder)
            .values({"beat": col(LeaseRow.beat) + 1}),
            execution_options={"synchronize_session": False},
        )
        return cast("CursorResult[Any]", beaten).rowcount == 1

    @transaction
    def drop(self, session: Session, name: str, holder: str) -> None:
        """Give the lease up, if it is this owner's."""
        session.execute(delete(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder))

    @query
    def find(self, session: Session, names: Collection[str]) -> dict[str, Lease]:
        """Return the leases of those names that are held."""
        found: dict[str, Lease] = {}
        for some in slices(sorted(set(names))):
            rows = session.scalars(select(LeaseRow).where(col(LeaseRow.name).in_(some)))
            found.update((row.name, _record(row)) for row in rows)
        return found


def _record(row: LeaseRow) -> Lease:
    return Lease(row.holder, row.beat)
