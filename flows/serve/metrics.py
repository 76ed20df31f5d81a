"""Metrics of all jobs from the ledger, for Prometheus: a scaler needs them also while no worker runs."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from typing_extensions import override

from gpu_worker.monitor.metric_table import Metric
from storage.ledger.lease import OrphanedJobs
from storage.ledger.ledger import Ledger
from storage.ledger.records import Fleet, ItemState, JobStatus, Progress, ShardState

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# Counting a million items takes 0.2 s. It is repeated after 50 times as long as it took: at most 2 % of a core.
COUNT_SHARE = 0.02

FLEET_TABLE: tuple[Metric, ...] = (
    Metric("pixelmill_fleet_jobs", "gauge", "Jobs of the ledger.", ("status",)),
    Metric(
        "pixelmill_fleet_silent_jobs",
        "gauge",
        "Running jobs whose burst has sent no heartbeat for 20 s: `pixelmill resume` continues them.",
    ),
    Metric(
        "pixelmill_fleet_items",
        "gauge",
        "Items of running jobs. `state`: pending, done, failed, quarantined. May be some seconds old in large jobs.",
        ("state",),
    ),
    Metric(
        "pixelmill_fleet_shards",
        "gauge",
        "Shards of running jobs. `state`: waiting (items to do, no worker yet: the number for a scaler), running, "
        "failed, done.",
        ("state",),
    ),
    Metric(
        "pixelmill_fleet_oldest_waiting_shard_seconds",
        "gauge",
        "Waiting time of the shard that has waited longest; 0 without waiting shards.",
    ),
)
_SHARD_STATES = {ShardState.PENDING: "waiting"}


def render_fleet_metrics(ledger: Ledger) -> bytes:
    """Return the metrics of FLEET_TABLE as Prometheus text of CONTENT_TYPE. Raises the ledger's errors.

    Safe in many threads. Counts are kept from call to call while the ledger object lives.
    """
    with _lock:
        watch = _watches.setdefault(ledger, FleetWatch())
    return generate_latest(watch.read(ledger))


class FleetWatch:
    """State between readings of the ledger."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock, self._now = clock, now
        self._lock = threading.Lock()
        self._orphaned = OrphanedJobs(clock)
        self._progress: Progress | None = None
        self._count_again_at = 0.0

    def read(self, ledger: Ledger) -> "FleetStats":
        """Read the ledger. Raises its errors."""
        fleet = ledger.fleet.work()
        with self._lock:
            orphaned = len(self._orphaned.look(fleet.running, ledger))
            progress = self._count_items(fleet, ledger)
        waited = 0.0 if fleet.oldest_waiting is None else (self._now() - fleet.oldest_waiting).total_seconds()
        return FleetStats(fleet, progress, orphaned, max(0.0, waited))

    def _count_items(self, fleet: Fleet, ledger: Ledger) -> Progress:
        began = self._clock()
        if not fleet.running:
            self._progress, self._count_again_at = None, 0.0
            return Progress(0, 0, 0, 0, 0)
        if self._progress is None or began >= self._count_again_at:
            self._progress = ledger.fleet.progress()
            ended = self._clock()
            self._count_again_at = ended + (ended - began) / COUNT_SHARE
        return self._progress


@dataclass(frozen=True, slots=True)
class FleetStats(Collector):
    """A reading of the ledger, as a Prometheus collector."""

    fleet: Fleet
    progress: Progress
    orphaned: int  # jobs
    waited: float  # seconds

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        values: dict[str, dict[tuple[str, ...], float]] = {
            "pixelmill_fleet_jobs": {(status.value,): self.fleet.jobs.get(status, 0) for status in JobStatus},
            "pixelmill_fleet_silent_jobs": {(): self.orphaned},
            "pixelmill_fleet_items": {(state.value,): getattr(self.progress, state.value) for state in ItemState},
            "pixelmill_fleet_shards": {
                (_SHARD_STATES.get(state, state.value),): self.fleet.shards[state] for state in ShardState
            },
            "pixelmill_fleet_oldest_waiting_shard_seconds": {(): self.waited},
        }
        for row in FLEET_TABLE:
            family = GaugeMetricFamily(row.name, row.help, labels=row.labels)
            for labels, value in values[row.name].items():
                family.add_metric(labels, value)
            yield family


_watches: WeakKeyDictionary[Ledger, FleetWatch] = WeakKeyDictionary()
_lock = threading.Lock()
