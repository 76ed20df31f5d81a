"""The Prometheus page of a worker, served by its parent process so that it outlives the child."""

import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings, variable_of
from gpu_worker.device.device import installed_version, resident_bytes
from gpu_worker.monitor import metric_table
from gpu_worker.monitor.metric_table import TABLE

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prefect.client.orchestration import PrefectClient
    from prometheus_client import Metric

logger = logging.getLogger(__name__)

Series = tuple[str, tuple[tuple[str, str], ...]]  # the name of a sample, and its labels

QUEUE_SECONDS = 10.0  # between two counts of the queue; one costs the server some 7 ms
ANSWER_SECONDS = 5.0
STALE_SECONDS = 60.0  # after so long without an answer the length of the queue is unknown

_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# Name of a sample -> its metric.
ROWS: Mapping[str, metric_table.Metric] = {
    f"{row.name}{suffix}": row for row in TABLE for suffix in _SUFFIXES[row.kind]
}


class ChildMetrics:
    """The metrics of a worker's successive children: counts add up over all, gauges are those of the newest.

    Safe to share between threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended: dict[Series, float] = {}  # counts of the children that have ended
        self._reports: list[ChildReports] = []  # oldest first; several while the pipe of an ended child is read
        self._lock = threading.Lock()

    def open(self) -> "ChildReports":
        """Return the reports of a new child, still empty."""
        reports = ChildReports()
        with self._lock:
            self._reports.append(reports)
        return reports

    def series(self) -> dict[Series, float]:
        """Return all values of the last reports."""
        with self._lock:
            values = dict(self._ended)
            for reports in self._reports:
                _add_counts(values, reports.last)
            if self._reports:
                values |= {series: value for series, value in self._reports[-1].last.items() if not _is_count(series)}
            return values

    def age(self) -> float | None:
        """Return the seconds since the newest child's last report, or None before its first."""
        with self._lock:
            reported_at = self._reports[-1].reported_at if self._reports else None
        return None if reported_at is None else self._clock() - reported_at

    def update(self, reports: "ChildReports", samples: Iterable[Sequence[Any]]) -> None:
        """Replace the child's report before. Drops samples whose names are not in the table."""
        values = {(name, tuple(sorted(labels.items()))): value for name, labels, value in samples if name in ROWS}
        with self._lock:
            reports.last, reports.reported_at = values, self._clock()

    def close(self, reports: "ChildReports") -> None:
        """Keep the counts of a child that has ended, and drop its gauges."""
        with self._lock:
            if reports in self._reports:
                self._reports.remove(reports)
                _add_counts(self._ended, reports.last)


@dataclass(eq=False, slots=True)
class ChildReports:
    """The last report of one child."""

    last: dict[Series, float] = field(default_factory=dict)
    reported_at: float | None = None


def _add_counts(total: dict[Series, float], values: Mapping[Series, float]) -> None:
    for series, value in values.items():
        if _is_count(series):
            total[series] = total.get(series, 0.0) + value


def _is_count(series: Series) -> bool:
    return ROWS[series[0]].kind != "gauge"


