"""Bursts whose surroundings fail: servers that restart, jobs started twice, wrong recipes, cancelling from outside."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending, Running, Scheduled, State

from configs.settings.settings import Settings
from flows.prefect_api.shard_runs import queue_of, waits_for_the_clock
from flows.prefect_api.workers import workers_online
from storage.ledger.records import JobStatus
from tests.support.command import Pixelmill
from tests.support.null.held_steps import hold, null_steps_environment
from tests.support.shells import only_job, recorded, some_recorded
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ITEMS = 120

RECIPE = """
name: nulls
vars: {poison: false}
steps:
  - {id: base, step: STEP, seconds: SECONDS}
  - {id: final, step: null_pass}
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Iterator[Pixelmill]:
    """A home with one long-lived Prefect server and worker, and steps that need no model."""
    folder = tmp_path_factory.mktemp("warm")
    settings = {"PREFECT_API_URL": prefect_server, "PIXELMILL_WORK_POOL": "faults"}
    with Pixelmill(folder, settings | null_steps_environment(folder)).with_worker() as shell:
        yield shell


@pytest.fixture
def shell(tmp_path: Path, warm: Pixelmill) -> Pixelmill:
    """A user's shell with a folder of its own."""
    return Pixelmill(tmp_path, {**warm.env, "PIXELMILL_HOME": str(warm.home)})


def write_job(
    shell: Pixelmill,
    *,
    name: str = "nulls",
    step: str = "null_generate",
    seconds: float = 0.05,
    items: int = ITEMS,
    poison: int = 0,
) -> str:
    shell.write("recipe.yaml", RECIPE.replace("SECONDS", str(seconds)).replace("STEP", step))
    entries = [
        f"  - {{name: {name}-{number}, vars: {{poison: {str(number < poison).lower()}}}}}" for number in range(items)
    ]
    text = f"name: {name}\nrecipe: ./recipe.yaml\noutput: ./out\nitems:\n" + "\n".join(entries) + "\n"
    return shell.write(f"{name}.yaml", text)


