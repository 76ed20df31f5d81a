"""The figures of a worker's children, one after another, as if there had been only one."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gpu_worker.monitor.metric_table import TABLE, Metric

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]  # the name of a sample, and its labels

_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# The metric that a sample's name belongs to.
ROWS: Mapping[str, Metric] = {f"{row.name}{suffix}": row for row in TABLE for suffix in _SUFFIXES[row.kind]}


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
