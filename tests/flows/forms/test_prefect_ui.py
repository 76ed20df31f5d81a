"""A person who never opens a terminal: fills in a form, watches, reads the report, looks at the images."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import expect
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from configs.settings.settings import Settings
from flows.report.render import markdown_table
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus
from tests.support.browser import find_chromium, open_browser, open_page, wait_for_script
from tests.support.command import Pixelmill
from tests.support.hostile_texts import HOSTILE, shown
from tests.support.null.held_steps import hold, null_steps_environment
from tests.support.ports import free_port
from tests.support.prefect_ui import PrefectUi
from tests.support.shells import answers
from tests.support.waiting import PATIENCE, wait_until

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),  # most of it for a busy machine
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

# A folder to keep screenshots in, as for the README; with the graphs of runs, which need WebGL.
SCREENSHOTS = os.environ.get("PIXELMILL_TEST_SCREENSHOTS")


# For what stops a burst in its midst: where it is held there is nothing to be late for. Each has a folder of its own:
# what another has made there would be reused.
HELD_RECIPE = "name: held\nsteps:\n- {id: base, step: held_generate, seconds: 0.1}\n- {id: final, step: null_pass}\n"
HELD_JOB = "name: NAME\nrecipe: ./held.yaml\noutput: ./NAME\nseeds_per_item: 24\nitems: [{name: key}]\n"
HELD_IMAGES = 24


@dataclass(frozen=True)
class Up:
    shell: Pixelmill
    process: "subprocess.Popen[str]"
    ui: str
    galleries: str


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    ui, galleries = free_port(), free_port()
    folder = tmp_path_factory.mktemp("up")
    shell = Pixelmill(folder, {"PIXELMILL_PRICE_PER_HOUR": "1.5", **null_steps_environment(folder)})
    process = shell.start("up", "--port", str(ui), "--gallery-port", str(galleries))
    try:
        started = Up(shell, process, f"http://127.0.0.1:{ui}", f"http://127.0.0.1:{galleries}")
        wait_until(lambda: process.poll() is not None or answers(f"{started.galleries}/healthz"))
        assert process.poll() is None, process.communicate()
        yield started
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def browser(up: Up, errors: list[str]) -> Iterator[PrefectUi]:
    assert CHROMIUM is not None
    with open_browser(CHROMIUM, webgl=bool(SCREENSHOTS)) as opened, open_page(opened, errors) as page:
        yield PrefectUi(page, up.ui, Path(SCREENSHOTS) if SCREENSHOTS else None)


def _job(up: Up, name: str) -> JobRecord | None:
    with closing(Ledger(Settings(home=up.shell.home).resolved_ledger_url)) as ledger:
        return next((job for job in ledger.jobs.all() if job.name == name), None)


def _write_held_job(up: Up, name: str) -> str:
    up.shell.write("held.yaml", HELD_RECIPE)
    return up.shell.write(f"{name}.yaml", HELD_JOB.replace("NAME", name))


def _made(up: Up, name: str) -> int:
    """How many of the job's base images are recorded."""
    job = _job(up, name)
    if job is None:
        return 0
    with closing(Ledger(Settings(home=up.shell.home).resolved_ledger_url)) as ledger:
        return ledger.steps.counts(job.id)["base"].computed


def _is_logged(up: Up, text: str) -> bool:
    logs = httpx.post(f"{up.ui}/api/logs/filter", json={"limit": 200, "sort": "TIMESTAMP_DESC"}).raise_for_status()
    return any(text in log["message"] for log in logs.json())


def _open_form(browser: PrefectUi, deployment: str) -> None:
    browser.visit("/deployments")
    browser.wait_for(deployment)
    browser.snap("deployments", 900)
    browser.follow(deployment, "/deployments/deployment/")
    browser.press("Run", opens=browser.button("Custom run"))
    browser.click("Custom run")
    browser.wait_for("Validate parameters")


def _submit(browser: PrefectUi) -> None:
    browser.button("Submit").click()
    browser.click("View run")
    # The page of the deployment lists the run and its state as well, and stays until the run's page is loaded.
    browser.page.wait_for_url(re.compile("/runs/flow-run/"), timeout=PATIENCE * 1000)


def test_a_form_is_filled_in_and_its_images_are_seen(up: Up, browser: PrefectUi, errors: list[str]) -> None:
    _open_form(browser, "game-icon")
    browser.fill("Name", "spring-icons")
    browser.fill("Prompts", "a red potion\na blue gem\na green shield\na purple crown")
    browser.switch("Transparent background")
    browser.fill("Images of each", "2")
    browser.snap("form", 1750)
    _submit(browser)
    browser.wait_for("burst spring-icons 8 items", PATIENCE)
    browser.wait_for("Completed", PATIENCE)
    # The log is what a run's page shows first.
    expect(browser.page.locator(f'a[href^="{up.galleries}/jobs/spring-icons-"]').first).to_be_visible()
    browser.snap("run", 1100)
    browser.click("Artifacts")
    browser.click("report-spring-icons")
    browser.wait_for("done, 8 of 8 images")
    wait_for_script(
        browser.page, "[...document.images].some((image) => image.alt === 'Contact sheet' && image.naturalWidth > 500)"
    )
    browser.snap("report", 1700)
    said = browser.text()
    assert "starter/diffusion" in said
    assert "cost" in said
    gallery = browser.page.get_by_role("link", name="Gallery", exact=True).last.get_attribute("href")
    assert gallery is not None and gallery.startswith(up.galleries)
    browser.page.goto(gallery)
    browser.wait_for("a-red-potion-1")
    wait_for_script(browser.page, "[...document.images].filter((image) => image.naturalWidth > 0).length >= 8")
    assert len(list((up.shell.folder / "out" / "spring-icons" / "final").iterdir())) == 8
    assert [error for error in errors if up.galleries in error] == []


