"""The fault tests in short: three of them on small jobs, with a fixed seed. `make chaos` runs them all."""

from concurrent.futures import Future, ThreadPoolExecutor
from random import Random

import pytest

from benchmarks.chaos.fault import Arena, Fault, Findings
from benchmarks.chaos.kills import Kills
from benchmarks.chaos.store_faults import FlakyStore
from benchmarks.chaos.two_starts import TwoStarts

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ITEMS, KILLS = 40, 2
FAULTS: tuple[Fault, ...] = (Kills(), FlakyStore(), TwoStarts(places=("one-home",)))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Future[Findings]]:
    """All at once: most of the time they wait for processes to start, or for a store that stalls."""
    # Made before the threads: of two that ask pytest for its first folder at once, one fails.
    arenas = {
        fault.name: Arena(
            tmp_path_factory.mktemp(fault.name),
            Random(f"short {fault.name}"),
            items=ITEMS,
            kills=KILLS,
            log=print,
            has_database=True,
        )
        for fault in FAULTS
    }
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        return {fault.name: pool.submit(fault.run, arenas[fault.name]) for fault in FAULTS}


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_nothing_is_lost_and_nothing_done_twice(name: str, outcomes: dict[str, Future[Findings]]):
    findings = outcomes[name].result()
    assert findings.wrong == []
    jobs = findings.counts["jobs"]
    assert findings.counts["verified"] == jobs >= 1
    assert findings.counts["items_once_in_manifest"] == jobs * ITEMS


def test_the_faults_came(outcomes: dict[str, Future[Findings]]):
    assert outcomes["kills"].result().counts["kills"] == KILLS
    assert outcomes["two-starts"].result().counts["starts_refused"] >= 1
    troubles = [measure for measure in outcomes["flaky-store"].result().counts if measure.startswith("requests_")]
    assert len(troubles) >= 4
