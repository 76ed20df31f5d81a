"""A result that is computed when somebody asks for it, once."""

import threading

import pytest

from gpu_worker.shard.step_images import OnDemand
from tests.support.waiting import PATIENCE


def test_nothing_is_computed_before_somebody_asks() -> None:
    calls: list[int] = []
    future = OnDemand(lambda: calls.append(1))
    assert (calls, future.done()) == ([], False)
    future.result()
    future.result()
    assert (calls, future.done()) == ([1], True)


def test_those_who_ask_at_once_share_one_computation() -> None:
    calls: list[int] = []
    entered, leave = threading.Event(), threading.Event()

    def compute() -> int:
        calls.append(1)
        entered.set()
        leave.wait(PATIENCE)
        return 7

    future = OnDemand(compute)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(future.result())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(PATIENCE)
    leave.set()
    for thread in threads:
        thread.join()
    assert (results, calls) == ([7] * 4, [1])


def test_a_failure_is_raised_to_everyone() -> None:
    future = OnDemand(lambda: 1 // 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            future.result()
