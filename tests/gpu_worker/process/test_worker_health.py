"""What a worker answers when it is asked how it is."""

import logging
import time

import pytest

from configs.settings.settings import Settings
from gpu_worker.process import prefect_worker
from gpu_worker.process.child_process import ChildKeeper
from gpu_worker.process.prefect_worker import POLL_PATIENCE_SECONDS, PixelmillWorker


class Child:
    def __init__(self) -> None:
        self.is_running = True


@pytest.fixture
def child() -> Child:
    return Child()


@pytest.fixture
def worker(child: Child) -> PixelmillWorker:
    """One whose child takes flow runs; nothing is started."""
    made = PixelmillWorker("gpu", settings=Settings())
    made._keeper = ChildKeeper({}, logging.getLogger(__name__), made._metrics)
    made._keeper.child = child  # type: ignore[assignment]
    made._keeper._ready.set()
    return made


def is_well(worker: PixelmillWorker) -> bool:
    return worker.is_worker_still_polling(query_interval_seconds=0.5)


def test_a_worker_that_has_just_begun_is_well() -> None:
    assert is_well(PixelmillWorker("gpu", settings=Settings()))


def test_a_worker_whose_child_has_died_is_ill(worker: PixelmillWorker, child: Child) -> None:
    assert is_well(worker)
    child.is_running = False
    assert not is_well(worker)


def test_a_worker_whose_loop_no_longer_turns_is_ill(worker: PixelmillWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.monotonic() + POLL_PATIENCE_SECONDS
    monkeypatch.setattr(prefect_worker.time, "monotonic", lambda: later)
    assert not is_well(worker)


def test_a_child_may_take_its_time_to_load_models(worker: PixelmillWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker._keeper is not None
    worker._keeper._ready.clear()
    later = time.monotonic() + 2 * POLL_PATIENCE_SECONDS
    monkeypatch.setattr(prefect_worker.time, "monotonic", lambda: later)
    assert is_well(worker)


async def _poll(worker: PixelmillWorker) -> list[object]:
    return list(await worker.get_and_submit_flow_runs())


def test_a_worker_with_a_long_flow_run_in_hand_is_well(worker: PixelmillWorker) -> None:
    """It asks the API nothing meanwhile, which is what Prefect's own health check looks at."""
    import asyncio

    import anyio

    async def busy() -> None:
        worker._limiter = anyio.CapacityLimiter(1)
        worker._limiter.acquire_on_behalf_of_nowait("flow run")
        worker._polled_at = time.monotonic() - 2 * POLL_PATIENCE_SECONDS
        assert await _poll(worker) == []

    asyncio.run(busy())
    assert is_well(worker)
