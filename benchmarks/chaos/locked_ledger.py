"""A ledger that is locked for 5 s at a time, again and again; and one whose server ends connections."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from random import Random
from typing import Any

from benchmarks.chaos.again import Stop, again_and_again
from benchmarks.chaos.checks import check
from benchmarks.chaos.fault import Arena, Findings
from benchmarks.chaos.journey import Stuck, wait_for_end
from benchmarks.chaos.scene import Scene
from tests.support.servers.postgres import binaries, postgres_server

LOCK_SECONDS = 5.0
FREE_SECONDS = (0.5, 3.0)  # between two locks
_TABLES = ("jobs", "items", "step_runs", "artefacts", "shards", "leases")


class LockedSqlite:
    name = "locked-sqlite"
    about = f"another program holds the write lock of the SQLite ledger, {LOCK_SECONDS:.0f} s at a time"

    def obstacle(self) -> str | None:
        return None

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        with arena.scene("job") as scene:
            path = scene.home / "ledger.db"

            def hold(stop: Stop) -> None:
                if not path.exists():
                    return
                with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    findings.count("locks")
                    stop.wait(LOCK_SECONDS)
                    connection.execute("ROLLBACK")

            _run_under(hold, scene, arena.random, findings)
        return findings


class LockedPostgres:
    name = "locked-postgres"
    about = f"PostgreSQL: tables locked for {LOCK_SECONDS:.0f} s at a time, and all connections ended at once"

    def obstacle(self) -> str | None:
        if binaries() is None:
            return "no PostgreSQL server is installed"
        return None

    def run(self, arena: Arena) -> Findings:
        import psycopg

        findings = Findings()
        with ExitStack() as stack:
            url = stack.enter_context(postgres_server())
            scene = stack.enter_context(arena.scene("job", environment={"PIXELMILL_LEDGER_URL": url}))

            def disturb(stop: Stop) -> None:
                with psycopg.connect(url, application_name="chaos") as connection:
                    if arena.random.random() < 0.3:
                        findings.count("connections_ended", _end_connections(connection))
                    elif scene.has_begun():
                        for table in arena.random.sample(_TABLES, 2):
                            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                        findings.count("locks")
                        stop.wait(LOCK_SECONDS)

            _run_under(disturb, scene, arena.random, findings)
        return findings


def _end_connections(connection: Any) -> int:
    ended = connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pixelmill'"
    )
    return len(ended.fetchall())


def _run_under(disturb: Callable[[Stop], None], scene: Scene, random: Random, findings: Findings) -> None:
    """Runs the job in one go, disturbed all the while. Nothing is killed, so nothing may be computed twice."""

    def try_to_disturb(stop: Stop) -> None:
        try:
            disturb(stop)
        except Exception as error:
            findings.count(f"not_disturbed_{type(error).__name__}")  # the job was in the way of the test

    try:
        with again_and_again(try_to_disturb, random, FREE_SECONDS):
            ended = wait_for_end(scene, scene.run())
        findings.expect(ended.status == 0, f"the job ended with status {ended.status}: {ended.last_words}")
        findings.add(check(scene, none_twice=True))
    except Stuck as stuck:
        findings.wrong.append(str(stuck))