def burst_run(shell: Pixelmill) -> FlowRun:
    of_job = FlowRunFilter(
        name=FlowRunFilterName(like_="burst "), tags=FlowRunFilterTags(all_=[f"job:{only_job(shell).id}"])
    )
    with (
        temporary_settings({PREFECT_API_URL: shell.env["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        (run,) = client.read_flow_runs(flow_run_filter=of_job)
        return run


def test_a_prefect_server_that_is_killed_comes_back_and_the_job_ends_well(tmp_path: Path) -> None:
    shell = Pixelmill(tmp_path, null_steps_environment(tmp_path))
    process = shell.start("run", write_job(shell, seconds=0.1), "--json")
    wait_until(lambda: some_recorded(shell))
    (server,) = [
        child
        for child in psutil.Process(process.pid).children()
        if "flows.prefect_api.server" in " ".join(child.cmdline())
    ]
    server.kill()
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert f'"done": {ITEMS}' in out


def test_a_burst_cancelled_in_prefect_stops_and_can_be_resumed(shell: Pixelmill) -> None:
    held = hold(shell)
    process = shell.start("run", write_job(shell, step="held_generate", seconds=0.2), "--json")
    wait_until(lambda: some_recorded(shell))
    run = burst_run(shell)
    with temporary_settings({PREFECT_API_URL: shell.env["PREFECT_API_URL"]}), get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling(message="from the UI"))
    wait_until(lambda: only_job(shell).status is JobStatus.CANCELLED)
    held.unlink()  # the shard ends in order, long before it is through
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert only_job(shell).status is JobStatus.CANCELLED
    assert burst_run(shell).state_name == "Cancelled"
    assert 0 < recorded(shell) < ITEMS
    resumed = shell.here("resume", only_job(shell).id, "--json")
    assert resumed.document["items"]["done"] == ITEMS


def test_a_job_whose_gallery_cannot_be_written_does_not_pass_for_done(shell: Pixelmill) -> None:
    job = write_job(shell, items=4)
    page = shell.folder / "out" / "nulls" / "index.html"
    page.mkdir(parents=True)
    result = shell.here("run", job)
    assert result.status == 1
    assert str(page) in result.err and "`pixelmill resume nulls-" in result.err
    page.rmdir()
    assert shell.here("resume", only_job(shell).id).status == 0
    assert page.is_file()


def test_a_job_interrupted_before_its_burst_is_cancelled(tmp_path: Path) -> None:
    shell = Pixelmill(tmp_path, null_steps_environment(tmp_path))
    process = shell.start("run", write_job(shell, items=4))
    wait_until((shell.home / "logs" / "server.log").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped; `pixelmill status`" in err
    assert (only_job(shell).status, only_job(shell).error) == (JobStatus.CANCELLED, "interrupted")


def test_a_worker_with_another_ledger_says_what_to_set(shell: Pixelmill) -> None:
    pool = {**shell.env, "PIXELMILL_WORK_POOL": "elsewhere"}
    here = Pixelmill(shell.folder, pool)
    other = Pixelmill(shell.folder / "other", {**pool, "PIXELMILL_HOME": str(shell.folder / "other/home")})
    other.folder.mkdir()
    assert other.here("deploy").status == 0
    worker = other.start("worker", "start")
    try:
        with temporary_settings({PREFECT_API_URL: shell.env["PREFECT_API_URL"]}):
            wait_until(lambda: bool(workers_online("elsewhere")))
        result = here.here("run", write_job(here, items=4))
    finally:
        worker.terminate()
        worker.communicate(timeout=60)
    assert result.status == 1
    assert "the same PIXELMILL_LEDGER_URL" in " ".join(result.out.split())


def test_a_job_whose_step_is_no_longer_known_says_what_to_do(shell: Pixelmill) -> None:
    extra = shell.write("extra.yaml", "steps:\n  my_step: tests.support.null.steps:NullGenerate\n")
    job = write_job(shell, step="my_step", items=2, poison=1)
    catalogues = f"{shell.env['PIXELMILL_CATALOGUE_PATH']}:{extra}"
    # Its worker has to know the step: one of its own.
    known = Pixelmill(
        shell.folder, {**shell.env, "PIXELMILL_WORK_POOL": "known", "PIXELMILL_CATALOGUE_PATH": catalogues}
    )
    assert known.here("run", job).status == 3
    result = shell.here("retry", only_job(shell).id, "--json")
    assert result.status == 1
    message = result.document["errors"][0]["message"]
    assert "unknown step `my_step`" in message
    assert "PIXELMILL_CATALOGUE_PATH" in message


def test_a_wrong_recipe_stops_early_and_says_why(shell: Pixelmill) -> None:
    result = shell.here("run", write_job(shell, items=400, poison=200), "--json")
    assert result.status == 1
    assert result.document["status"] == "failed"
    (error,) = result.document["errors"]
    assert "stopped early" in error["message"]
    assert "is poisoned" in error["message"]
    assert result.document["items"]["pending"] > 0


def test_a_small_job_overtakes_a_large_one(shell: Pixelmill) -> None:
    limits = {"PIXELMILL_SHARD_SIZE": "20", "PIXELMILL_INTERACTIVE_ITEMS": "10"}
    shell = Pixelmill(shell.folder, {**shell.env, **limits})
    large = shell.start("run", write_job(shell, name="large", items=240), "--json")
    wait_until(lambda: some_recorded(shell))
    small = shell.here("run", write_job(shell, name="small", items=5), "--json")
    assert small.document["items"]["done"] == 5
    assert large.poll() is None  # with shards that were submitted before the small job was written
    large.communicate(timeout=120)
    assert large.returncode == 0


def test_a_run_whose_start_lies_ahead_waits_for_the_clock() -> None:
    def run(state: State[object], start: timedelta) -> FlowRun:
        return FlowRun(flow_id=uuid4(), state=state, expected_start_time=datetime.now(UTC) + start)

    assert waits_for_the_clock(run(Pending(), timedelta(hours=1)))
    assert not waits_for_the_clock(run(Running(), timedelta(hours=1)))
    assert not waits_for_the_clock(run(Scheduled(), timedelta(seconds=1)))


def test_small_jobs_go_into_the_queue_that_is_served_first() -> None:
    settings = Settings(interactive_items=100)
    assert [queue_of(items, settings) for items in (1, 100, 101)] == ["interactive", "interactive", "bulk"]
