"""A worker killed in the middle of a shard: what was recorded is never computed again."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from storage.ledger.records import Outcome
from tests.gpu_worker.shard.killed_shard import COUNT, MICRO_BATCH, mill

pytestmark = pytest.mark.parts


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_a_killed_shard_goes_on_where_the_ledger_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = subprocess.Popen([sys.executable, "-m", "tests.gpu_worker.shard.killed_shard", str(tmp_path)])
    deadline = time.monotonic() + 120
    while len(lines(log)) < 3 * MICRO_BATCH and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -9
    begun = Counter(lines(log))
    assert 3 * MICRO_BATCH <= sum(begun.values()) < COUNT
    again = mill(tmp_path)
    names = {
        "made": "Fill",
        "negative": "Invert",
    }
    recorded = {
        f"{names[step]} {report.record.item.name}"
        for report in again.reports()
        for step, entry in report.steps.items()
        if entry.outcome is Outcome.COMPUTED
    }
    again.run()
    total = Counter(lines(log))
    twice = {line for line, count in total.items() if count > 1}
    assert recorded
    assert not twice & recorded
    # Lost are the micro-batch in flight and the one or two that waited for the 0.1 s of the next record.
    assert len(twice) <= 3 * MICRO_BATCH
    assert again.ledger.items.progress("job").done == COUNT
    assert len(again.finals()) == COUNT
    assert set(total) == {f"{step} i{index}" for step in names.values() for index in range(COUNT)}
