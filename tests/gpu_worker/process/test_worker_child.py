"""The worker's child process and what it restores after a run. Whole flow runs: see test_prefect_worker."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from typing_extensions import override

from configs.failures import RestartPolicy
from configs.settings.settings import Settings
from gpu_worker.process import child_process, worker_child
from gpu_worker.process.child_process import ChildEnded, ChildKeeper, WorkerChild, describe_end
from gpu_worker.process.worker_metrics import WorkerMetrics
from tests.support.waiting import PATIENCE


@pytest.mark.parts
def test_child_ends_when_its_parent_closes_the_pipe() -> None:
    command = [sys.executable, "-m", "gpu_worker.process.worker_child", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(PATIENCE) == -signal.SIGKILL


@pytest.mark.parts
def test_child_of_a_dead_parent_does_not_start() -> None:
    command = [sys.executable, "-m", "gpu_worker.process.worker_child", "1"]
    assert subprocess.run(command, stdin=subprocess.PIPE, timeout=20, check=False).returncode == 1


@pytest.mark.parts
def test_child_that_cannot_start_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_process, "RESTARTS", RestartPolicy(first_seconds=0.01, longest_seconds=1.0))
    metrics = WorkerMetrics(Settings(), worker="worker", pool="gpu")
    keeper = ChildKeeper(os.environ | {"PIXELMILL_MICRO_BATCH": "many"}, logging.getLogger("keeper"), metrics)

    async def keep_until_third_try() -> None:
        keeping = asyncio.create_task(keeper.keep())
        while len(caplog.messages) < 3:
            await asyncio.sleep(0.05)
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(asyncio.wait_for(keep_until_third_try(), 30))
    assert all("status 1" in message and "could not start" in message for message in caplog.messages)


def test_children_that_die_as_soon_as_they_are_ready_are_started_at_growing_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_process, "RESTARTS", RestartPolicy(first_seconds=0.02, longest_seconds=0.08))
    starts: list[float] = []

    class ShortLived(ChildKeeper):
        @override
        async def _run_child(self) -> float:
            starts.append(asyncio.get_running_loop().time())
            return 0.0

    keeper = ShortLived({}, logging.getLogger("keeper"), WorkerMetrics(Settings(), worker="worker", pool="gpu"))

    async def keep_until_fifth() -> None:
        keeping = asyncio.create_task(keeper.keep())
        while len(starts) < 5:
            await asyncio.sleep(0.005)
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(asyncio.wait_for(keep_until_fifth(), 30))
    pauses = [after - before for before, after in pairwise(starts)]
    assert pauses[0] < pauses[1] < pauses[2] < pauses[3]


@pytest.mark.parts
def test_stopping_an_idle_child_is_orderly() -> None:
    async def start_and_stop() -> int:
        child = await WorkerChild.start(os.environ)
        assert await child.ready() is None
        await child.stop()
        return await child.ended()

    assert asyncio.run(start_and_stop()) == 0


@pytest.mark.parts
def test_models_to_keep_warm_that_do_not_exist_are_a_problem_not_an_end(tmp_path: Path) -> None:
    async def start() -> str | None:
        environment = os.environ | {"PIXELMILL_KEEP_WARM": '["no-such-model"]', "PIXELMILL_HOME": str(tmp_path)}
        child = await WorkerChild.start(environment)
        try:
            return await child.ready()
        finally:
            await child.stop()

    problem = asyncio.run(start())
    assert problem is not None
    assert "no-such-model" in problem


@pytest.mark.parametrize(
    ("status", "words"),
    [(-9, "SIGKILL (most likely the machine ran out of memory"), (-11, "SIGSEGV"), (-35, "signal 35"), (3, "status 3")],
)
def test_the_end_is_described(status: int, words: str) -> None:
    assert words in describe_end(status)
    assert words in str(ChildEnded(status))


def test_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_OLD", "old")
    monkeypatch.delenv("PROBE_NEW", raising=False)
    with pytest.raises(ValueError, match="on purpose"), worker_child._environment({"PROBE_OLD": "x", "PROBE_NEW": "y"}):
        assert os.environ["PROBE_OLD"] == "x"
        raise ValueError("on purpose")
    assert os.environ["PROBE_OLD"] == "old"
    assert "PROBE_NEW" not in os.environ


def test_fetched_modules_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "fetched_probe.py").write_text("")
    before = (Path.cwd(), list(sys.path))
    with worker_child._import_state():
        os.chdir(tmp_path)
        sys.path.insert(0, str(tmp_path))
        __import__("fetched_probe")
    assert (Path.cwd(), sys.path) == before
    assert "fetched_probe" not in sys.modules
    assert "json" in sys.modules


def test_idle_child_looks_after_its_models_while_it_waits() -> None:
    requests = worker_child.queue.SimpleQueue[worker_child.Message]()

    class LooksOnce:
        pause = 0.01

        def update(self, is_interrupted: Callable[[], bool]) -> None:
            assert not is_interrupted()
            requests.put({"kind": "shutdown"})
            assert is_interrupted()

    assert worker_child._next_request(requests, LooksOnce()) == {"kind": "shutdown"}  # type: ignore[arg-type]
