"""What a worker asks the API while it waits for flow runs."""

import asyncio

import pytest

from configs.settings.settings import Settings
from gpu_worker.process import prefect_worker
from gpu_worker.process.prefect_worker import FULL_POLL_SECONDS, PixelmillWorker


class Api:
    """A client of an API where `waiting` flow runs wait; it notes the requests."""

    def __init__(self) -> None:
        self.waiting = 0
        self.requests: list[str] = []

    async def count_flow_runs(self, **_filters: object) -> int:
        self.requests.append("count")
        return self.waiting

    async def get_scheduled_flow_runs_for_work_pool(self, **_arguments: object) -> list[object]:
        self.requests.append("poll")
        return []


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def worker(api: Api) -> PixelmillWorker:
    made = PixelmillWorker("gpu", settings=Settings())
    made._client = api  # type: ignore[assignment]
    return made


def requests(worker: PixelmillWorker, api: Api) -> list[str]:
    """The requests of one turn of the loop."""
    api.requests.clear()
    asyncio.run(worker._get_scheduled_flow_runs())
    return api.requests


def test_an_idle_worker_only_counts_what_waits(worker: PixelmillWorker, api: Api) -> None:
    assert requests(worker, api) == ["poll"]
    assert requests(worker, api) == requests(worker, api) == ["count"]


def test_what_waits_is_polled_for_at_once(worker: PixelmillWorker, api: Api) -> None:
    requests(worker, api)
    api.waiting = 1
    assert requests(worker, api) == ["count", "poll"]


def test_now_and_then_the_api_sees_that_its_queues_are_served(
    worker: PixelmillWorker, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests(worker, api)
    later = prefect_worker.time.monotonic() + FULL_POLL_SECONDS
    monkeypatch.setattr(prefect_worker.time, "monotonic", lambda: later)
    assert requests(worker, api) == ["poll"]
