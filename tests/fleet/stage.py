"""The whole play: the fleet comes up, somebody starts a job in the UI, parts are killed, and all is checked."""

import json
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.chaos.ledger_view import LedgerView
from benchmarks.chaos.objects import BucketObjects
from benchmarks.chaos.witness import Witness
from tests.fleet.checks import Findings, check_computed, check_finals, check_ledger, check_manifest
from tests.fleet.job import NAME, items, upload, write_sprites
from tests.fleet.kills import LOOK_SECONDS, Killer, kills_of
from tests.fleet.native import NativeFleet, strangers
from tests.fleet.prefect_api import PrefectApi
from tests.support.compose_file import DOCKER, read_services, resolve

FILES = (DOCKER / "compose.yaml", DOCKER / "compose.cpu.yaml", Path(__file__).with_name("compose.fleet-test.yaml"))
BUCKET = "pixelmill"
TABLES = ("jobs", "items", "step_runs", "artefacts")
OUTSIDER = "bursts"  # the service whose settings the checks and commands use
UP_SECONDS = 300.0
STUCK_SECONDS = 300.0  # without anything new in the ledger
SAY_EVERY_SECONDS = 15.0


class Stage:
    """Use as a context manager."""

    def __init__(self, folder: Path, flows: Path, log: Callable[[str], None]) -> None:
        """`flows`: the virtual environment of the flows image."""
        self._say = log
        profiles = {"COMPOSE_PROFILES": "s3,second-gpu"}
        services = read_services(resolve(FILES, environment=profiles, env_file=_new_env_file(folder)))
        if unknown := strangers(list(services.values())):
            raise RuntimeError(f"no native form is known of the images {', '.join(unknown)}")
        self._fleet = NativeFleet(services, folder, flows, log)
        self._environment = self._fleet.environment(OUTSIDER)
        self._witness = Witness(LedgerView(self._environment["PIXELMILL_LEDGER_URL"]))
        self._killer = Killer([], log)
        self._findings = Findings()
        self._seconds = 0.0

    def play(self, count: int, *, kills: bool) -> list[str]:
        """Everything that was wrong."""
        wanted = items(count)
        total = sum(len(item.steps) for item in wanted)
        write_sprites(wanted, self._fleet.volume("s3") / BUCKET / "jobs" / "sprites")
        self._fleet.start(UP_SECONDS)
        self._say(f"the fleet is up; a job of {count} items and {total} images begins")
        began = time.monotonic()
        run = self._api.run_deployment("burst/burst", {"job": upload(self._s3, BUCKET, wanted)})
        if kills:
            self._killer.kills += kills_of(self._fleet, lambda: self._state(run) == "Running")
        with self._witness:
            self._watch(run, total)
        self._seconds = time.monotonic() - began
        self._check(run, wanted)
        return [*self._killer.wrong, *self._findings.wrong]

    def print_table(self, seconds: float) -> None:
        """What was killed, and what was counted."""
        print(f"\n{'killed':36} {'images recorded':>16} {'back after':>11}")
        for kill in self._killer.kills:
            away = "-" if kill.seconds_away is None else f"{kill.seconds_away:.1f} s"
            print(f"{kill.part:36} {kill.recorded:>16} {away:>11}")
        print()
        for measure, number in self._findings.counts.items():
            print(f"{measure:36} {number:>16}")
        print(f"{'seconds_of_the_job':36} {self._seconds:>16.1f}")
        print(f"{'seconds_in_all':36} {seconds:>16.1f}\n", flush=True)

    # -- the job -----------------------------------------------------------------------------------------------------
    def _watch(self, run: str, total: int) -> None:
        """Until a burst has brought the job to its end, and all that was killed is back.

        That may be another burst than the first, which Prefect takes for running until it has missed its heartbeats.
        """
        said, newest, moved = 0.0, -1, time.monotonic()
        while True:
            recorded = len(self._witness.seen)
            self._killer.look(recorded, total)
            if recorded != newest:
                newest, moved = recorded, time.monotonic()
            if time.monotonic() - said > SAY_EVERY_SECONDS:
                said = time.monotonic()
                self._say(f"{recorded} of {total} images recorded")
            away = any(kill.is_pending for kill in self._killer.kills)
            if recorded >= total and not away and self._job_status() != "running" and self._has_gallery():
                return
            if time.monotonic() - moved > STUCK_SECONDS:
                self._findings.wrong.append(f"nothing new in the ledger for {STUCK_SECONDS:.0f} s")
                return
            time.sleep(LOOK_SECONDS)

    def _has_gallery(self) -> bool:
        """Whether the job's files are there, the last of which is the gallery.

        A burst that is killed between the end of its job and these is finished by the next one.
        """
        return self._objects.read(f"{NAME}/index.html") is not None

    @cached_property
    def _objects(self) -> BucketObjects:
        return BucketObjects(
            self._environment["AWS_ENDPOINT_URL_S3"],
            self._environment["AWS_ACCESS_KEY_ID"],
            self._environment["AWS_SECRET_ACCESS_KEY"],
            BUCKET,
        )

    def _job_status(self) -> str:
        import psycopg

        with psycopg.connect(self._environment["PIXELMILL_LEDGER_URL"]) as server, server.cursor() as cursor:
            (status,) = cursor.execute("SELECT status FROM jobs").fetchone() or ("none",)
        return str(status)

    def _state(self, run: str) -> str:
        return str(self._api.flow_run(run)["state_name"])

    # -- the checks --------------------------------------------------------------------------------------------------
    def _check(self, run: str, wanted: list[Any]) -> None:
        findings, kills = self._findings, self._killer.kills
        states = self._api.states(run)
        self._say(f"the first burst was {', '.join(states)}")
        findings.expect((status := self._job_status()) == "done", f"the job ended {status}, not done")
        missed = [kill.part for kill in kills if kill.struck_at is None]
        findings.expect(not missed, f"the job was too short to kill {', '.join(missed)}")
        findings.counts["burst_starts"] = states.count("Running")
        self._verify()
        rows = check_manifest(self._objects.read(f"{NAME}/manifest.jsonl"), wanted, findings)
        check_finals(rows, self._objects, findings)
        check_ledger(self._count_rows(), wanted, findings)
        log = self._fleet.volume("notes") / "computed.jsonl"
        check_computed(log, self._witness.seen, wanted, sum(kill.computes for kill in kills), findings)
        findings.counts["task_runs_in_prefect"] = self._api.count("task_runs", {})

    def _verify(self) -> None:
        """`pixelmill verify`, as `docker compose run` would run it."""
        self._say("pixelmill verify")
        done = self._fleet.run(OUTSIDER, "pixelmill", "verify", NAME, "--json")
        said = (done.stdout or done.stderr).strip()
        self._findings.expect(done.returncode == 0, f"pixelmill verify ended with {done.returncode}: {said[-600:]}")
        if done.returncode == 0:
            document = json.loads(said)
            self._findings.counts["objects_verified"] = document["artefacts"] + document["finals"]

    def _count_rows(self) -> dict[str, int]:
        import psycopg

        with psycopg.connect(self._environment["PIXELMILL_LEDGER_URL"]) as server, server.cursor() as cursor:
            counts = {}
            for table in TABLES:
                (counts[table],) = cursor.execute(f"SELECT count(*) FROM {table}").fetchone() or (-1,)  # type: ignore[arg-type]
        return counts

    # -- from outside ------------------------------------------------------------------------------------------------
    @cached_property
    def _api(self) -> PrefectApi:
        return PrefectApi(self._environment["PREFECT_API_URL"], self._environment["PREFECT_API_AUTH_STRING"])

    @cached_property
    def _s3(self) -> Any:
        import boto3

        session = boto3.session.Session(
            self._environment["AWS_ACCESS_KEY_ID"], self._environment["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
        )
        return session.client("s3", endpoint_url=self._environment["AWS_ENDPOINT_URL_S3"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fleet.__exit__(kind, error, trace)


def _new_env_file(folder: Path) -> Path:
    """What docker/new-env.sh makes, in a folder of our own."""
    docker = folder / "docker"
    docker.mkdir()
    for name in ("new-env.sh", ".env.example"):
        (docker / name).write_bytes((DOCKER / name).read_bytes())
    subprocess.run(["sh", str(docker / "new-env.sh")], check=True, capture_output=True)
    return docker / ".env"
