"""The ledger: jobs, items, step runs, artefacts and shards in one database; the only record of what is done."""

from storage.ledger.database import Database
from storage.ledger.fleet import FleetRepository, LeaseRepository
from storage.ledger.items import ItemRepository
from storage.ledger.jobs import JobRepository
from storage.ledger.lists import ListRepository
from storage.ledger.reviews import ReviewRepository
from storage.ledger.runs import RunRepository
from storage.ledger.steps import StepRepository


class Ledger:
    """The queries on one SQLite (WAL) or PostgreSQL database, by subject. Safe to share between threads."""

    def __init__(self, url: str, *, patient: bool = False) -> None:
        """Open the database at an SQLAlchemy URL and bring its tables up to date (Alembic).

        `patient`: wait for an unreachable database as long as any transaction does, for processes without a user in
        front of them. A command reports a wrong address sooner.

        Raises LedgerError, with what to change, if the database cannot be used.
        """
        self.database = database = Database(url, patient=patient)
        self.jobs = JobRepository(database)
        self.lists = ListRepository(database)
        self.runs = RunRepository(database)
        self.items = ItemRepository(database)
        self.steps = StepRepository(database)
        self.reviews = ReviewRepository(database)
        self.fleet = FleetRepository(database)
        self.leases = LeaseRepository(database)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self.database.close()