class WorkerMetrics:
    """The metrics of the parent and its children as one Prometheus collector.

    The worker's event loop reports events; the threads of the page collect.
    """

    def __init__(
        self, settings: Settings, *, worker: str, pool: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.worker = worker
        self._settings, self._pool, self._clock = settings, pool, clock
        self._began = clock()
        self._runs: Counter[str] = Counter()
        self._running = 0
        self._child_starts = 0
        self._child_pid: int | None = None
        self._child_ready = False
        self._waiting: tuple[int, float] | None = None  # flow runs, and when they were counted
        self._server: WSGIServer | None = None
        self.children = ChildMetrics(clock)

    @property
    def is_wanted(self) -> bool:
        """Whether the settings ask for the page."""
        return self._settings.metrics_port > 0

    # -- the page --------------------------------------------------------------------------------------------------
    def serve(self) -> None:
        """Serve the page from threads, if it is wanted. Raises InvalidInput if its port is taken."""
        if not self.is_wanted or self._server is not None:
            return
        from prometheus_client import CollectorRegistry, start_http_server

        # Not the library's own registry: that is where Prefect counts.
        registry = CollectorRegistry()
        registry.register(self)
        host, port = self._settings.metrics_host, self._settings.metrics_port
        try:
            self._server, _ = start_http_server(port, host, registry)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = (
                f"the metrics cannot be served at {host}:{port} ({reason}): each worker of a machine needs a port of "
                "its own, and PIXELMILL_METRICS_HOST an address of this machine"
            )
            raise InvalidInput([Problem(variable_of("metrics_port"), message)]) from None

    def close(self) -> None:
        """End the page."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    # -- events ----------------------------------------------------------------------------------------------------
    def child_started(self, pid: int) -> None:
        self._child_starts += 1
        self._child_pid, self._child_ready = pid, False

    def child_ready(self) -> None:
        self._child_ready = True

    def child_ended(self) -> None:
        self._child_pid, self._child_ready = None, False

    def run_began(self) -> None:
        self._running += 1

    def run_ended(self, result: str) -> None:
        """Count a flow run. `result`: completed, failed, cancelled, crashed, or another of Prefect's states."""
        self._running -= 1
        self._runs[result] += 1

    def queue_counted(self, waiting: int) -> None:
        """Keep the number of flow runs that wait for a worker."""
        self._waiting = (waiting, self._clock())

    async def watch_queue(self, client: "PrefectClient") -> None:
        """Count the pool's waiting flow runs every ten seconds, until cancelled; skip while the API is away."""
        while True:
            try:
                self.queue_counted(await asyncio.wait_for(_count_waiting(client, self._pool), ANSWER_SECONDS))
            except (httpx.HTTPError, TimeoutError) as error:
                logger.debug("the work pool's queue could not be counted: %s", type(error).__name__)
            await asyncio.sleep(QUEUE_SECONDS)

    # -- the collector ---------------------------------------------------------------------------------------------
    def collect(self) -> "Iterator[Metric]":
        """Yield all metrics of the table, in its order, with the samples that there are."""
        from prometheus_client import Metric

        metrics = {
            row.name: Metric(row.name.removesuffix("_total") if row.kind == "counter" else row.name, row.help, row.kind)
            for row in TABLE
        }
        for (name, labels), value in (self.children.series() | self._own()).items():
            metrics[ROWS[name].name].add_sample(name, dict(labels), value)
        yield from metrics.values()

    def describe(self) -> "Iterator[Metric]":
        """Yield nothing: the registry has no other collector whose names could collide."""
        return iter(())

    def _own(self) -> dict[Series, float]:
        info = (("pool", self._pool), ("version", installed_version()), ("worker", self.worker))
        own: dict[Series, float] = {
            ("pixelmill_worker_info", info): 1,
            ("pixelmill_child_up", ()): float(self._child_ready),
            ("pixelmill_child_starts_total", ()): self._child_starts,
            ("pixelmill_shard_running", ()): float(self._running > 0),
            ("pixelmill_cost_total", ()): (self._clock() - self._began) * self._settings.price_per_hour / 3600,
        }
        for result in sorted({"completed", "failed", "cancelled", "crashed", *self._runs}):
            own["pixelmill_shard_runs_total", (("result", result),)] = self._runs[result]
        if (age := self.children.age()) is not None:
            own["pixelmill_child_report_age_seconds", ()] = age
        for process, pid in (("parent", os.getpid()), ("child", self._child_pid)):
            if pid is not None and (size := resident_bytes(pid)):
                own["pixelmill_process_resident_bytes", (("process", process),)] = size
        if self._waiting is not None and self._clock() - self._waiting[1] < STALE_SECONDS:
            own["pixelmill_pool_waiting_runs", (("pool", self._pool),)] = self._waiting[0]
        return own


async def _count_waiting(client: "PrefectClient", pool: str) -> int:
    """Return how many flow runs of the pool are due and not taken by a worker. Raises httpx.HTTPError."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    return await client.count_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        ),
        work_pool_filter=filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[pool])),
    )
