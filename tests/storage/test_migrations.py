"""The migrations make the tables that the code expects, and spare what they find."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, text

from storage.database import Database, LedgerError
from storage.tables import Table


def differences(database: Database) -> list[object]:
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        return list(compare_metadata(context, Table.metadata))


def test_migrations_and_tables_agree(ledger_url: str) -> None:
    assert differences(Database(ledger_url)) == []


def test_the_comparison_sees_a_difference(ledger_url: str) -> None:
    database = Database(ledger_url)
    table = Table.metadata.tables["shards"]
    forgotten: Column[int] = Column("forgotten", Integer)
    table.append_column(forgotten)
    try:
        assert len(differences(database)) == 1
    finally:
        table._columns.remove(forgotten)  # type: ignore[attr-defined]


def test_a_newer_database_is_left_alone(ledger_url: str) -> None:
    database = Database(ledger_url)
    database.write(
        lambda session: session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    )
    with pytest.raises(LedgerError, match="newer Pixelmill"):
        Database(ledger_url)


def test_a_migration_that_fails_leaves_nothing(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage import database as module

    upgrade = module.upgrade

    def fail_at_the_end(connection: object) -> None:
        upgrade(connection)  # type: ignore[arg-type]
        raise RuntimeError("killed")

    monkeypatch.setattr(module, "upgrade", fail_at_the_end)
    with pytest.raises(RuntimeError, match="killed"):
        Database(ledger_url)
    monkeypatch.undo()
    assert differences(Database(ledger_url)) == []
