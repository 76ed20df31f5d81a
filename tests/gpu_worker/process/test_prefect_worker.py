"""The worker against a real Prefect server: who runs what where, and what the API then says."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from configs.job.deployment import Deployment
from configs.settings.settings import Settings
from flows.prefect_api.deployments import ensure_pool_and_deployments
from tests.support import ROOT
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.e2e

PROBES = ("note_pid", "note_pid_async", "hang", "hang_in_spite", "fail", "leave", "note_environment")
PREFECT_WORKER = [sys.executable, "-m", "prefect", "worker", "start", "--type", "pixelmill", "--pool"]
OWN_WORKER = [
    sys.executable,
    "-c",
    "import sys; from configs.settings.settings import Settings; "
    "from gpu_worker.process.worker_process import start_worker; "
    "sys.exit(start_worker(sys.argv[1], Settings()))",
]


class Pool:
    """A work pool with deployments of the probe flows, and the worker of it."""

    def __init__(self, client: SyncPrefectClient, folder: Path) -> None:
        self.name = f"pool-{uuid4().hex[:8]}"
        self.client = client
        self.folder = folder
        entries = [
            Deployment(name=self.name, flow=f"tests.support.probe_flows.{probe}", pool="gpu", queue="bulk")
            for probe in PROBES
        ]
        ensure_pool_and_deployments(Settings(work_pool=self.name), entries)

    def submit(self, probe: str, job_variables: dict[str, Any] | None = None, **parameters: str) -> UUID:
        run: Any = run_deployment(
            f"{probe.replace('_', '-')}/{self.name}", parameters=parameters, timeout=0, job_variables=job_variables
        )
        return UUID(str(run.id))

    def state(self, run: UUID) -> State:
        state = self.client.read_flow_run(run).state
        assert state is not None
        return state

    def final_state(self, run: UUID) -> State:
        state = wait_for(lambda: (s := self.state(run)).is_final() and s, f"the end of {run}")
        assert isinstance(state, State)
        return state

    def note(self, probe: str = "note_pid", **options: Any) -> str:
        """What a run of the probe writes, once the run has completed."""
        path = self.folder / uuid4().hex
        state = self.final_state(self.submit(probe, path=str(path), **options))
        assert state.is_completed(), state
        return path.read_text()

    def hang(self, probe: str = "hang") -> tuple[UUID, psutil.Process]:
        """A run that has begun and will not end, and its process."""
        path = self.folder / uuid4().hex
        run = self.submit(probe, path=str(path))
        return run, psutil.Process(int(wait_for(lambda: path.exists() and path.read_text(), "the run's beginning")))

    @contextmanager
    def worker(self, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        environment = os.environ | {"PREFECT_WORKER_QUERY_SECONDS": "0.5"}
        process = subprocess.Popen([*command, self.name], cwd=ROOT, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: prefect_server}):
        patch.setenv("PREFECT_API_URL", prefect_server)
        patch.setenv("DO_NOT_TRACK", "1")
        with get_client(sync_client=True) as client:
            yield client


@pytest.fixture
def pool(client: SyncPrefectClient, tmp_path: Path) -> Pool:
    return Pool(client, tmp_path)


@pytest.fixture(scope="module")
def served(client: SyncPrefectClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A pool with a worker that the tests of this module share, as `prefect worker start` finds it."""
    pool = Pool(client, tmp_path_factory.mktemp("served"))
    with pool.worker(PREFECT_WORKER):
        yield pool


def test_flow_runs_share_one_process(served: Pool) -> None:
    pids = {served.note(), served.note(), served.note("note_pid_async")}
    assert len(pids) == 1


def test_logs_of_a_run_reach_the_api(served: Pool) -> None:
    path = served.folder / "logged"
    run = served.submit("note_pid", path=str(path))
    served.final_state(run)

    def messages() -> list[str]:
        logs = served.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
        return [log.message for log in logs]

    wait_for(lambda: f"noted in {path}" in messages(), "the log", seconds=10)


def test_a_failing_flow_leaves_the_process_alone(served: Pool) -> None:
    pid = served.note()
    assert served.final_state(served.submit("fail")).is_failed()
    assert served.final_state(served.submit("leave")).is_crashed()
    assert served.note() == pid


def test_a_flow_that_is_not_there_is_reported(served: Pool) -> None:
    flow_id = served.client.create_flow_from_name("nothing")
    deployment = served.client.create_deployment(
        flow_id, "gone", entrypoint="tests.support.probe_flows.no_such_flow", work_pool_name=served.name
    )
    state = served.final_state(served.client.create_flow_run_from_deployment(deployment).id)
    assert state.is_crashed()
    assert "no_such_flow" in (state.message or "")


def test_code_from_a_folder_is_read_anew_each_time(served: Pool, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(
        "from pathlib import Path\nfrom prefect import flow\nimport helper_of_main\n"
        f"@flow\ndef main():\n    Path({str(answer)!r}).write_text(helper_of_main.WORD)\n"
    )
    flow_id = served.client.create_flow_from_name("main")
    deployment = served.client.create_deployment(
        flow_id, "main", path=str(code), entrypoint="main.py:main", work_pool_name=served.name
    )
    for word in ("first", "second"):
        (code / "helper_of_main.py").write_text(f"WORD = {word!r}\n")
        assert served.final_state(served.client.create_flow_run_from_deployment(deployment).id).is_completed()
        assert answer.read_text() == word


def test_environment_variables_of_a_run_hold_for_it_alone(served: Pool) -> None:
    pid, value = served.note("note_environment", job_variables={"env": {"PROBE": "1"}}).split()
    other_pid, other_value = served.note("note_environment").split()
    assert (value, other_value) == ("1", "None")
    assert pid != other_pid


def test_killed_process_crashes_its_run_and_is_replaced(served: Pool) -> None:
    run, process = served.hang()
    process.kill()
    state = served.final_state(run)
    assert state.is_crashed()
    assert "SIGKILL" in (state.message or "")
    assert served.note() != str(process.pid)


@pytest.mark.parametrize("probe", ["hang", "hang_in_spite"])
def test_cancelling_stops_the_process_within_10_s(served: Pool, probe: str) -> None:
    run, process = served.hang(probe)
    begun = time.monotonic()
    served.client.set_flow_run_state(run, Cancelling())
    state = wait_for(lambda: (s := served.state(run)).is_final() and s, "the end", seconds=15)
    assert time.monotonic() - begun < 10
    assert state.is_cancelled()
    assert not process.is_running()
    assert served.note() != str(process.pid)


def test_a_waiting_run_is_picked_up_by_a_worker_that_starts_later(pool: Pool) -> None:
    path = pool.folder / "pid"
    waiting = pool.submit("note_pid", path=str(path))
    with pool.worker(OWN_WORKER) as worker:
        assert pool.final_state(waiting).is_completed()
        run, process = pool.hang()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    assert not process.is_running()
    state = pool.state(run)
    assert state.is_crashed()
    assert "stopped" in (state.message or "")
    assert not pool.client.read_workers_for_work_pool(pool.name)


def test_killed_worker_leaves_no_process(pool: Pool) -> None:
    with pool.worker(OWN_WORKER) as worker:
        _, process = pool.hang()
        assert process.ppid() == worker.pid
        worker.kill()
        process.wait(PATIENCE)


def test_the_worker_class_loads_nothing_that_only_its_child_needs() -> None:
    check = (
        "import sys, gpu_worker.process.prefect_worker; "
        "sys.exit(bool({'torch', 'numpy', 'sqlalchemy', 'boto3'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
