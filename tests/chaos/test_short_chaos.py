"""The fault tests in short: a few of them on small jobs, with a fixed seed. `make chaos` runs them all."""

from random import Random

import pytest

from benchmarks.chaos.fault import Arena, Fault
from benchmarks.chaos.kills import Kills
from benchmarks.chaos.store_faults import FlakyStore
from benchmarks.chaos.two_starts import TwoStarts

pytestmark = pytest.mark.e2e

ITEMS, KILLS = 120, 3


@pytest.mark.parametrize(
    "fault", [Kills(), FlakyStore(), TwoStarts(places=("one-home",))], ids=lambda fault: fault.name
)
def test_nothing_is_lost_and_nothing_done_twice(fault: Fault, tmp_path):
    arena = Arena(tmp_path, Random(f"short {fault.name}"), items=ITEMS, kills=KILLS, say=print)
    findings = fault.run(arena)
    assert findings.wrong == []
    jobs = findings.counts["jobs"]
    assert findings.counts["verified"] == jobs >= 1
    assert findings.counts["items_once_in_manifest"] == jobs * ITEMS
