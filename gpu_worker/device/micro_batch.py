"""Micro-batches: frames that a step computes together. Halved when they fail; a fallback if one frame does not fit."""

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from configs.catalogues.models import ModelRef
from configs.documents.notes import Notes
from configs.failures import PixelmillError
from gpu_worker.device import telemetry
from gpu_worker.device.batch_sizes import BatchPlan, BatchSizeCache, MemoryKey, memory_key
from gpu_worker.device.model_pool import ModelLoadError
from gpu_worker.monitor.failures import (
    BrokenInstallation,
    DeviceLost,
    describe,
    explain,
    full_traceback,
    is_device_lost,
    is_out_of_memory,
)
from steps.contract import Frame, MemoryFallback, Step, StepContext, StepResult

logger = logging.getLogger(__name__)

MODES = ("RGB", "RGBA")
NO_DIGESTS: Mapping[str, str] = MappingProxyType({})
_MEASURES = {MemoryFallback.TILE: "in tiles", MemoryFallback.OFFLOAD: "with all that can wait kept off the device"}


class InvalidResult(PixelmillError):
    """A step broke its contract: the step needs a fix, not the item."""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """Either the results of a whole micro-batch, in order, or the failure of the one frame in it.

    A failure is the text of an exception, without its frames and the device memory that they hold.
    """

    frames: tuple[Frame, ...]
    results: tuple[StepResult, ...] = ()
    seconds: float = 0.0  # of compute for each item
    error: str | None = None  # one line, without secrets
    traceback: str | None = None
    out_of_memory: bool = False
    quarantined: bool = False  # the failure is lack of memory under every fallback


@dataclass(frozen=True, slots=True)
class _FallbackContext:
    """A StepContext with a memory fallback; the original stays unchanged."""

    context: StepContext
    fallback: MemoryFallback

    @property
    def device(self) -> str:
        return self.context.device

    def model(self, ref: ModelRef) -> Any:
        return self.context.model(ref)


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
    """Compute the frames in micro-batches of at most `limit` with equal batch keys; each frame is in one outcome.

    A micro-batch that fails is halved until the frame that fails alone is found; the others get their results. Out of
    memory, the halves are tried, then for a single frame `free_memory` (which returns whether it freed any) and the
    step's memory fallbacks, in order; a frame that fits under none of them is `quarantined`. `sizes` remembers the
    plan that worked for the next frames of the same kind.

    `name` is the step's name in messages; `model_digests` (str(ModelRef) -> SHA-256) distinguish versions of a model.
    Raises ModelLoadError, BrokenInstallation and DeviceLost, which concern all further frames, and the errors of the
    ledger of `sizes`.
    """
    sizes = BatchSizeCache() if sizes is None else sizes
    batches = _MicroBatches(step, context, limit, name or type(step).__name__, free_memory, sizes)
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(step.batch_key(frame), []).append(frame)
    waiting = deque(tuple(group) for group in groups.values())
    while waiting:
        batch = waiting.popleft()
        key = memory_key(step, batch[0], model_digests)
        plan = batches.start(key)
        if len(batch) > plan.size:
            waiting.appendleft(batch[plan.size :])
            batch = batch[: plan.size]
        outcome = batches.compute(batch, key, plan.fallback)
        if outcome is None:
            middle = len(batch) // 2
            waiting.extendleft((batch[middle:], batch[:middle]))
        else:
            yield outcome


