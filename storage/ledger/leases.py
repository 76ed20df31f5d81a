"""Queries about leases: which process works at what, so that no other one does."""

from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update
from sqlmodel import Session, col

from storage.ledger.database import Repository, query, slices, transaction
from storage.ledger.records import Lease
from storage.ledger.tables import LeaseRow


class LeaseRepository(Repository):
    """Names and the processes that own them."""

    @transaction
    def take(self, session: Session, name: str, owner: str, *, dead: Lease | None = None) -> Lease:
        """Give `name` to `owner` if it is free, or if its lease is unchanged since it was read as `dead`.

        Returns the lease as it is afterwards: it is the caller's if it names the caller.
        """
        fresh = {"name": name, "owner": owner, "heartbeat": 0}
        session.execute(self.database.insert(LeaseRow).on_conflict_do_nothing(), [fresh])
        row = session.get_one(LeaseRow, name, with_for_update=True)
        if row.owner != owner and dead == _record(row):
            row.owner, row.heartbeat = owner, row.heartbeat + 1  # not reset: no state of the former owner may return
        return _record(row)

    @transaction
    def confirm(self, session: Session, name: str, owner: str) -> bool:
        """Record the owner's heartbeat. False means that the lease is no longer its own, and it has to stop."""
        changed = session.execute(
            update(LeaseRow)
            .where(col(LeaseRow.name) == name, col(LeaseRow.owner) == owner)
            .values({"heartbeat": col(LeaseRow.heartbeat) + 1}),
            execution_options={"synchronize_session": False},
        )
        return cast("CursorResult[Any]", changed).rowcount == 1

    @transaction
    def drop(self, session: Session, name: str, owner: str) -> None:
        """Give the lease up, if it is this owner's."""
        session.execute(delete(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.owner) == owner))

    @query
    def find(self, session: Session, names: Collection[str]) -> dict[str, Lease]:
        """Return the leases of those names that are held."""
        found: dict[str, Lease] = {}
        for some in slices(sorted(set(names))):
            rows = session.scalars(select(LeaseRow).where(col(LeaseRow.name).in_(some)))
            found.update((row.name, _record(row)) for row in rows)
        return found


def _record(row: LeaseRow) -> Lease:
    return Lease(row.owner, row.heartbeat)
