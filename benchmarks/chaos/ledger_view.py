"""The ledger as an outsider reads it: plain SQL on the database, none of the ledger's own code."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

_RECORDED = """
SELECT items.name, step_runs.visit FROM step_runs
JOIN items ON items.job_id = step_runs.job_id AND items."index" = step_runs."index"
WHERE step_runs.outcome IN ('computed', 'reused')
"""

Pair = tuple[str, str]  # an item's name, a step's id


class Unreadable(Exception):
    """The database is not there yet, is locked, or has just gone away."""


class LedgerView:
    """Reads the ledger at `url`, a `sqlite:///` or `postgresql://` URL, with a connection of its own each time."""

    def __init__(self, url: str) -> None:
        self._url = url

    def recorded(self) -> set[Pair]:
        """Return the images that the ledger has recorded. Raises Unreadable."""
        return {(name, step) for name, step in self._rows(_RECORDED)}

    def item_states(self) -> Counter[str]:
        rows: list[tuple[str, int]] = self._rows("SELECT state, count(*) FROM items GROUP BY state")
        return Counter(dict(rows))

    def shards_done(self) -> int:
        return len(self._rows("SELECT 1 FROM shards WHERE state = 'done'"))

    def jobs(self) -> list[tuple[str, str, str | None]]:
        """(id, status, error) of each."""
        return [(name, status, error) for name, status, error in self._rows("SELECT id, status, error FROM jobs")]

    def _rows(self, query: str) -> list[Any]:
        with self._cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        if self._url.startswith("sqlite:///"):
            path = self._url.removeprefix("sqlite:///")
            try:
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
                    yield connection.cursor()
            except sqlite3.Error as error:
                raise Unreadable(str(error)) from error
            return
        import psycopg

        try:
            with psycopg.connect(self._url, application_name="chaos") as server:
                yield server.cursor()
        except psycopg.Error as error:
            raise Unreadable(str(error)) from error
