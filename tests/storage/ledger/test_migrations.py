"""The migrations make the tables that the code expects, and spare what they find."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, create_engine, make_url, text
from sqlmodel import select

from storage.ledger import migrations
from storage.ledger.database import Database, LedgerError, revisions, upgrade
from storage.ledger.ledger import Ledger
from storage.ledger.migrations import versions
from storage.ledger.tables import ReviewRow, Table

# Of the migrations that ledgers were made with. A new one is added here; a digest is never changed.
FROZEN = {
    "0001_initial.py": "d9479b32bbb3b492",
    "0002_leases.py": "548eef13b5e22813",
    "0003_costs.py": "9c7cfaad33d08366",
    "0004_warnings_and_reviews.py": "b602f45dc057c226",
    "0005_waiting_reviews.py": "85b6406aa52ece5c",
    "0006_overrides.py": "1c2be6f65e7f72d4",
    "0007_plain_names.py": "7df0441297756dbf",
    "0008_wide_seeds.py": "2d5ca9b5301baaa7",
}

JOB = (
    "INSERT INTO jobs (id, name, output, revision, run, recipe, model_digests, status, total, created_at, started_at)"
    " VALUES ('job', 'icons', '/out', 'r', 1, '{}', '{}', 'running', 2, '2026-01-01', '2026-01-01')"
)
ITEM = (
    'INSERT INTO items (job_id, "index", name, seed, vars, shard, state, finals)'
    " VALUES ('job', {index}, '{name}', 1, '{{}}', 0, 'done', '{{}}')"
)
REVIEW = (
    'INSERT INTO reviews (job_id, "index", fingerprint, verdict, reason, reviewer, reviewed_at)'
    " VALUES ('job', 1, 'f', 'accepted', 'good', 'ann', '2026-02-03 04:05:06')"
)


def differences(database: Database, expected: MetaData = Table.metadata) -> list[object]:
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        return list(compare_metadata(context, expected))


def make_at(revision: str, ledger_url: str, *statements: str) -> None:
    """A ledger as a program of that revision left it."""
    url = make_url(ledger_url)
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
    with engine.begin() as connection:
        upgrade(connection, revision)
        for statement in statements:
            connection.execute(text(statement.replace(":", r"\:")))
    engine.dispose()


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


def test_the_revisions_are_those_that_alembic_finds() -> None:
    found = ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()
    assert [script.revision for script in found] == list(reversed(revisions()))


def test_a_migration_that_fails_leaves_nothing(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage.ledger import database as module

    upgrade = module.upgrade

    def fail_at_the_end(connection: object) -> None:
        upgrade(connection)  # type: ignore[arg-type]
        raise RuntimeError("killed")

    monkeypatch.setattr(module, "upgrade", fail_at_the_end)
    with pytest.raises(RuntimeError, match="killed"):
        Database(ledger_url)
    monkeypatch.undo()
    assert differences(Database(ledger_url)) == []


def test_no_migration_was_edited() -> None:
    files = sorted(Path(versions.__file__).parent.glob("0*.py"))
    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files} == FROZEN


@pytest.mark.parametrize("revision", sorted(name[:4] for name in FROZEN))
def test_a_ledger_of_every_earlier_form_is_brought_up_to_date(ledger_url: str, revision: str) -> None:
    make_at(revision, ledger_url, JOB, ITEM.format(index=0, name="sword"))
    database = Database(ledger_url)
    assert differences(database) == []
    with database.reading() as session:
        assert session.connection().execute(text("SELECT name FROM items")).scalars().all() == ["sword"]


def test_decisions_by_index_become_decisions_by_name(ledger_url: str) -> None:
    make_at("0004", ledger_url, JOB, ITEM.format(index=0, name="sword"), ITEM.format(index=1, name="shield"), REVIEW)
    with Database(ledger_url).reading() as session:
        (review,) = session.exec(select(ReviewRow)).all()  # type: ignore[call-overload]
    assert (review.item, review.verdict, review.reviewer) == ("shield", "accepted", "ann")
    assert review.reviewed_at == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_a_ledger_whose_0004_did_the_work_of_0005(ledger_url: str) -> None:
    make_at("0005", ledger_url, "UPDATE alembic_version SET version_num = '0004'")
    database = Database(ledger_url)
    assert differences(database) == []
    with database.reading() as session:
        newest = max(FROZEN)[:4]
        assert session.connection().execute(text("SELECT version_num FROM alembic_version")).scalar() == newest


def test_a_ledger_that_lacks_a_column_says_what_to_do(ledger_url: str) -> None:
    damage = text("ALTER TABLE jobs DROP COLUMN review")
    Database(ledger_url).write(lambda session: session.connection().execute(damage))
    with pytest.raises(LedgerError, match=r"does not match its own version: .*review.*\. Put back a copy of it; "):
        Ledger(ledger_url).jobs.all()


def test_a_ledger_that_is_migrated_while_it_is_in_use_says_so(ledger_url: str) -> None:
    """A worker of this version that stays connected while a newer version changes the tables."""
    ledger = Ledger(ledger_url)
    newer = "UPDATE alembic_version SET version_num = '9999'", "ALTER TABLE jobs RENAME COLUMN review TO other"
    for statement in map(text, newer):
        ledger.database.write(lambda session, statement=statement: session.connection().execute(statement))  # type: ignore[misc]
    with pytest.raises(LedgerError, match="made by a newer Pixelmill: upgrade this one"):
        ledger.jobs.all()
