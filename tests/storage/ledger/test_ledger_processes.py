"""Several processes at one ledger."""

import multiprocessing
import resource
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from storage.ledger.database import Database, LedgerError, _lost
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, StepCounts
from tests.support.ledger_samples import ROOT, computed, start

CHUNK, CHUNKS, WORKERS = 8, 12, 3


def _open(url: str) -> int:
    ledger = Ledger(url)
    start(ledger)
    run = ledger.jobs.get("job-1").run
    ledger.close()
    return run


def _work(url: str, first: int) -> None:
    """One worker: chunks of its own, and one that all workers share, as a duplicate shard would."""
    ledger = Ledger(url)
    for chunk in range(CHUNKS):
        begin = (first * CHUNKS + chunk) * CHUNK + CHUNK
        own, shared = range(begin, begin + CHUNK), range(CHUNK)
        for indices in (own, reversed(shared)):
            entries = [computed(index) for index in indices]
            ends = {entry.index: ItemResult(ItemState.DONE) for entry in entries}
            ledger.steps.record("job-1", 1, "draw", entries, ends)
    ledger.close()


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Processes that share nothing with this one but what a ledger's URL names."""
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as started:
        yield started


@pytest.mark.parts
def test_processes_that_meet_at_a_new_database(ledger_url: str, pool: ProcessPoolExecutor) -> None:
    runs = list(pool.map(_open, [ledger_url] * 3))
    assert max(runs) == 3  # each of them began a run, and none was lost
    assert Ledger(ledger_url).jobs.get("job-1").run == 3


@pytest.mark.parts
def test_several_processes_record_at_once(ledger_url: str, pool: ProcessPoolExecutor) -> None:
    total = CHUNK + WORKERS * CHUNKS * CHUNK
    ledger = Ledger(ledger_url)
    start(ledger, count=total)
    list(pool.map(_work, [ledger_url] * WORKERS, range(WORKERS)))
    assert ledger.items.progress("job-1").done == total
    assert ledger.steps.counts("job-1")["draw"] == StepCounts(computed=total, seconds=total * 0.5)
    assert len(ledger.steps.find_artefacts(ROOT, [f"generate-{index}" for index in range(total)])) == total


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    start(ledger, count=200)
    barrier = threading.Barrier(8)

    def work(first: int) -> None:
        barrier.wait()
        for index in range(first, 200, 8):
            ledger.steps.record("job-1", 1, "draw", [computed(index)], {index: ItemResult(ItemState.DONE)})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert ledger.items.progress("job-1").done == 200


def test_of_those_that_start_a_new_job_at_once_each_begins_a_run(ledger: Ledger) -> None:
    barrier = threading.Barrier(4)

    def begin(_: int) -> int:
        barrier.wait()
        return start(ledger).run

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(begin, range(4))) == [1, 2, 3, 4]


def _count_in_child(ledger: Ledger, queue: Any) -> None:
    queue.put(ledger.items.progress("job-1").total)


@pytest.mark.parts
def test_a_ledger_in_use_survives_a_fork(ledger: Ledger) -> None:
    start(ledger)
    context: Any = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_count_in_child, args=(ledger, queue))
    child.start()
    assert queue.get(timeout=60) == 6
    child.join(60)
    assert ledger.items.progress("job-1").total == 6


def _come_and_go(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version").fetchone()
    connection.close()


@pytest.mark.parts
def test_a_second_ledger_in_a_process_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """Whoever believes to be the last to leave takes the write-ahead log away, under the first one's feet."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    start(ledger)
    with ledger.database.reading():
        Ledger(f"sqlite:///{tmp_path}/ledger.db").close()
        child = multiprocessing.get_context("spawn").Process(target=_come_and_go, args=(tmp_path / "ledger.db",))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert (tmp_path / "ledger.db-wal").exists()
    ledger.steps.record("job-1", 1, "draw", [computed(0)])
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        assert other.execute("SELECT count(*) FROM step_runs").fetchone() == (1,)
    ledger.close()


def test_a_ledger_whose_disk_is_full_says_so_as_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # as if there were no room for more
    try:
        with pytest.raises(LedgerError, match="disk is full"):
            Ledger(url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_writer_waits_for_another_program(tmp_path: Path) -> None:
    """Somebody holds SQLite's write lock for longer than SQLite itself would wait."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    start(ledger)
    ledger.database._engine.dispose()
    _shorten_patience(ledger.database)
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, holder.rollback)
    release.start()
    ledger.steps.record("job-1", 1, "draw", [computed(0)])
    release.join()
    holder.close()
    assert ledger.steps.counts("job-1")["draw"].computed == 1


def _shorten_patience(database: Database) -> None:
    from sqlalchemy import event

    @event.listens_for(database._engine, "connect")
    def shorten(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA busy_timeout = 1")


def test_a_lost_connection_is_opened_again(postgres_url: str) -> None:
    ledger = Ledger(postgres_url)
    start(ledger)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pixelmill'")
    ledger.steps.record("job-1", 1, "draw", [computed(0)])
    assert ledger.steps.counts("job-1")["draw"].computed == 1


@pytest.mark.parametrize(
    ("message", "away"),
    [
        ("connection failed: Connection refused", True),
        ("connection failed: FATAL:  the database system is starting up", True),
        ("connection failed: FATAL:  the database system is in recovery mode", True),
        ("failed to resolve host 'postgres': [Errno -2] Name or service not known", True),
        ("server closed the connection unexpectedly", True),
        ('connection failed: FATAL:  password authentication failed for user "pixelmill"', False),
        ('connection failed: FATAL:  database "pixelmil" does not exist', False),
    ],
)
def test_a_server_that_is_away_is_waited_for_and_a_wrong_address_is_not(message: str, away: bool) -> None:
    error = OperationalError("SELECT 1", {}, psycopg.OperationalError(message))
    assert _lost(error) is away


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("nonsense", "is not a database URL"),
        ("mysql://u:private@h/d", "use sqlite or postgresql"),
        ("sqlite://", "must be a file"),
        ("postgresql+nonsense://u:private@h/d", "Write postgresql"),
        ("sqlite:////proc/nowhere/ledger.db", "Set PIXELMILL_HOME"),
    ],
)
def test_a_ledger_that_cannot_be_opened_says_why(url: str, advice: str) -> None:
    with pytest.raises(LedgerError, match=advice) as caught:
        Ledger(url)
    assert "private" not in str(caught.value)


def test_a_wrong_password_is_not_shown(postgres_url: str) -> None:
    host = postgres_url.rpartition("@")[2].rpartition("/")[0]
    with pytest.raises(LedgerError, match="PIXELMILL_LEDGER_URL") as caught:
        Ledger(f"postgresql://pixelmill:private@{host}/no_such_database")
    assert "private" not in str(caught.value)


def test_sqlite_is_set_up_for_many_writers(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    with ledger.database.reading() as session:
        found = [session.connection().exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS]
    assert found == list(PRAGMAS.values())


PRAGMAS = {"journal_mode": "wal", "busy_timeout": 30000, "synchronous": 1, "foreign_keys": 1}
