"""Micro-batches: grouped by key, halved on failure, shrunk when memory runs out."""

from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from configs.model_spec import ModelRef
from gpu_worker.failures import DeviceLost
from gpu_worker.micro_batch import BatchOutcome, WorkingSizes, run_in_batches
from gpu_worker.model_pool import ModelLoadError
from steps.contract import Frame, Step, StepContext, StepResult
from tests.gpu_worker import parts
from tests.gpu_worker.parts import NeedsMemory, PlainContext, frames


class Scripted(Step):
    """Fails for the items named; groups by the seed's remainder; keeps what it was given."""

    bad: frozenset[str] = frozenset()
    groups: int = 1

    def batch_key(self, frame: Frame) -> Hashable:
        return frame.item.seed % self.groups

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        bad = [frame.item.name for frame in frames if frame.item.name in self.bad]
        if bad:
            raise ValueError(f"cannot do {', '.join(bad)}")
        return [StepResult(frame.image) for frame in frames if frame.image is not None]


def run(step: Step, count: int, limit: int, **options: Any) -> list[BatchOutcome]:
    options.setdefault("sizes", WorkingSizes())
    return list(run_in_batches(step, frames(count), PlainContext(), limit, **options))


@given(
    count=st.integers(0, 20), groups=st.integers(1, 4), limit=st.integers(1, 9), bad=st.frozensets(st.integers(0, 19))
)
def test_only_bad_frames_fail_and_every_frame_has_one_outcome(
    count: int, groups: int, limit: int, bad: frozenset[int]
) -> None:
    outcomes = run(Scripted(bad=frozenset(f"i{index}" for index in bad), groups=groups), count, limit)
    seen = [frame.item.index for outcome in outcomes for frame in outcome.frames]
    assert sorted(seen) == list(range(count))
    failed = {frame.item.index for outcome in outcomes if outcome.error for frame in outcome.frames}
    assert failed == bad & set(range(count))
    for outcome in outcomes:
        assert len(outcome.frames) <= limit
        assert len({frame.item.seed % groups for frame in outcome.frames}) == 1
        assert [frame.item.index for frame in outcome.frames] == sorted(frame.item.index for frame in outcome.frames)
        for frame, result in zip(outcome.frames, outcome.results, strict=not outcome.error):
            assert result.image is frame.image


def test_groups_reach_over_the_whole_chunk() -> None:
    outcomes = run(Scripted(groups=2), 8, limit=4)
    assert [[frame.item.index for frame in outcome.frames] for outcome in outcomes] == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_failure_has_its_error_and_traceback() -> None:
    [outcome] = [outcome for outcome in run(Scripted(bad=frozenset({"i2"})), 4, limit=4) if outcome.error]
    assert outcome.error == "ValueError: cannot do i2"
    assert outcome.traceback is not None
    assert "test_micro_batch.py" in outcome.traceback


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
    parts.SEEN.clear()
    sizes = WorkingSizes()
    outcomes = run(NeedsMemory(fits=2, message=message), 8, limit=8, sizes=sizes)
    assert [len(outcome.frames) for outcome in outcomes] == [2, 2, 2, 2]
    assert not any(outcome.error for outcome in outcomes)
    assert parts.SEEN == [8, 4, 2, 2, 2, 2]
    run(NeedsMemory(fits=2, message=message), 4, limit=8, sizes=sizes)
    assert parts.SEEN[6:] == [2, 2]


def test_another_image_size_is_tried_at_full_width() -> None:
    sizes = WorkingSizes()
    run(NeedsMemory(fits=1), 4, limit=4, sizes=sizes)
    parts.SEEN.clear()
    list(run_in_batches(NeedsMemory(fits=4), frames(4, (4, 4)), PlainContext(), 4, sizes=sizes))
    assert parts.SEEN == [4]


def test_a_frame_that_never_fits_fails_alone_after_memory_was_freed() -> None:
    freed: list[int] = []
    outcomes = run(NeedsMemory(fits=8, never=("i1",)), 4, limit=4, free_memory=lambda: freed.append(1))
    failed = [outcome for outcome in outcomes if outcome.error]
    assert [frame.item.name for outcome in failed for frame in outcome.frames] == ["i1"]
    assert failed[0].error is not None
    assert "does not fit" in failed[0].error
    assert "larger device" in failed[0].error
    assert freed == [1]


def test_an_ordinary_failure_does_not_shrink_the_micro_batch() -> None:
    sizes = WorkingSizes()
    run(Scripted(bad=frozenset({"i0"})), 4, limit=4, sizes=sizes)
    assert [len(outcome.frames) for outcome in run(Scripted(), 4, limit=4, sizes=sizes)] == [4]


class Broken(Step):
    returns: Any

    def batch_key(self, frame: Frame) -> Hashable:
        return None

    def run(self, frames: Sequence[Frame], context: StepContext) -> Any:
        return self.returns


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ([], "wobble returned 0 results for 1 frames. Items: i0"),
        (None, "wobble returned NoneType for 1 frames"),
        ([Image.new("RGB", (1, 1))], "i0: got Image, not a StepResult"),
        ([StepResult(Image.new("L", (1, 1)))], "i0: got an image of mode L, not an RGB or RGBA image"),
        ([StepResult(Image.new("RGB", (1, 1)), {"size": (1, 1)})], "i0: facts size are neither"),  # type: ignore[dict-item]
    ],
)
def test_results_are_checked_and_the_message_names_step_and_item(returns: Any, expected: str) -> None:
    [outcome] = run(Broken(returns=returns), 1, limit=1, name="wobble")
    assert outcome.error is not None
    assert expected in outcome.error


class Raises(Step):
    error: Any

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        raise self.error


def test_a_lost_device_stops_everything() -> None:
    with pytest.raises(DeviceLost, match="i0"):
        run(Raises(error=RuntimeError("CUDA error: device-side assert triggered")), 2, limit=1)


def test_a_model_that_cannot_be_loaded_stops_everything() -> None:
    with pytest.raises(ModelLoadError):
        run(Raises(error=ModelLoadError(ModelRef("m", "cutout"), "no file")), 2, limit=1)


def test_errors_carry_no_secrets() -> None:
    message = "GET https://bob:hunter2@host/a?X-Amz-Signature=abcdef&b=1 by AKIAABCDEFGHIJKLMNOP failed"
    [outcome] = run(Raises(error=ValueError(message)), 1, limit=1)
    for text in (outcome.error, outcome.traceback):
        assert text is not None
        assert "b=1" in text
        for secret in ("hunter2", "abcdef", "ABCDEFGHIJKLMNOP"):
            assert secret not in text


def test_seconds_are_each_items_share() -> None:
    [outcome] = run(Scripted(), 4, limit=4)
    assert 0 < outcome.seconds < 1
