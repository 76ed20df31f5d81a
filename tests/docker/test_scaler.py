"""What the manifests run on databases, run on real ones: KEDA's role and query, and the command of Redis."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobStatus, ShardState
from tests.docker.cluster import KUBERNETES, Cluster, checkout, render
from tests.support.ledger_samples import computed, start
from tests.support.ports import free_port
from tests.support.servers.postgres import postgres_server
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def keda(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return render(checkout(tmp_path_factory.mktemp("checkout")) / "overlays" / "keda")


@pytest.fixture
def ledger_url() -> Iterator[str]:
    with postgres_server() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE pixelmill")
        yield url.rpartition("/")[0] + "/pixelmill"


@pytest.fixture
def open_shards(keda: Cluster, ledger_url: str) -> Callable[[], int]:
    """What KEDA would see, as the role that the Job makes; the job has six items in two shards."""
    with closing(Ledger(ledger_url)) as ledger:
        start(ledger)
    for _ in range(2):  # it may run again
        run_role_job(keda, ledger_url)
    (scaler,) = keda.of_kind("ScaledObject").values()
    (trigger,) = scaler["spec"]["triggers"]
    as_scaler = ledger_url.replace("//pixelmill@", f"//{trigger['metadata']['userName']}:a-password@")

    def ask() -> int:
        with psycopg.connect(as_scaler) as connection:
            ((count,),) = connection.execute(trigger["metadata"]["query"]).fetchall()
            return int(count)

    return ask


def run_role_job(keda: Cluster, ledger_url: str) -> None:
    container = keda.workload("scaler-role").main
    server = urlsplit(ledger_url)
    command = [word.replace("/sql/", f"{KUBERNETES}/overlays/keda/") for word in container.words]
    environment = container.environment | {
        "PATH": os.environ["PATH"],
        "PGHOST": str(server.hostname),
        "PGPORT": str(server.port),
        "PGUSER": str(server.username),
        "SCALER_PASSWORD": "a-password",
    }
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def test_a_shard_counts_until_its_items_have_ended(open_shards: Callable[[], int], ledger_url: str):
    assert open_shards() == 2
    with closing(Ledger(ledger_url)) as ledger:
        ledger.runs.set_shard("job-1", 0, ShardState.RUNNING, flow_run_id="first")
        assert open_shards() == 2
        ends = {index: ItemResult(ItemState.DONE) for index in range(3)}
        ledger.steps.record("job-1", 1, "draw", [computed(index) for index in range(3)], ends)
        assert open_shards() == 1  # also before its worker says that it is done
        ledger.runs.set_shard("job-1", 0, ShardState.DONE, flow_run_id="first")
        assert open_shards() == 1
        ledger.jobs.set_status("job-1", JobStatus.CANCELLED, "cancelled")
        assert open_shards() == 0


def test_a_job_that_nobody_runs_any_more_costs_no_gpu_until_it_is_resumed(
    open_shards: Callable[[], int], ledger_url: str
):
    with psycopg.connect(ledger_url) as owner:
        for table, column in (("jobs", "started_at"), ("shards", "updated_at")):
            owner.execute(f"UPDATE {table} SET {column} = {column} - interval '7 hours'")
    assert open_shards() == 0
    with closing(Ledger(ledger_url)) as ledger:
        ledger.runs.set_shard("job-1", 1, ShardState.RUNNING, flow_run_id="late")
        assert open_shards() == 2
        start(ledger)
    assert open_shards() == 2


def test_the_role_of_keda_reads_no_prompt_and_changes_nothing(open_shards: Callable[[], int], ledger_url: str):
    assert open_shards() == 2
    as_scaler = ledger_url.replace("//pixelmill@", "//scaler:a-password@")
    for statement in ("SELECT prompt FROM items", "SELECT recipe FROM jobs", "UPDATE jobs SET status = 'done'"):
        with psycopg.connect(as_scaler) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_starts_as_the_manifest_starts_it_and_wants_its_password(keda: Cluster, tmp_path: Path):
    port = free_port()
    config = (KUBERNETES / "base" / "redis.conf").read_text().replace("dir /data", f"dir {tmp_path}\nport {port}")
    (tmp_path / "redis.conf").write_text(config)
    command = [
        word.replace("/etc/redis/redis.conf", f"{tmp_path}/redis.conf") for word in keda.workload("redis").main.words
    ]
    server = subprocess.Popen(
        command,
        env={"PATH": os.environ["PATH"], "REDISCLI_AUTH": "a-password"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:

        def answer(**environment: str) -> str:
            asked = subprocess.run(
                ["redis-cli", "-h", "127.0.0.1", "-p", str(port), "ping"],
                check=False,
                env={"PATH": os.environ["PATH"], **environment},
                capture_output=True,
                text=True,
            )
            return asked.stdout.strip()

        wait_until(lambda: answer(REDISCLI_AUTH="a-password") == "PONG")
        assert answer().startswith("NOAUTH")
        assert Path(f"/proc/{server.pid}/comm").read_text().strip() == "redis-server"  # SIGTERM reaches it
        assert b"a-password" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
    finally:
        server.terminate()
        assert server.wait(PATIENCE) == 0
