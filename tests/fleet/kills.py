"""Which parts of the fleet are killed, when, and by what they are known to be back."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fleet.container import Container
from tests.fleet.native import NativeFleet

PATIENCE_SECONDS = 240.0  # for a part to come back
LOOK_SECONDS = 0.5
BURST_MODULE, CHILD_MODULE = "prefect.engine", "gpu_worker.process.worker_child"


IsBack = Callable[[], bool]


@dataclass
class Kill:
    """One SIGKILL. `at`: share of the job's images that must be recorded before."""

    at: float
    part: str  # for people
    strike: Callable[[], "IsBack | None"]  # kills, and says how to know that it is back; None: it was not there
    computes: bool = False  # whether images in flight may be lost with it
    waits: bool = True  # whether the next kill waits until it is back
    is_back: "IsBack | None" = None
    recorded: int = 0
    struck_at: float | None = None
    seconds_away: float | None = None

    @property
    def is_pending(self) -> bool:
        """Killed, and not back yet."""
        return self.struck_at is not None and self.seconds_away is None


@dataclass
class Killer:
    """Kills one part after the other, each when those before are back, unless they take long."""

    kills: list[Kill]
    log: Callable[[str], None]
    wrong: list[str] = field(default_factory=list)

    def look(self, recorded: int, total: int) -> None:
        """To be called all the time. Kills what is due, and notes what has come back."""
        for kill in self.kills:
            if kill.is_pending:
                self._watch(kill)
        if any(kill.is_pending and kill.waits for kill in self.kills):
            return
        due = next((kill for kill in self.kills if kill.struck_at is None), None)
        if due is None or recorded < due.at * total:
            return
        due.is_back = due.strike()
        if due.is_back is None:
            return  # it has just ended by itself, or is not there yet
        due.struck_at, due.recorded = time.monotonic(), recorded
        self.log(f"killed {due.part} with {recorded} images recorded")

    @property
    def is_done(self) -> bool:
        return all(kill.seconds_away is not None for kill in self.kills)

    def _watch(self, kill: Kill) -> None:
        assert kill.struck_at is not None
        assert kill.is_back is not None
        away = time.monotonic() - kill.struck_at
        if kill.is_back():
            kill.seconds_away = away
            self.log(f"{kill.part} is back after {away:.0f} s")
        elif away > PATIENCE_SECONDS:
            kill.seconds_away = away
            self.wrong.append(f"{kill.part} was not back {away:.0f} s after it was killed")


def kills_of(fleet: NativeFleet, burst_runs: Callable[[], bool]) -> list[Kill]:
    """Every part once."""

    def burst_is_there() -> bool:
        return fleet.containers["bursts"].process_of(BURST_MODULE) is not None and burst_runs()

    return [
        _process(0.03, "the burst's process", fleet.containers["bursts"], BURST_MODULE, also=burst_runs),
        _process(0.10, "a worker's child", fleet.containers["worker-0"], CHILD_MODULE, computes=True),
        # That nobody is left to tell Prefect is noticed after 90 s: meanwhile all others are killed.
        _container(0.14, "the bursts' worker and burst", fleet.containers["bursts"], also=burst_is_there, waits=False),
        _container(0.25, "the Prefect server", fleet.containers["prefect-server"]),
        _container(0.37, "Redis", fleet.containers["redis"]),
        _container(0.49, "a worker", fleet.containers["worker-1"], computes=True),
        _container(0.61, "Prefect's services", fleet.containers["prefect-services"]),
        _container(0.73, "PostgreSQL", fleet.containers["postgres"]),
    ]


def _always() -> bool:
    return True


def _process(
    at: float,
    part: str,
    container: Container,
    module: str,
    *,
    computes: bool = False,
    also: Callable[[], bool] = _always,
) -> Kill:
    """One process in a container; whatever started it is to start another one. `also` must hold before and after."""

    def strike() -> IsBack | None:
        victim = container.process_of(module)
        if victim is None or not also():
            return None
        victim.kill()

        def is_back() -> bool:
            process = container.process_of(module)
            return process is not None and process.pid != victim.pid and container.is_healthy() and also()

        return is_back

    return Kill(at, part, strike, computes)


def _container(
    at: float,
    part: str,
    container: Container,
    *,
    computes: bool = False,
    waits: bool = True,
    also: Callable[[], bool] = _always,
) -> Kill:
    """All processes of a container; its restart policy is to start it again. `also` must hold before and after."""

    def strike() -> IsBack | None:
        if not also():
            return None
        starts = container.starts
        container.kill()
        return lambda: container.starts > starts and container.is_healthy() and also()

    return Kill(at, part, strike, computes, waits)