@dataclass(slots=True)
class _MicroBatches:
    step: Step
    context: StepContext
    limit: int
    label: str
    free_memory: Callable[[], bool]
    sizes: BatchSizeCache
    has_freed: bool = False

    def start(self, key: MemoryKey) -> BatchPlan:
        """Return the plan to begin with, under the strongest fallback that the step has here up to the known one."""
        plan = self.sizes.start(key, self.limit)
        if plan.fallback is MemoryFallback.NONE:
            return plan
        offered = (fallback for fallback in self.step.fallbacks(self.context) if fallback <= plan.fallback)
        return plan._replace(fallback=max(offered, default=MemoryFallback.NONE))

    def compute(self, batch: tuple[Frame, ...], key: MemoryKey, fallback: MemoryFallback) -> BatchOutcome | None:
        """Return the outcome, or None if the batch is to be halved."""
        plan = BatchPlan(len(batch), fallback)
        outcome = self._attempt(batch, key, plan)
        if outcome.error is None:
            return outcome
        tried_above = outcome.out_of_memory and self.sizes.did_not_fit(key, plan)
        if len(batch) == 1:
            if outcome.out_of_memory:
                return self._fall_back(batch, key, fallback, outcome, free=not tried_above)
            return outcome
        telemetry.batch_halved(self.label, out_of_memory=outcome.out_of_memory)
        why = "does not fit the memory" if outcome.out_of_memory else "holds an item that fails"
        logger.info("%s: a micro-batch of %d %s: trying its halves", self.label, len(batch), why)
        return None

    def _fall_back(
        self, batch: tuple[Frame, ...], key: MemoryKey, tried: MemoryFallback, outcome: BatchOutcome, *, free: bool
    ) -> BatchOutcome:
        """Try the one frame under stronger and stronger fallbacks. `free`: unload other models first."""
        stronger = sorted(fallback for fallback in set(self.step.fallbacks(self.context)) if fallback > tried)
        # Only once: models unloaded in vain would have to be loaded again and again.
        freed = free and not self.has_freed and self.free_memory()
        self.has_freed = self.has_freed or free
        if freed:
            telemetry.fallback_tried(self.label, "free")
        for fallback in ([tried] if freed else []) + stronger:
            if fallback > tried:
                telemetry.fallback_tried(self.label, fallback.name.lower())
            outcome = self._attempt(batch, key, BatchPlan(1, fallback))
            if outcome.error is None and freed:
                self.sizes.try_next_up(key)  # there is more room now than before
            if not outcome.out_of_memory:
                return outcome
        self.sizes.try_next_up(key)  # its neighbors may fit together
        measures = ["alone", *(_MEASURES[each] for each in sorted({tried, *stronger}) if each in _MEASURES)]
        device = self.sizes.device if self.step.model_refs() else "this machine"
        message = (
            f"{self.label}: the image does not fit in the memory of {device}, even {' and '.join(measures)}. Make it "
            "smaller (width and height of the step that makes it, or a resize before this step), choose a smaller "
            f"model, or bring a worker with a larger device; then retry the quarantined items. ({outcome.error})"
        )
        return replace(outcome, error=message, quarantined=True)

    def _attempt(self, batch: tuple[Frame, ...], key: MemoryKey, plan: BatchPlan) -> BatchOutcome:
        outcome = _run(self.step, self.label, batch, _FallbackContext(self.context, plan.fallback))
        if outcome.error is None:
            self.sizes.worked(key, plan, self.limit)
        elif outcome.out_of_memory:
            # A failure in a thread is held by a cycle of exception, traceback and frames, with all their tensors.
            gc.collect()
        return outcome


def _run(step: Step, label: str, batch: tuple[Frame, ...], context: StepContext) -> BatchOutcome:
    start = time.perf_counter()
    try:
        with telemetry.computing(on_device=bool(step.model_refs())):
            results = step.run(batch, context)
        seconds = (time.perf_counter() - start) / len(batch)
        return BatchOutcome(batch, _validated(label, batch, results, makes_image=step.makes_image), seconds)
    except ModelLoadError:
        raise
    except ImportError as error:
        raise BrokenInstallation(error) from error
    except Exception as error:
        if is_device_lost(error):
            raise DeviceLost(
                f"{label}: the device failed and this process can no longer use it: {describe(error)}. "
                f"Items: {_names(batch)}"
            ) from error
        # The exception is not kept: its traceback would keep the batch's tensors alive while the halves are tried.
        no_memory, trace = is_out_of_memory(error), full_traceback(error)
        text = describe(error) if no_memory else explain(error, _in_words(batch[0]))
        return BatchOutcome(batch, error=text, traceback=trace, out_of_memory=no_memory)


def _in_words(frame: Frame) -> str | None:
    image = frame.image or frame.files.get("image")
    return None if image is None else f"this image of {image.width} x {image.height} pixels"


def _validated(label: str, batch: Sequence[Frame], results: object, *, makes_image: bool) -> tuple[StepResult, ...]:
    """Return the results with the notes that go along with their images. Raises InvalidResult."""
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
    for frame, result in zip(batch, results, strict=True):
        _notes(makes_image, frame, result).put_on(result.image)
    return tuple(results)


def _notes(makes_image: bool, frame: Frame, result: StepResult) -> Notes:
    """Return the notes of the new image: those that the step put on it, or else the ones of the image before."""
    before, own = Notes.of(frame.image), Notes.of(result.image)
    return own if makes_image or own != Notes() else before


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
