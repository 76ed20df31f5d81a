"""The Prometheus page of a worker: served by the light parent, whatever becomes of the child."""

import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings, variable_of
from gpu_worker.device.installation import installed_version
from gpu_worker.monitor import metric_table
from gpu_worker.monitor.metric_table import TABLE

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prefect.client.orchestration import PrefectClient
    from prometheus_client import Metric


logger = logging.getLogger(__name__)

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]  # the name of a sample, and its labels

_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# The metric that a sample's name belongs to.
ROWS: Mapping[str, metric_table.Metric] = {
    f"{row.name}{suffix}": row for row in TABLE for suffix in _SUFFIXES[row.kind]
}


class ChildFigures:
    """What is counted goes on where the child before left off; what is measured goes with the child.

    Safe to share between threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: dict[Series, float] = {}
        self._reports: list[ChildReports] = []  # oldest first; more than one while a child's last words are read
        self._lock = threading.Lock()

    def open(self) -> "ChildReports":
        """Takes the reports of a new child."""
        reports = ChildReports(self)
        with self._lock:
            self._reports.append(reports)
        return reports

    def series(self) -> dict[Series, float]:
        """All figures as of the last reports."""
        with self._lock:
            values = dict(self._past)
            for reports in self._reports:
                for series, value in reports.last.items():
                    if _is_counted(series):
                        values[series] = values.get(series, 0.0) + value
                    elif reports is self._reports[-1]:
                        values[series] = value
            return values

    def age(self) -> float | None:
        """Seconds since the newest child's last report; None before its first."""
        with self._lock:
            told_at = self._reports[-1].told_at if self._reports else None
        return None if told_at is None else self._clock() - told_at

    def take(self, reports: "ChildReports", samples: Iterable[Sequence[Any]]) -> None:
        known = {(name, tuple(sorted(labels.items()))): value for name, labels, value in samples if name in ROWS}
        with self._lock:
            reports.last, reports.told_at = known, self._clock()

    def close(self, reports: "ChildReports") -> None:
        with self._lock:
            if reports not in self._reports:
                return
            self._reports.remove(reports)
            for series, value in reports.last.items():
                if _is_counted(series):
                    self._past[series] = self._past.get(series, 0.0) + value


def _is_counted(series: Series) -> bool:
    return ROWS[series[0]].kind != "gauge"


class ChildReports:
    """The reports of one child."""

    def __init__(self, figures: ChildFigures) -> None:
        self._figures = figures
        self.last: dict[Series, float] = {}
        self.told_at: float | None = None

    def take(self, samples: Iterable[Sequence[Any]]) -> None:
        """A report replaces the one before. Samples of names that are not in the table are left out."""
        self._figures.take(self, samples)

    def close(self) -> None:
        """The child is gone and has nothing more to say."""
        self._figures.close(self)


QUEUE_SECONDS = 10.0  # between counts of the queue; a count costs the server some 7 ms
ANSWER_SECONDS = 5.0
STALE_SECONDS = 60.0  # after so long without an answer the length of the queue is not known any more


class WorkerMetrics:
    """What the parent knows and what its children tell it, as one Prometheus collector.

    Told of events by the worker's event loop; asked from the threads of the page.
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
        self._waiting: tuple[int, float] | None = None  # flow runs, and when that was
        self._server: WSGIServer | None = None
        self.figures = ChildFigures(clock)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody may ask for the page."""
        return self._settings.metrics_port > 0

    # -- the page --------------------------------------------------------------------------------------------------
    def serve(self) -> None:
        """Serves the page from threads of its own, if it is wanted. Raises InvalidInput where the port is taken."""
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
            raise InvalidInput(
                [
                    Problem(
                        variable_of("metrics_port"),
                        f"the metrics cannot be served at {host}:{port} ({reason}): each worker of a machine needs a "
                        "port of its own, and PIXELMILL_METRICS_HOST an address of this machine",
                    )
                ]
            ) from None

    def close(self) -> None:
        """Ends the page."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    # -- what happens ----------------------------------------------------------------------------------------------
    def child_started(self, pid: int) -> None:
        self._child_starts += 1
        self._child_pid, self._child_ready = pid, False

    def child_ready(self) -> None:
        self._child_ready = True

    def child_ended(self) -> None:
        self._child_pid, self._child_ready = None, False

    def run_begins(self) -> None:
        self._running += 1

    def run_ended(self, result: str) -> None:
        """`result`: completed, failed, cancelled, crashed, or another state that Prefect knows."""
        self._running -= 1
        self._runs[result] += 1

    def pool_asked(self, waiting: int) -> None:
        """So many flow runs of the pool are due and not taken."""
        self._waiting = (waiting, self._clock())

    # -- what is shown ---------------------------------------------------------------------------------------------
    def collect(self) -> "Iterator[Metric]":
        """All metrics of the table, with the figures that there are."""
        from prometheus_client import Metric

        metrics = {row.name: Metric(_family(row), row.help, row.kind) for row in TABLE}
        for (name, labels), value in (self.figures.series() | self._own()).items():
            metrics[ROWS[name].name].add_sample(name, dict(labels), value)
        yield from metrics.values()

    def describe(self) -> "Iterator[Metric]":
        """Nothing: names are not checked against those of other collectors, as there are none."""
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
        if (age := self.figures.age()) is not None:
            own["pixelmill_child_report_age_seconds", ()] = age
        for process, pid in (("parent", os.getpid()), ("child", self._child_pid)):
            if pid is not None and (size := _resident_bytes(pid)):
                own["pixelmill_process_resident_bytes", (("process", process),)] = size
        if self._waiting is not None and self._clock() - self._waiting[1] < STALE_SECONDS:
            own["pixelmill_pool_waiting_runs", (("pool", self._pool),)] = self._waiting[0]
        return own


def _family(row: metric_table.Metric) -> str:
    return row.name.removesuffix("_total") if row.kind == "counter" else row.name


def _resident_bytes(pid: int) -> int:
    """0 where the process is gone or the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


async def watch_pool_queue(client: "PrefectClient", pool: str, tell: Callable[[int], None]) -> None:
    """Tells the number every ten seconds until cancelled; where the API does not answer, nothing."""
    while True:
        try:
            tell(await asyncio.wait_for(count_waiting(client, pool), ANSWER_SECONDS))
        except (httpx.HTTPError, TimeoutError) as error:
            logger.debug("the work pool's queue could not be counted: %s", type(error).__name__)
        await asyncio.sleep(QUEUE_SECONDS)


async def count_waiting(client: "PrefectClient", pool: str) -> int:
    """Flow runs of the pool that are due and that no worker has taken. Raises httpx.HTTPError."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    return await client.count_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
