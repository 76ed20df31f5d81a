"""Micro-batches: frames that a step computes together, halved when they fail, and relieved when they do not fit."""

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from configs.catalogues.models import ModelRef
from configs.reporting import PixelmillError
from gpu_worker.device import telemetry
from gpu_worker.device.batch_sizes import BatchPlan, BatchSizeCache, MemoryKey, memory_key
from gpu_worker.device.model_pool import ModelLoadError
from gpu_worker.monitor.failures import (
    BrokenInstallation,
    DeviceLost,
    describe,
    full_traceback,
    is_device_lost,
    is_out_of_memory,
)
from steps.contract import Frame, MemoryFallback, Step, StepContext, StepResult

logger = logging.getLogger(__name__)

MODES = ("RGB", "RGBA")
NO_DIGESTS: Mapping[str, str] = MappingProxyType({})


class InvalidResult(PixelmillError):
    """A step broke its contract: it is the step that needs mending, not the item."""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """Either the results of a whole micro-batch, in order, or the failure of the one frame in it."""

    frames: tuple[Frame, ...]
    results: tuple[StepResult, ...] = ()
    seconds: float = 0.0  # of compute for each item
    error: str | None = None  # one line, without secrets
    traceback: str | None = None
    quarantined: bool = False  # the failure is lack of memory, whatever was done about it


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
    model_digests: Mapping[str, str] = NO_DIGESTS,
    free_memory: Callable[[], bool] = lambda: False,
    sizes: BatchSizeCache | None = None,
) -> Iterator[BatchOutcome]:
    """Computes the frames in micro-batches of at most `limit` with equal batch keys; every frame is in one outcome.

    A micro-batch that fails is halved until the frame that fails alone is found; the others get their results. Running
    out of memory is no failure while something is left to do about it: halves, then for a frame alone `free_memory`
    (which tells whether it freed anything) and the step's reliefs, in order. `sizes` remembers what worked: the next
    frames of the same kind begin there. What does not fit whatever is done is `quarantined`.

    `name` is the step's name for messages, `model_digests` (str(ModelRef) -> SHA-256) tells versions of a model apart.
    Raises ModelLoadError, BrokenInstallation and DeviceLost, which concern all frames to come, and the errors of the
    ledger of `sizes`.
    """
    sizes = BatchSizeCache() if sizes is None else sizes
    worker = _MicroBatches(step, context, limit, name or type(step).__name__, free_memory, sizes)
    waiting: deque[tuple[Frame, ...]] = deque(_group(step, frames))
    while waiting:
        batch = waiting.popleft()
        key = memory_key(step, batch[0], model_digests)
        rung = worker.start(key)
        if len(batch) > rung.size:
            waiting.appendleft(batch[rung.size :])
            batch = batch[: rung.size]
        outcome = worker.compute(batch, key, rung.relief)
        if isinstance(outcome, BatchOutcome):
            yield outcome
        else:
            middle = len(batch) // 2
            waiting.extendleft((batch[middle:], batch[:middle]))


def _group(step: Step, frames: Sequence[Frame]) -> list[tuple[Frame, ...]]:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(step.batch_key(frame), []).append(frame)
    return [tuple(group) for group in groups.values()]


