"""What a benchmark is: a name, the bars it must reach, and a function that measures."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starter.evaluate import Bar

__all__ = ["Bar", "Bench", "Benchmark", "Measures", "Skipped"]

Measures = dict[str, float]


class Skipped(Exception):
    """This machine lacks what the benchmark needs; the message names it."""


@dataclass(frozen=True)
class Bench:
    """Input of a benchmark: how much to do, and a scratch folder of its own."""

    folder: Path
    scale: float = 1.0  # 1: the figures that count; less: a quick look
    details: dict[str, Any] = field(default_factory=dict)  # for the JSON file alone

    def count(self, full: int, *, least: int = 1) -> int:
        """A number of items at this scale."""
        return max(least, round(full * self.scale))

    def log(self, text: str) -> None:
        """Progress, on standard error."""
        print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Benchmark:
    """`measure` yields measures in groups as they come, or raises Skipped."""

    name: str
    title: str
    bars: Mapping[str, Bar]
    measure: Callable[[Bench], Iterator[Measures]]

    def missed(self, measures: Mapping[str, float]) -> list[str]:
        """The bars that these measures do not reach. A measure that is not there reaches none."""
        return [name for name, bar in self.bars.items() if name not in measures or not bar.holds(measures[name])]
