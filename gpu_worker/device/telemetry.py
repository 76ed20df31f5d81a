"""The worker's metrics as it works: one registry a process, apart from the one that Prefect counts in.

Counting costs about a microsecond and never raises. `sample` returns the current values.
"""

import logging
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from weakref import WeakSet

from prometheus_client import CollectorRegistry, Counter, Histogram

from configs.catalogues.models import ModelRef
from configs.settings.warm_windows import WarmWindows
from gpu_worker.device.device import MEGABYTE, Device, held_mb
from gpu_worker.monitor.metric_table import SECONDS_BUCKETS, TABLE
from storage.ledger.records import ItemResult, ItemState, Outcome, StepOutcome
from storage.objects.artefacts import retries

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
# After outcomes were recorded a report follows at once, but no sooner than this after the one before: it takes 0.6 ms.
REPORT_SPACING_SECONDS = 0.25


class Sample(NamedTuple):
    """One value, under the name and labels that Prometheus shows it with."""

    name: str
    labels: dict[str, str]
    value: float


class WatchedPool(Protocol):
    """The measured properties of a model pool."""

    device: Device

    def memory_by_model(self) -> dict[ModelRef, int]: ...


class WatchedWriter(Protocol):
    """The measured properties of a writer."""

    queue: int

    def waiting(self) -> tuple[int, int]: ...


class ColdStart:
    """Times the phases of this process until its first image, by `time.monotonic`, which processes share.

    Each method marks a moment and is called once. Safe to share between threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phases: dict[str, float] = {}
        self._loads: dict[str, float] = {}  # until the first image
        self._spawned: float | None = None
        self._marked = 0.0
        self._run_began: float | None = None
        self._over = False
        self._lock = threading.Lock()

    def begin(self, spawned: float, started: float) -> None:
        """Note that the parent spawned this process at `spawned`, and its interpreter started at `started`."""
        self._spawned, self._marked = spawned, started
        self._phases["process"] = started - spawned

    def imported(self) -> None:
        """Note that the imports of every flow run are done."""
        self._mark("imports")

    def ready(self) -> None:
        """Note that the models to keep warm are loaded and flow runs are accepted."""
        self._mark("models")
        if self._spawned is not None:
            self._phases["ready"] = self._clock() - self._spawned

    def model_loaded(self, model: str, seconds: float) -> None:
        if not self._over:
            with self._lock:
                self._loads[model] = self._loads.get(model, 0.0) + seconds

    def run_began(self) -> None:
        """Note the beginning of a flow run. The first one that makes an image counts."""
        if not self._over:
            self._run_began = self._clock()

    def image_stored(self) -> None:
        """Note that an image is in the store. The first one makes the durations final and logs them."""
        if self._over:
            return
        with self._lock:
            if self._over or self._run_began is None:
                return
            self._phases["first_image"] = self._clock() - self._run_began
            self._over = True
        logger.info("%s", self)

    def durations(self) -> list[tuple[str, str, float]]:
        """Return (phase, model or empty text, seconds) of the phases so far."""
        with self._lock:
            phases = [(phase, "", seconds) for phase, seconds in self._phases.items()]
            return phases + [("load", model, seconds) for model, seconds in self._loads.items()]

    def __str__(self) -> str:
        parts = []
        for phase, model, seconds in self.durations():
            parts.append(f"{phase.replace('_', ' ')}{f' of {model}' if model else ''} {seconds:.2f} s")
        return f"cold start: {', '.join(parts)}"

    def _mark(self, phase: str) -> None:
        now = self._clock()
        self._phases[phase], self._marked = now - self._marked, now


class BusyClock:
    """Counts the seconds in which at least one thing was going on, the current one included. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._running = 0
        self._since = self._done = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            if not self._running:
                self._since = self._clock()
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._done += self._clock() - self._since

    def seconds(self) -> float:
        """Return the seconds; never less than before."""
        with self._lock:
            return self._done + (self._clock() - self._since if self._running else 0.0)


REGISTRY = CollectorRegistry()
_ROWS = {metric.name: metric for metric in TABLE}


def _counter(name: str) -> Counter:
    return Counter(name, _ROWS[name].help, _ROWS[name].labels, registry=REGISTRY)


cold_start = ColdStart()
pools: WeakSet[WatchedPool] = WeakSet()  # measured for as long as they live
writers: WeakSet[WatchedWriter] = WeakSet()  # measured until they are removed

_images = _counter("pixelmill_images_total")
_image_seconds = Histogram(
    "pixelmill_image_seconds",
    _ROWS["pixelmill_image_seconds"].help,
    _ROWS["pixelmill_image_seconds"].labels,
    buckets=SECONDS_BUCKETS,
    registry=REGISTRY,
)
_items = _counter("pixelmill_items_total")
_loads = _counter("pixelmill_model_loads_total")
_load_seconds = _counter("pixelmill_model_load_seconds_total")
_halved = _counter("pixelmill_batches_halved_total")
_fallbacks = _counter("pixelmill_reliefs_total")
_device_busy = BusyClock()
_listeners: list[Callable[[], None]] = []  # called after outcomes were counted, in any thread
_warm_windows: list[WarmWindows | None] = []  # of this process's settings, once they are read