def test_mistakes_are_all_told_at_once(up: Up, browser: PrefectUi) -> None:
    _open_form(browser, "game-icon")
    browser.fill("Table", "missing.csv")
    browser.fill("Output folder", "../elsewhere")
    _submit(browser)
    browser.wait_for("Failed", PATIENCE)
    wait_until(lambda: _is_logged(up, "missing.csv is not there"))
    browser.page.reload()  # the page of a run that has ended does not ask for logs that come late
    browser.wait_for("output: must be the name of a folder")  # among the logs, which a run's page shows first
    browser.wait_for("missing.csv is not there")
    browser.click("Details")
    browser.wait_for("Nothing was started. 2 mistakes")


def test_a_burst_is_cancelled_and_then_goes_on(up: Up, browser: PrefectUi) -> None:
    held = hold(up.shell)
    _open_form(browser, "burst")
    browser.fill("Job file", _write_held_job(up, "many-keys"))
    _submit(browser)
    wait_until(lambda: _made(up, "many-keys") > 0)
    browser.page.reload()  # a page that was opened early takes a while to see that its run has begun
    browser.press("Cancel", opens=browser.button("Confirm"))
    browser.button("Confirm").click()
    wait_until(lambda: _job(up, "many-keys").status is JobStatus.CANCELLED)
    held.unlink()  # the shard ends in order, long before it is through
    browser.wait_for("Cancelled", PATIENCE)
    assert 0 < _made(up, "many-keys") < HELD_IMAGES
    dialog = browser.page.locator("[class*=modal]").get_by_role("button", name="Retry", exact=True).last
    browser.press("Retry", opens=dialog)
    dialog.click()
    wait_until(lambda: _job(up, "many-keys").status is JobStatus.DONE, 3 * PATIENCE)
    browser.wait_for(f"{HELD_IMAGES} of {HELD_IMAGES} images", PATIENCE)
    assert _job(up, "many-keys").run == 2


def test_a_schedule_starts_runs(up: Up) -> None:
    answers = {"prompts": "a red key", "seed": -1, "dry_run": True}
    with temporary_settings({PREFECT_API_URL: f"{up.ui}/api"}), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("images/game-icon")
        schedule = IntervalSchedule(interval=timedelta(seconds=15))
        client.create_deployment_schedules(deployment.id, [DeploymentScheduleCreate(schedule=schedule, active=True)])
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=answers))
        mine = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
            tags=FlowRunFilterTags(all_=["auto-scheduled"]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED])),
        )
        wait_until(lambda: bool(client.read_flow_runs(flow_run_filter=mine)))
        (kept,) = client.read_deployment(deployment.id).schedules
        client.delete_deployment_schedule(deployment.id, kept.id)


def test_a_burst_that_is_killed_with_its_worker_goes_on(up: Up) -> None:
    held = hold(up.shell)
    job = _write_held_job(up, "keys")
    with temporary_settings({PREFECT_API_URL: f"{up.ui}/api"}), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("burst/burst")
        killed = client.create_flow_run_from_deployment(deployment.id, parameters={"job": job}).id
    wait_until(lambda: _made(up, "keys") > 0)
    for process in psutil.Process(up.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            command = process.cmdline()
            if "bursts" in command or "prefect.flow_engine" in command or "prefect.engine" in command:
                process.kill()
    held.unlink()
    wait_until(lambda: _job(up, "keys").status is JobStatus.DONE, 3 * PATIENCE)
    with closing(Ledger(Settings(home=up.shell.home).resolved_ledger_url)) as ledger:
        assert ledger.items.progress(_job(up, "keys").id).done == HELD_IMAGES
    with temporary_settings({PREFECT_API_URL: f"{up.ui}/api"}), get_client(sync_client=True) as client:
        state = client.read_flow_run(killed).state
    assert state is not None
    assert (state.type, "The job goes on in flow run" in str(state.message)) == (StateType.CANCELLED, True), state


def test_a_table_of_hostile_texts_is_a_table_of_texts(up: Up) -> None:
    assert CHROMIUM is not None
    texts = (*HOSTILE, "https://evil.example/a", "www.evil.example", "me@evil.example", "ftp://evil.example")
    table = markdown_table(("text", "end"), [(text, "end") for text in texts])
    with temporary_settings({PREFECT_API_URL: f"{up.ui}/api"}):
        identifier = create_markdown_artifact(table, key="hostile")  # before there is a browser: it starts a loop
    with open_browser(CHROMIUM) as opened, open_page(opened, []) as page:
        PrefectUi(page, up.ui).visit(f"/artifacts/artifact/{identifier}")
        expect(page.locator("table tbody tr")).to_have_count(len(texts))
        cells = [text.strip() for text in page.locator("table tbody td").all_text_contents()]
        markup = page.locator("table a, table img, table script, table code, table b").count()
    assert [cell.replace("\u2060", "") for cell in cells[::2]] == [shown(text) for text in texts]
    assert set(cells[1::2]) == {"end"}
    assert markup == 0
