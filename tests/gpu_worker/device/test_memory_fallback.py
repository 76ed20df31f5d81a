"""Out of memory: halves, freed models, fallbacks, quarantine; the next frames begin with what worked."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from gpu_worker.device.batch_sizes import PATIENCE, BatchPlan, BatchSizeCache
from gpu_worker.device.micro_batch import BatchOutcome, run_in_batches
from steps.contract import MemoryFallback
from tests.support import fake_steps as parts
from tests.support.fake_steps import NeedsMemory, PlainContext, frames

NONE, TILE, OFFLOAD = MemoryFallback


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """Memory is freed before each new try: what other tests left behind would be visited every time."""
    gc.collect()
    gc.freeze()
    yield


def run(step: NeedsMemory, count: int, limit: int = 8, **options: Any) -> list[BatchOutcome]:
    """Clears and fills `parts.SEEN`."""
    parts.SEEN.clear()
    return list(run_in_batches(step, frames(count), PlainContext(), limit, **options))


def seen() -> list[BatchPlan]:
    """What the step was asked to compute, failed tries included."""
    return list(parts.SEEN)


def names(outcomes: list[BatchOutcome], *, quarantined: bool) -> list[str]:
    return [frame.item.name for outcome in outcomes if outcome.quarantined is quarantined for frame in outcome.frames]


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory (MPS allocated: 17 GB)",
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        "[ONNXRuntimeError] : Failed to allocate memory for requested buffer of size 5",
    ],
)
def test_running_out_of_memory_halves_and_is_remembered(message: str) -> None:
    sizes = BatchSizeCache()
    outcomes = run(NeedsMemory(fits=2, message=message), 8, sizes=sizes)
    assert [len(outcome.frames) for outcome in outcomes] == [2, 2, 2, 2]
    assert not any(outcome.error for outcome in outcomes)
    assert [size for size, _ in seen()] == [8, 4, 2, 2, 2, 2]
    run(NeedsMemory(fits=2, message=message), 4, sizes=sizes)
    assert seen() == [BatchPlan(2), BatchPlan(2)]


def test_another_image_size_is_tried_at_full_width() -> None:
    sizes = BatchSizeCache()
    run(NeedsMemory(fits=1), 4, limit=4, sizes=sizes)
    parts.SEEN.clear()
    list(run_in_batches(NeedsMemory(fits=4), frames(4, (4, 4)), PlainContext(), 4, sizes=sizes))
    assert seen() == [BatchPlan(4)]


def test_a_frame_alone_gets_stronger_and_stronger_reliefs() -> None:
    sizes = BatchSizeCache()
    step = NeedsMemory(fits=1, needs=OFFLOAD, has=(OFFLOAD, TILE))
    outcomes = run(step, 3, limit=2, sizes=sizes)
    assert not any(outcome.error for outcome in outcomes)
    first = [BatchPlan(2), BatchPlan(1), BatchPlan(1, TILE), BatchPlan(1, OFFLOAD)]
    assert seen() == [*first, BatchPlan(1, OFFLOAD), BatchPlan(1, OFFLOAD)]


def test_a_relief_that_the_step_does_not_have_is_skipped() -> None:
    run(NeedsMemory(fits=1, needs=TILE, has=(OFFLOAD,)), 1)
    assert seen() == [BatchPlan(1), BatchPlan(1, OFFLOAD)]


def test_other_models_leave_before_the_image_is_cut() -> None:
    freed: list[int] = []
    step = NeedsMemory(fits=1, needs=TILE, has=(TILE,))
    run(step, 1, free_memory=lambda: not freed.append(len(seen())))
    assert freed == [1]
    assert seen() == [BatchPlan(1), BatchPlan(1), BatchPlan(1, TILE)]


def test_nothing_is_tried_again_where_nothing_was_freed() -> None:
    run(NeedsMemory(fits=1, needs=TILE, has=(TILE,)), 1, free_memory=lambda: False)
    assert seen() == [BatchPlan(1), BatchPlan(1, TILE)]


def test_models_leave_once_and_not_for_every_hopeless_frame() -> None:
    freed: list[int] = []
    run(NeedsMemory(never=("i0", "i1", "i2")), 3, limit=1, free_memory=lambda: not freed.append(1))
    assert freed == [1]


def test_only_what_never_fits_is_quarantined() -> None:
    outcomes = run(NeedsMemory(fits=8, has=(TILE, OFFLOAD), never=("i1",)), 4, name="upscale")
    assert names(outcomes, quarantined=True) == ["i1"]
    assert names(outcomes, quarantined=False) == ["i0", "i2", "i3"]
    [error] = [outcome.error for outcome in outcomes if outcome.quarantined]
    assert error is not None
    for part in ("upscale: ", "alone and in tiles and", "Make it smaller", "larger device", "retry the quarantined"):
        assert part in error


def test_a_frame_that_never_fits_does_not_slow_its_neighbors_down_for_long() -> None:
    sizes = BatchSizeCache()
    step = NeedsMemory(fits=8, never=("i0",))
    run(step, 8, sizes=sizes)
    run(NeedsMemory(fits=8), 32, sizes=sizes)
    assert [size for size, _ in seen()][-3:] == [8, 8, 8]
    assert len(seen()) <= 6


def test_an_ordinary_failure_under_a_relief_is_no_lack_of_memory() -> None:
    class Breaks(NeedsMemory):
        def run(self, frames: Any, context: Any) -> Any:
            if context.fallback is TILE:
                raise ValueError("tiles are broken")
            return super().run(frames, context)

    [outcome] = run(Breaks(fits=1, needs=TILE, has=(TILE, OFFLOAD)), 1)
    assert (outcome.error, outcome.quarantined) == ("ValueError: tiles are broken", False)


def test_what_a_device_regains_is_used_again() -> None:
    """A neighbor took the memory; when it has left, the work climbs back, and as fast as it can."""
    sizes = BatchSizeCache()
    run(NeedsMemory(fits=1, needs=OFFLOAD, has=(TILE, OFFLOAD)), 1, limit=4, sizes=sizes)
    run(NeedsMemory(fits=4, has=(TILE, OFFLOAD)), PATIENCE + 12, limit=4, sizes=sizes)
    assert set(seen()[:PATIENCE]) == {BatchPlan(1, OFFLOAD)}
    assert seen()[PATIENCE:] == [BatchPlan(1, TILE), BatchPlan(1), BatchPlan(2), BatchPlan(4), BatchPlan(4)]


def test_a_device_that_stays_full_is_tried_less_and_less() -> None:
    sizes = BatchSizeCache()
    step = NeedsMemory(fits=1)
    run(step, 2, limit=2, sizes=sizes)
    run(step, 8 * PATIENCE, limit=2, sizes=sizes)
    tries = [place for place, rung in enumerate(seen()) if rung.size == 2]
    # Two frames succeeded before. Each try ends the count, and adds itself to the list.
    assert tries == [PATIENCE - 2, 3 * PATIENCE - 1, 7 * PATIENCE]
    run(step, 2, limit=2, sizes=sizes, free_memory=lambda: pytest.fail("a mere try takes nothing from others"))