for _state in (ItemState.DONE, ItemState.FAILED, ItemState.QUARANTINED):
    _items.labels(_state.value)


# -- counting ----------------------------------------------------------------------------------------------------------
def work_begins(steps: Iterable[str], models: Iterable[ModelRef]) -> None:
    """Show zero for the counts to come: Prometheus sees no growth before a count's first sample."""
    for step in steps:
        _image_seconds.labels(step)
        for outcome in Outcome:
            _images.labels(step, outcome.value)
    for ref in models:
        _loads.labels(str(ref))
        _load_seconds.labels(str(ref))


def step_recorded(step: str, rows: Sequence[StepOutcome], ends: Iterable[ItemResult]) -> None:
    """Count outcomes of a step, by its name in the catalogue, and ends of items that the ledger has recorded."""
    for outcome, count in Tally(row.outcome for row in rows).items():
        _images.labels(step, outcome.value).inc(count)
    seconds = _image_seconds.labels(step)
    for row in rows:
        if row.outcome is Outcome.COMPUTED:
            seconds.observe(row.seconds)
    for state, count in Tally(end.state for end in ends).items():
        _items.labels(state.value).inc(count)
    for listener in _listeners:
        listener()


def computing(*, on_device: bool) -> AbstractContextManager[None]:
    """Return a context for a step's work on a micro-batch. `on_device`: whether the step uses a model."""
    return _device_busy.busy() if on_device else nullcontext()


def batch_halved(step: str, *, out_of_memory: bool) -> None:
    _halved.labels(step, "memory" if out_of_memory else "failure").inc()


def fallback_tried(step: str, fallback: str) -> None:
    """Count a try to make room for one image: `free` (other models left), `tile` or `offload`."""
    _fallbacks.labels(step, fallback).inc()


def model_loaded(ref: ModelRef, seconds: float) -> None:
    _loads.labels(str(ref)).inc()
    _load_seconds.labels(str(ref)).inc(seconds)
    cold_start.model_loaded(str(ref), seconds)


def watch_warm_windows(windows: WarmWindows | None) -> None:
    """Measure from now on whether a window is open; None means always open."""
    _warm_windows[:] = [windows]


# -- reporting ---------------------------------------------------------------------------------------------------------
def sample() -> list[Sample]:
    """Return the current value of every metric of this process."""
    return [
        *(
            Sample(sample.name, sample.labels, sample.value)
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ),
        Sample("pixelmill_device_busy_seconds_total", {}, _device_busy.seconds()),
        Sample("pixelmill_store_retries_total", {}, retries()),
        *(
            Sample("pixelmill_start_seconds", {"phase": phase, "model": model}, seconds)
            for phase, model, seconds in cold_start.durations()
        ),
        *(
            Sample("pixelmill_warm_window_open", {}, float(windows is None or windows.contains(datetime.now(UTC))))
            for windows in _warm_windows
        ),
        *_writer_samples(),
        *_pool_samples(),
    ]


def _writer_samples() -> Iterator[Sample]:
    watched = list(writers)
    waiting = [writer.waiting() for writer in watched]
    yield Sample("pixelmill_writer_queue_images", {}, sum(images for images, _ in waiting))
    yield Sample("pixelmill_writer_queue_bytes", {}, sum(size for _, size in waiting))
    yield Sample("pixelmill_writer_queue_limit_images", {}, sum(writer.queue for writer in watched))


def _pool_samples() -> Iterator[Sample]:
    watched = list(pools)
    models = {ref: size for pool in watched for ref, size in pool.memory_by_model().items()}
    yield Sample("pixelmill_models_resident", {}, len(models))
    for ref, size in models.items():
        yield Sample("pixelmill_model_memory_bytes", {"model": str(ref)}, size * MEGABYTE)
    for device in {pool.device for pool in watched}:
        yield Sample("pixelmill_device_info", {"device": device.name, "kind": device.kind}, 1)
        yield Sample("pixelmill_device_memory_capacity_bytes", {}, device.total_mb * MEGABYTE)
        try:
            held = held_mb(device)
        except RuntimeError:
            continue  # a failed device
        yield Sample("pixelmill_device_memory_held_bytes", {}, held * MEGABYTE)


@contextmanager
def reporting(send: Callable[[list[Sample]], None]) -> Iterator[None]:
    """Send all metrics of this process from a thread until the block ends, and once more then."""
    wanted, ending = threading.Event(), threading.Event()

    def report() -> None:
        with suppress(OSError):  # the parent is gone, and this process will end
            while not ending.is_set():
                wanted.wait(REPORT_SECONDS)
                wanted.clear()
                send(sample())
                ending.wait(REPORT_SPACING_SECONDS)
            send(sample())

    thread = threading.Thread(target=report, name="pixelmill-report", daemon=True)
    _listeners.append(wanted.set)
    thread.start()
    try:
        yield
    finally:
        _listeners.remove(wanted.set)
        ending.set()
        wanted.set()
        thread.join()
