"""A lease is held by one living process at a time, and judged by its beats."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from storage.ledger import lease as module
from storage.ledger.lease import (
    JobIsRunning,
    JobTakenOver,
    LeaseOwner,
    LeaseTaken,
    is_abandoned,
    is_dead,
    job_lease,
    job_run,
    lease,
    read_owner,
    this_process,
)
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus
from tests.support.ledger_samples import start
from tests.support.new_ledger import new_ledger
from tests.support.waiting import PATIENCE

ELSEWHERE = LeaseOwner("other-12345678", 4711, "99", "abcd")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = new_ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("HEARTBEAT_SECONDS", 0.05), ("PATIENCE_SECONDS", 0.5), ("GIVE_UP_SECONDS", 0.3)):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def other() -> Iterator["subprocess.Popen[str]"]:
    """A process on this machine that prints its own name as a holder, and lives until the test ends."""
    code = "from storage.ledger.lease import this_process; print(this_process(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def name_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_process_knows_itself_again() -> None:
    assert read_owner(str(this_process())) == this_process()
    assert not is_dead(this_process())


def test_of_two_processes_with_one_number_the_earlier_is_dead() -> None:
    assert is_dead(this_process()._replace(start="1"))


def test_a_process_elsewhere_is_never_said_to_be_dead() -> None:
    assert not is_dead(this_process()._replace(machine="other", pid=1, start="1"))


@pytest.mark.parts
def test_a_killed_process_that_nobody_buried_is_dead(other: "subprocess.Popen[str]") -> None:
    holder = read_owner(name_of(other))
    assert not is_dead(holder)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # until it has ended, and leaves it unburied
    assert is_dead(holder)


def test_the_holder_may_ask_again_and_the_lease_goes_with_the_first(ledger: Ledger) -> None:
    with lease("work", ledger) as outer:
        with lease("work", ledger) as inner:
            assert inner is outer
        assert "work" in ledger.leases.find(["work"])
    assert ledger.leases.find(["work"]) == {}


@pytest.mark.parts
def test_a_living_holder_of_this_machine_is_respected_at_once(ledger: Ledger, other: "subprocess.Popen[str]") -> None:
    ledger.leases.take("work", name_of(other))
    with pytest.raises(LeaseTaken), lease("work", ledger):
        pass


@pytest.mark.parts
def test_a_dead_holder_of_this_machine_is_replaced_at_once(ledger: Ledger, other: "subprocess.Popen[str]") -> None:
    ledger.leases.take("work", name_of(other))
    other.kill()
    other.wait()
    with lease("work", ledger):
        assert ledger.leases.find(["work"])["work"].owner == str(this_process())


def test_a_silent_holder_elsewhere_is_replaced(ledger: Ledger, impatient: None) -> None:
    ledger.leases.take("work", str(ELSEWHERE))
    said: list[str] = []
    with lease("work", ledger, log=said.append):
        assert ledger.leases.find(["work"])["work"].owner == str(this_process())
    assert said == ["waiting to see whether other, process 4711 still works at work"]


def test_a_holder_elsewhere_that_beats_is_respected(ledger: Ledger, impatient: None) -> None:
    ledger.leases.take("work", str(ELSEWHERE))
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.02):
            ledger.leases.confirm("work", str(ELSEWHERE))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(LeaseTaken), lease("work", ledger):
            pass
    finally:
        stop.set()
        thread.join()


@pytest.mark.parts
def test_who_waits_gets_the_lease_when_it_is_dropped(ledger: Ledger, other: "subprocess.Popen[str]") -> None:
    holder = name_of(other)
    ledger.leases.take("work", holder)
    with lease("work", ledger, wait=True, log=lambda _: ledger.leases.drop("work", holder)) as held:
        assert held.lost is None


@pytest.mark.parts
def test_who_waits_leaves_when_there_is_an_objection(ledger: Ledger, other: "subprocess.Popen[str]") -> None:
    ledger.leases.take("work", name_of(other))
    with pytest.raises(LeaseTaken), lease("work", ledger, wait=True, objection=lambda: "the job is over"):
        pass


def test_who_was_taken_for_dead_hears_of_it(ledger: Ledger, impatient: None) -> None:
    heard = threading.Event()
    reasons: list[str] = []
    with lease("work", ledger) as held:
        held.when_lost(reasons.append)
        held.when_lost(lambda _: heard.set())
        ledger.leases.take("work", str(ELSEWHERE), dead=ledger.leases.find(["work"])["work"])
        while not heard.wait(1.0):  # a beat of its own may have come between the look and the taking
            ledger.leases.take("work", str(ELSEWHERE), dead=ledger.leases.find(["work"])["work"])
    assert reasons == ["another process has taken it over"]
    assert ledger.leases.find(["work"])["work"].owner == str(ELSEWHERE)


def test_an_objection_ends_the_holding(ledger: Ledger, impatient: None) -> None:
    heard = threading.Event()
    with lease("work", ledger, objection=lambda: "the job is cancelled") as held:
        held.when_lost(lambda _: heard.set())
        assert heard.wait(PATIENCE)
        assert held.lost == "the job is cancelled"


def test_a_lease_that_moved_since_it_was_seen_is_not_taken(ledger: Ledger) -> None:
    seen = ledger.leases.take("work", str(ELSEWHERE))
    ledger.leases.confirm("work", str(ELSEWHERE))
    assert ledger.leases.take("work", str(this_process()), dead=seen).owner == str(ELSEWHERE)


@pytest.mark.parts
def test_a_lease_that_nobody_holds_is_abandoned(ledger: Ledger, other: "subprocess.Popen[str]") -> None:
    holder = name_of(other)
    assert is_abandoned("work", ledger)
    ledger.leases.take("work", holder)
    assert not is_abandoned("work", ledger)
    other.kill()
    other.wait()
    assert is_abandoned("work", ledger)


@pytest.mark.parts
def test_a_second_run_of_a_job_is_told_where_the_first_one_runs(ledger: Ledger, other: "subprocess.Popen[str]") -> None:
    ledger.leases.take("job icons-1", name_of(other))
    with (
        pytest.raises(JobIsRunning, match=rf"icons-1 is running already on .*process {other.pid}"),
        ExitStack() as stack,
    ):
        stack.enter_context(job_lease("icons-1", ledger))


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (ValueError("no such bucket"), JobStatus.FAILED, "no such bucket"),
        (SystemExit(), JobStatus.FAILED, "SystemExit"),
        (KeyboardInterrupt(), JobStatus.CANCELLED, "interrupted"),
        (JobTakenOver("by another"), JobStatus.RUNNING, None),
    ],
)
def test_what_ends_a_run_early_is_the_job_s_end(
    ledger: Ledger, failure: BaseException, status: JobStatus, reason: str | None
) -> None:
    job = start(ledger)
    with pytest.raises(type(failure)), job_run(job.id, ledger):
        raise failure
    ended = ledger.jobs.get(job.id)
    assert (ended.status, ended.error) == (status, reason)


def test_a_run_that_is_refused_before_its_job_is_known_says_why(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="no such bucket"), job_run("icons-1", ledger):
        raise ValueError("no such bucket")
    assert ledger.jobs.all() == []
