"""The migrations make the tables that the code expects, and spare what they find."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, text

from storage.database import Database, LedgerError
from storage.tables import Table


def differences(database: Database, expected: MetaData = Table.metadata) -> list[object]:
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        return list(compare_metadata(context, expected))


def test_migrations_and_tables_agree(ledger_url: str) -> None:
    assert differences(Database(ledger_url)) == []


def test_the_comparison_sees_a_difference(ledger_url: str) -> None:
    expected = MetaData(naming_convention=Table.metadata.naming_convention)
    for table in Table.metadata.sorted_tables:
        table.to_metadata(expected)
    expected.tables["shards"].append_column(Column("forgotten", Integer))
    assert len(differences(Database(ledger_url), expected)) == 1


def test_a_newer_database_is_left_alone(ledger_url: str) -> None:
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    Database(ledger_url).write(lambda session: session.connection().execute(newer))
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
