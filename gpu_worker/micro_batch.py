"""Micro-batches: frames that a step computes together, halved when they fail or do not fit."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from configs.model_spec import ModelRef
from gpu_worker.failures import DeviceLost, describe, full_traceback, is_device_lost, is_out_of_memory
from gpu_worker.model_pool import ModelLoadError
from steps.contract import Frame, Step, StepContext, StepResult

MODES = ("RGB", "RGBA")


class InvalidResult(Exception):
    """A step broke its contract: it is the step that needs mending, not the item."""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """Either the results of a whole micro-batch, in order, or the failure of the one frame in it."""

    frames: tuple[Frame, ...]
    results: tuple[StepResult, ...] = ()
    seconds: float = 0.0  # of compute for each item
    error: str | None = None  # one line, without secrets
    traceback: str | None = None


class WorkingSizes:
    """The micro-batch sizes that fitted the device's memory after one did not. Safe to share between threads."""

    def __init__(self) -> None:
        self._sizes: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def limit(self, key: Hashable, limit: int) -> int:
        """`limit`, or less if that much is known not to fit."""
        with self._lock:
            return min(limit, self._sizes.get(key, limit))

    def shrink(self, key: Hashable, size: int) -> None:
        """Remembers that no more than `size` fit."""
        with self._lock:
            self._sizes[key] = max(1, min(size, self._sizes.get(key, size)))


# One for the process: what did not fit in one shard does not fit in the next either.
WORKING_SIZES = WorkingSizes()


@dataclass(frozen=True, slots=True)
class _Failure:
    """What is left of an exception once its frames, and the device memory they hold, are let go."""

    error: str
    traceback: str
    out_of_memory: bool


def run_in_batches(
    step: Step,
    frames: Sequence[Frame],
    context: StepContext,
    limit: int,
    *,
    name: str | None = None,
    free_memory: Callable[[], Any] = lambda: None,
    sizes: WorkingSizes = WORKING_SIZES,
) -> Iterator[BatchOutcome]:
    """Computes the frames in micro-batches of at most `limit` with equal batch keys; every frame is in one outcome.

    A micro-batch that fails is halved until the frame that fails alone is found; the others get their results. Running
    out of memory is no failure while there is something to halve: the size that was too large is not tried again for
    the same models, image size and device. A single frame that does not fit is tried once more after `free_memory`.

    `name` is the step's name for messages. Raises ModelLoadError and DeviceLost, which concern all frames to come.
    """
    label = name or type(step).__name__
    waiting: deque[tuple[Frame, ...]] = deque(_group(step, frames))
    while waiting:
        batch = waiting.popleft()
        key = _memory_key(step, batch[0], context)
        size = sizes.limit(key, limit)
        if len(batch) > size:
            waiting.appendleft(batch[size:])
            batch = batch[:size]
        outcome = _attempt(step, label, batch, context)
        if isinstance(outcome, _Failure) and outcome.out_of_memory:
            if len(batch) == 1:
                free_memory()
                outcome = _attempt(step, label, batch, context)
            else:
                sizes.shrink(key, len(batch) // 2)
        if isinstance(outcome, BatchOutcome):
            yield outcome
        elif len(batch) > 1:
            middle = len(batch) // 2
            waiting.extendleft((batch[middle:], batch[:middle]))
        else:
            yield _failed(label, batch, outcome)


def _group(step: Step, frames: Sequence[Frame]) -> list[tuple[Frame, ...]]:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(step.batch_key(frame), []).append(frame)
    return [tuple(group) for group in groups.values()]


def _memory_key(step: Step, frame: Frame, context: StepContext) -> Hashable:
    refs: tuple[ModelRef, ...] = step.model_refs()
    # A step that makes its images has no size to go by; its parameters and its batch key tell shapes apart.
    shape = (step.model_dump_json(), step.batch_key(frame)) if frame.image is None else frame.image.size
    # Without models there is no device to ask for, and no reason to load torch.
    return (type(step), refs, shape, context.device if refs else "cpu")


def _attempt(step: Step, label: str, batch: tuple[Frame, ...], context: StepContext) -> BatchOutcome | _Failure:
    start = time.perf_counter()
    try:
        results = step.run(batch, context)
        seconds = (time.perf_counter() - start) / len(batch)
        return BatchOutcome(batch, _validated(label, batch, results), seconds)
    except ModelLoadError:
        raise
    except Exception as error:
        if is_device_lost(error):
            raise DeviceLost(
                f"{label}: the device failed and cannot be used by this process any more: {describe(error)}. "
                f"Items: {_names(batch)}"
            ) from error
        # The exception is not kept: its traceback would keep the batch's tensors alive while the halves are tried.
        return _Failure(describe(error), full_traceback(error), is_out_of_memory(error))


def _failed(label: str, batch: tuple[Frame, ...], failure: _Failure) -> BatchOutcome:
    error = failure.error
    if failure.out_of_memory:
        error = (
            f"{label}: the image does not fit in the device's memory even alone. "
            f"Make it smaller, tile it or use a larger device. ({error})"
        )
    return BatchOutcome(batch, error=error, traceback=failure.traceback)


def _validated(label: str, batch: Sequence[Frame], results: object) -> tuple[StepResult, ...]:
    if not isinstance(results, Sequence) or len(results) != len(batch):
        got = f"{len(results)} results" if isinstance(results, Sequence) else type(results).__name__
        raise InvalidResult(f"{label} returned {got} for {len(batch)} frames. Items: {_names(batch)}")
    problems = [
        f"{frame.item.name}: {problem}"
        for frame, result in zip(batch, results, strict=True)
        if (problem := _result_problem(result)) is not None
    ]
    if problems:
        raise InvalidResult(f"{label} broke its contract. " + "; ".join(problems))
    return tuple(results)


def _result_problem(result: object) -> str | None:
    if not isinstance(result, StepResult):
        return f"got {type(result).__name__}, not a StepResult"
    mode = getattr(result.image, "mode", None)
    if mode not in MODES:
        return f"got {'an image of mode ' + mode if mode else type(result.image).__name__}, not an RGB or RGBA image"
    wrong = [fact for fact, value in result.facts.items() if not isinstance(value, bool | int | float | str)]
    return f"facts {', '.join(wrong)} are neither numbers, texts nor booleans" if wrong else None


def _names(batch: Sequence[Frame]) -> str:
    return ", ".join(frame.item.name for frame in batch)