class _MicroBatches:
    def __init__(
        self,
        step: Step,
        context: StepContext,
        limit: int,
        label: str,
        free_memory: Callable[[], bool],
        sizes: BatchSizeCache,
    ) -> None:
        self._step, self._context, self._limit, self._label = step, context, limit, label
        self._free_memory, self._sizes = free_memory, sizes
        self._has_freed = False

    def start(self, key: MemoryKey) -> BatchPlan:
        rung = self._sizes.start(key, self._limit)
        return rung._replace(relief=strongest_offered(rung.relief, self._step, self._context))

    def compute(self, batch: tuple[Frame, ...], key: MemoryKey, relief: MemoryFallback) -> BatchOutcome | None:
        """None: to be halved."""
        rung = BatchPlan(len(batch), relief)
        outcome = self._attempt(batch, key, rung)
        if isinstance(outcome, _Failure) and outcome.out_of_memory:
            known_before = self._sizes.did_not_fit(key, rung)
            if len(batch) == 1:
                return self._relieve(batch, key, relief, outcome, free=not known_before)
        if isinstance(outcome, _Failure):
            if len(batch) == 1:
                return _failed(batch, outcome)
            telemetry.batch_halved(self._label, out_of_memory=outcome.out_of_memory)
            why = "does not fit the memory" if outcome.out_of_memory else "holds an item that fails"
            logger.info("%s: a micro-batch of %d %s: trying its halves", self._label, len(batch), why)
            return None
        return outcome

    def _relieve(
        self, batch: tuple[Frame, ...], key: MemoryKey, tried: MemoryFallback, failure: _Failure, *, free: bool
    ) -> BatchOutcome:
        """The one frame again, under stronger and stronger reliefs. `free`: with other models off the device first."""
        reliefs = stronger(tried, self._step, self._context)
        freed = free and self._free_once()
        if freed:
            telemetry.memory_freed(self._label)
        for relief in ([tried] if freed else []) + reliefs:
            if relief > tried:
                telemetry.relief_tried(self._label, relief)
            outcome = self._attempt(batch, key, BatchPlan(1, relief))
            if isinstance(outcome, BatchOutcome):
                if freed:
                    self._sizes.look_up(key)  # there is more room now than there was
                return outcome
            failure = outcome
            if not failure.out_of_memory:
                return _failed(batch, failure)
        self._sizes.look_up(key)  # its neighbors may well have fitted together
        message = does_not_fit(self._label, self._device, {tried, *reliefs}, failure.error)
        return BatchOutcome(batch, error=message, traceback=failure.traceback, quarantined=True)

    def _free_once(self) -> bool:
        """Whether memory was freed. Models that have left for nothing would have to be loaded again and again."""
        if self._has_freed:
            return False
        self._has_freed = True
        return self._free_memory()

    @property
    def _device(self) -> str:
        return self._sizes.device if self._step.model_refs() else "this machine"

    def _attempt(self, batch: tuple[Frame, ...], key: MemoryKey, rung: BatchPlan) -> BatchOutcome | _Failure:
        outcome = _run(self._step, self._label, batch, Relieved(self._context, rung.relief))
        if isinstance(outcome, BatchOutcome):
            self._sizes.worked(key, rung, self._limit)
        elif outcome.out_of_memory:
            # What went wrong in a thread is held by a circle of exception, traceback and frames, tensors and all.
            gc.collect()
        return outcome


def _run(step: Step, label: str, batch: tuple[Frame, ...], context: StepContext) -> BatchOutcome | _Failure:
    start = time.perf_counter()
    try:
        with telemetry.computing(on_device=bool(step.model_refs())):
            results = step.run(batch, context)
        seconds = (time.perf_counter() - start) / len(batch)
        return BatchOutcome(batch, _validated(label, batch, results), seconds)
    except ModelLoadError:
        raise
    except ImportError as error:
        raise BrokenInstallation(error) from error
    except Exception as error:
        if is_device_lost(error):
            raise DeviceLost(
                f"{label}: the device failed and cannot be used by this process any more: {describe(error)}. "
                f"Items: {_names(batch)}"
            ) from error
        # The exception is not kept: its traceback would keep the batch's tensors alive while the halves are tried.
        return _Failure(describe(error), full_traceback(error), is_out_of_memory(error))


def _failed(batch: tuple[Frame, ...], failure: _Failure) -> BatchOutcome:
    return BatchOutcome(batch, error=failure.error, traceback=failure.traceback)


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


@dataclass(frozen=True, slots=True)
class Relieved:
    """A StepContext under another relief. Nobody else's context changes."""

    context: StepContext
    relief: MemoryFallback

    @property
    def device(self) -> str:
        return self.context.device

    def model(self, ref: ModelRef) -> Any:
        return self.context.model(ref)


def strongest_offered(wanted: MemoryFallback, step: Step, context: StepContext) -> MemoryFallback:
    """The relief wanted, or the strongest below it that the step has here: another worker may have had more."""
    if wanted is MemoryFallback.NONE:
        return wanted
    return max((relief for relief in step.reliefs(context) if relief <= wanted), default=MemoryFallback.NONE)


def stronger(than: MemoryFallback, step: Step, context: StepContext) -> list[MemoryFallback]:
    """The reliefs that are left to try, in order."""
    return sorted(relief for relief in set(step.reliefs(context)) if relief > than)


def does_not_fit(label: str, device: str, tried: Collection[MemoryFallback], error: str) -> str:
    """What to tell of an item for which nothing helped."""
    measures = {MemoryFallback.TILE: "in tiles", MemoryFallback.OFFLOAD: "with all that can wait kept off the device"}
    ways = ["alone", *(measures[relief] for relief in sorted(tried) if relief in measures)]
    return (
        f"{label}: the image does not fit in the memory of {device}, even {' and '.join(ways)}. Make it smaller "
        "(width and height of the step that makes it, or a resize before this step), choose a smaller model, or bring "
        f"a worker with a larger device; then retry the quarantined items. ({error})"
    )
