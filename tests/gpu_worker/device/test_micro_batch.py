"""Micro-batches: grouped by key, halved on failure, checked."""

from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import Field

from configs.catalogues.models import ModelRef
from gpu_worker.device.batch_sizes import BatchSizeCache
from gpu_worker.device.micro_batch import BatchOutcome, run_in_batches
from gpu_worker.device.model_pool import ModelLoadError
from gpu_worker.monitor.failures import BrokenInstallation, DeviceLost
from steps.contract import Frame, Step, StepContext, StepResult
from tests.support.fake_steps import PlainContext, frames


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


def test_an_ordinary_failure_does_not_shrink_the_micro_batch() -> None:
    sizes = BatchSizeCache()
    run(Scripted(bad=frozenset({"i0"})), 4, limit=4, sizes=sizes)
    assert [len(outcome.frames) for outcome in run(Scripted(), 4, limit=4, sizes=sizes)] == [4]


class Broken(Step):
    returns: Any = Field(exclude=True)

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
    error: Any = Field(exclude=True)

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        raise self.error


def test_a_lost_device_stops_everything() -> None:
    with pytest.raises(DeviceLost, match="i0"):
        run(Raises(error=RuntimeError("CUDA error: device-side assert triggered")), 2, limit=1)


def test_a_model_that_cannot_be_loaded_stops_everything() -> None:
    with pytest.raises(ModelLoadError):
        run(Raises(error=ModelLoadError(ModelRef("m", "cutout"), "no file")), 2, limit=1)


def test_a_package_that_is_not_installed_stops_everything() -> None:
    with pytest.raises(BrokenInstallation, match=r"incomplete: ModuleNotFoundError: No module named 'tiles'"):
        run(Raises(error=ModuleNotFoundError("No module named 'tiles'")), 2, limit=1)


def test_errors_carry_no_secrets() -> None:
    message = "GET https://bob:hunter2@host/a?X-Amz-Signature=abcdef&b=1 by AKIAABCDEFGHIJKLMNOP failed"
    [outcome] = run(Raises(error=ValueError(message)), 1, limit=1)
    for text in (outcome.error, outcome.traceback):
        assert text is not None
        assert "GET https://" in text
        for secret in ("hunter2", "abcdef", "ABCDEFGHIJKLMNOP"):
            assert secret not in text


def test_seconds_are_each_items_share() -> None:
    [outcome] = run(Scripted(), 4, limit=4)
    assert 0 < outcome.seconds < 1
