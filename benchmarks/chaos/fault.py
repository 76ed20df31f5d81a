"""What every fault test is: one kind of trouble, done to jobs, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from benchmarks.chaos.scene import Scene
from tests.support.servers.prefect_database import give_prefect_database


@dataclass
class Findings:
    """Counts of a fault test, and everything that was wrong."""

    counts: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def count(self, measure: str, number: float = 1) -> None:
        self.counts[measure] = self.counts.get(measure, 0) + number

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes `otherwise` as wrong unless `holds`."""
        if not holds:
            self.wrong.append(otherwise)

    def add(self, others: "Findings", where: str = "") -> None:
        for measure, number in others.counts.items():
            self.count(measure, number)
        self.wrong += [f"{where}: {text}" if where else text for text in others.wrong]


@dataclass(frozen=True)
class Arena:
    """Where a fault test does its work. All chance comes from `random`."""

    folder: Path
    random: Random
    items: int  # of one job
    kills: int  # in all
    log: Callable[[str], None]
    has_database: bool = False  # whether a home begins with Prefect's tables, as after a first start

    def scene(self, name: str, **options: Any) -> Scene:
        """A new job in a folder of its own, with `options` as of Scene; to be used as a context manager."""
        scene = Scene(self.folder / name, items=self.items, seed=self.random.randrange(2**31), **options)
        if self.has_database:
            give_prefect_database(scene.home)
        return scene


class Fault(Protocol):
    """One kind of trouble."""

    name: str
    about: str  # one line

    def obstacle(self) -> str | None:
        """Why it cannot be tried on this machine; None if it can."""
        ...

    def run(self, arena: Arena) -> Findings:
        """Does it to one or more jobs, brings each to its end, and checks it."""
        ...
