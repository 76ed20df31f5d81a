"""A worker on a machine that only connects outwards: its tunnel breaks in the midst of a job, and the job ends sound.

Everything is real but the distance: sshd, a key that opens three ports, PostgreSQL with the role of docker/rented, an
S3 server that heeds the policy of docker/rented, a Prefect API with a password. See docs/rented-gpu.md.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from configs.settings.settings import Settings
from flows.prefect_api.server import local_server
from gpu_worker.process.worker_process import HARD_END_SECONDS
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus
from tests.docker.rented import RENTED, ROOT, RentedMachine, missing, rented_machine, s3_policy
from tests.support.command import Pixelmill
from tests.support.ports import free_port
from tests.support.servers.postgres import postgres_server
from tests.support.servers.prefect_database import give_prefect_database
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LACK = missing()
PASSWORD = "admin:a-password-of-the-api"
BUCKET, PREFIX = "fleet", "images"
ITEMS, CHUNK, SECONDS, MICRO_BATCH = 240, 64, 0.25, 4
CUT_SECONDS = 30
NULLS = {"PYTHONPATH": str(ROOT), "PIXELMILL_CATALOGUE_PATH": str(ROOT / "tests/support/null/catalogue.yaml")}
RECIPE = f"steps:\n  - {{id: base, step: null_generate, seconds: {SECONDS}}}\n  - {{id: final, step: null_pass}}\n"


@dataclass(frozen=True)
class Keys:
    """A pair of S3, as environment variables."""

    access: str
    secret: str

    def environment(self, endpoint: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": endpoint,
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass(frozen=True)
class Home:
    """Where the fleet is: all its servers listen on the loopback alone."""

    api: str
    ledger: str
    s3: str
    keys: Keys
    rented_keys: Keys

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(urlsplit(url).port or 0 for url in (self.api, self.ledger, self.s3))

    def environment(self) -> dict[str, str]:
        return {
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": PASSWORD,
            "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
            "PIXELMILL_LEDGER_URL": self.ledger,
            "DO_NOT_TRACK": "1",
            **self.keys.environment(self.s3),
            **NULLS,
        }

    def rented_environment(self, folder: Path, ports: list[int]) -> dict[str, str]:
        """What a rented machine is given: addresses of its own loopback, a role, a pair of keys, a price."""
        api, ledger, s3 = ports
        return {
            **self.environment(),
            "PREFECT_API_URL": f"http://127.0.0.1:{api}/api",
            "PIXELMILL_LEDGER_URL": f"postgresql://rented:a-password@127.0.0.1:{ledger}/fleet",
            **self.rented_keys.environment(f"http://127.0.0.1:{s3}"),
            "PIXELMILL_HOME": str(folder / "home"),
            "PIXELMILL_DEVICE": "cpu",
            "PIXELMILL_CHUNK_SIZE": str(CHUNK),
            "PIXELMILL_MICRO_BATCH": str(MICRO_BATCH),
            "PIXELMILL_PRICE_PER_HOUR": "3.60",
            "BENCHMARK_COMPUTE_LOG": str(folder / "compute.jsonl"),
        }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", PASSWORD)
    give_prefect_database(tmp_path / "server")
    with (
        postgres_server() as postgres,
        _s3_with_policies() as (s3, keys, rented_keys),
        local_server(Settings(home=tmp_path / "server")) as api,
    ):
        ledger = postgres.replace("/postgres", "/fleet")
        _psql(postgres, "--command", "CREATE DATABASE fleet")
        Ledger(ledger).close()  # makes the tables
        role = ("--set=name=rented", "--set=password=a-password", "--file", str(RENTED / "worker-role.sql"))
        _psql(ledger, *role)
        _psql(ledger, *role)  # as after an upgrade
        yield Home(api, ledger, s3, keys, rented_keys)


@pytest.fixture
def machine(tmp_path: Path, home: Home) -> Iterator[RentedMachine]:
    with rented_machine(tmp_path / "rented", home.ports) as machine:
        yield machine


@pytest.mark.skipif(LACK is not None, reason=LACK or "")
def test_a_job_outlives_half_a_minute_without_its_tunnel(tmp_path: Path, home: Home, machine: RentedMachine) -> None:
    shell = Pixelmill(tmp_path, env=home.environment() | {"PIXELMILL_SHARD_SIZE": str(ITEMS)})
    assert shell("deploy").status == 0
    local = list(machine.forwards)
    assert not any(machine.reaches(port) for port in (*local, *home.ports)), "there is another way in"

    tunnel = machine.open_tunnel()
    wait_until(lambda: all(machine.reaches(port) for port in local))
    environment = home.rented_environment(machine.folder, local)
    log = Path(environment["BENCHMARK_COMPUTE_LOG"])
    worker = machine.start(
        *(sys.executable, "-m", "flows.cli.main", "worker", "start"), log="worker.log", environment=environment
    )
    started = time.monotonic()
    burst = _burst(shell, _job(shell, ITEMS))
    with closing(Ledger(home.ledger)) as ledger:
        # In the midst of the second chunk.
        wait_until(lambda: log.exists() and len(_computed(log)) >= CHUNK * 3 // 2)
        machine.cut()
        before, cut = _done(ledger), time.monotonic()
        time.sleep(CUT_SECONDS)
        assert not machine.reaches(local[0]), "the tunnel should be gone by now"
        during = _done(ledger)
        machine.mend()
        output, _ = burst.communicate(timeout=300)
        took = time.monotonic() - started
        (known,) = ledger.jobs.all()
        progress = ledger.items.progress(known.id)
        cost = ledger.runs.cost(known.id, known.run)

    assert burst.returncode == 0, output
    assert known.status is JobStatus.DONE and progress.done == ITEMS
    verified = shell("verify", known.id)
    assert verified.status == 0, verified.out
    computed = _computed(log)
    twice = sum(count - 1 for count in computed.values())
    assert len(computed) == ITEMS
    print(
        f"{took:.0f} s; {before} items before the cut, {during} at its end, {twice} computed twice, cost {cost:.4f}, "
        f"tunnel lives: {tunnel.poll() is None}, worker lives: {worker.poll() is None}, cut at {cut - started:.0f} s"
    )
    # What the ledger had is not computed again: at most the chunk that could not be recorded is.
    assert before >= CHUNK and twice <= CHUNK
    # 0.001 a second of compute, and nothing for the pause.
    assert cost == pytest.approx(ITEMS * SECONDS * 0.001, rel=0.5)
    assert worker.poll() is None and tunnel.poll() is None


@pytest.mark.skipif(LACK is not None, reason=LACK or "")
def test_a_machine_that_leaves_gives_its_shard_back(tmp_path: Path, home: Home, machine: RentedMachine) -> None:
    shell = Pixelmill(tmp_path, env=home.environment() | {"PIXELMILL_SHARD_SIZE": str(ITEMS)})
    assert shell("deploy").status == 0
    machine.open_tunnel()
    wait_until(lambda: all(machine.reaches(port) for port in machine.forwards))
    environment = home.rented_environment(machine.folder, list(machine.forwards))
    log = Path(environment["BENCHMARK_COMPUTE_LOG"])
    command = (sys.executable, "-m", "flows.cli.main", "worker", "start")
    leaving = machine.start(*command, log="leaving.log", environment=environment)
    burst = _burst(shell, _job(shell, ITEMS // 2))
    wait_until(lambda: log.exists() and len(_computed(log)) >= CHUNK * 3 // 2)

    told = time.monotonic()
    leaving.send_signal(signal.SIGTERM)  # as `docker stop` and Kubernetes do
    assert leaving.wait(HARD_END_SECONDS) == 0
    left = time.monotonic() - told
    machine.start(*command, log="next.log", environment=environment)
    output, _ = burst.communicate(timeout=300)

    assert burst.returncode == 0, output
    with closing(Ledger(home.ledger)) as ledger:
        (known,) = ledger.jobs.all()
        assert ledger.items.progress(known.id).done == ITEMS // 2
    verified = shell("verify", known.id)
    assert verified.status == 0, verified.out
    twice = sum(count - 1 for count in _computed(log).values())
    print(f"gone {left:.1f} s after SIGTERM, {twice} computed twice")
    assert left < 15 and twice <= CHUNK


def _job(shell: Pixelmill, items: int) -> str:
    recipe = shell.write("nap.yaml", f"name: nap\n{RECIPE}")
    return shell.write(
        "job.yaml",
        f"name: far\nrecipe: {recipe}\noutput: s3://{BUCKET}/{PREFIX}\nmatrix:\n"
        f"  n: [{', '.join(map(str, range(items)))}]\n",
    )


def _burst(shell: Pixelmill, job: str) -> "subprocess.Popen[str]":
    """A burst where the fleet is, without the worker that `pixelmill run` would start when it misses the rented one."""
    code = f"from flows.burst.burst import burst; burst(job={job!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=shell.folder,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _done(ledger: Ledger) -> int:
    jobs = ledger.jobs.all()
    return ledger.items.progress(jobs[0].id).done if jobs else 0


def _computed(log: Path) -> Counter[str]:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    return Counter(name for entry in entries if entry["step"] == "NullGenerate" for name in entry["items"])


def _psql(url: str, *arguments: str) -> None:
    subprocess.run(["psql", "--no-psqlrc", "--quiet", url, *arguments], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _s3_with_policies() -> Iterator[tuple[str, Keys, Keys]]:
    """An S3 server that heeds IAM policies: its address, an owner's keys, and keys with the policy of docker/rented."""
    port = free_port()
    setting_up = 10  # requests before the server asks who is there: those below
    environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(setting_up)}
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _set_up(f"http://127.0.0.1:{port}", setting_up)
    finally:
        server.terminate()
        server.wait()


def _set_up(url: str, requests: int) -> tuple[str, Keys, Keys]:
    import boto3
    from botocore.exceptions import EndpointConnectionError

    session = boto3.session.Session("setup", "setup", region_name="us-east-1")
    iam, s3 = session.client("iam", endpoint_url=url), session.client("s3", endpoint_url=url)
    deadline = time.monotonic() + 60
    while True:
        try:
            s3.create_bucket(Bucket=BUCKET)
            break
        except EndpointConnectionError:
            assert time.monotonic() < deadline
    policies: Mapping[str, str] = {
        "owner": json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        ),
        "rented": s3_policy(BUCKET, PREFIX),
    }
    made = []
    for name, policy in policies.items():
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made.append(Keys(key["AccessKeyId"], key["SecretAccessKey"]))
    for _ in range(requests - 7):
        s3.list_buckets()
    return url, made[0], made[1]
