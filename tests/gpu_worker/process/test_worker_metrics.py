"""A real worker's metrics and logs, while its child works, dies and is started again."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import ROOT
from tests.support.command import Pixelmill
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, wait_for, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ITEMS = 120
RECIPE = """
name: nulls
steps:
  - {id: base, step: null_generate, seconds: SECONDS}
  - {id: final, step: null_pass}
"""
COMPUTED = 'pixelmill_images_total{outcome="computed",step="null_generate"}'
DONE = 'pixelmill_items_total{state="done"}'
COMPLETED = 'pixelmill_shard_runs_total{result="completed"}'
COUNTS = ("_total", "_count", "_sum", "_bucket")


class Worker:
    """A worker in a process of its own, with a page of metrics and a log."""

    def __init__(self, shell: Pixelmill, port: int) -> None:
        self.shell, self.port = shell, port
        self.log = shell.folder / "worker.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli.main", "worker", "start"],
                cwd=shell.folder, env=shell.environment(), stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def figures(self) -> dict[str, float]:
        """By series, as Prometheus writes them; empty where the page is not there yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE) as page:
                text = page.read().decode()
        except OSError:
            return {}
        return {
            _series(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def counts(self) -> dict[str, float]:
        return {series: value for series, value in self.figures().items() if series.split("{")[0].endswith(COUNTS)}

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return self.figures().get("pixelmill_child_up") == 1

    def kill_child(self) -> None:
        (child,) = psutil.Process(self.process.pid).children()
        child.kill()
        child.wait(PATIENCE)

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()


def _series(name: str, labels: dict[str, str]) -> str:
    text = ",".join(f'{label}="{labels[label]}"' for label in sorted(labels))
    return f"{name}{{{text}}}" if text else name


@pytest.fixture
def worker(tmp_path: Path, prefect_server: str) -> Iterator[Worker]:
    port = free_port()
    settings = {
        "PREFECT_API_URL": prefect_server,
        "PYTHONPATH": str(ROOT),
        "PIXELMILL_CATALOGUE_PATH": str(ROOT / "tests/support/null/catalogue.yaml"),
        "PIXELMILL_METRICS_PORT": str(port),
        "PIXELMILL_LOG_FORMAT": "json",
        "PIXELMILL_PRICE_PER_HOUR": "3.6",
    }
    started = Worker(Pixelmill(tmp_path, settings), port)
    try:
        wait_until(started.is_ready)
        yield started
    finally:
        started.end()


def write_job(shell: Pixelmill, name: str, *, seconds: float = 0) -> str:
    shell.write(f"{name}-recipe.yaml", RECIPE.replace("SECONDS", str(seconds)))
    entries = "\n".join(f"  - {{name: {name}-{number}}}" for number in range(ITEMS))
    return shell.write(
        f"{name}.yaml", f"name: {name}\nrecipe: ./{name}-recipe.yaml\noutput: ./out\nitems:\n{entries}\n"
    )


def assert_no_count_went_back(before: dict[str, float], after: dict[str, float]) -> None:
    assert before
    assert {series: value for series, value in before.items() if after.get(series, -1) < value} == {}


def test_counts_outlive_the_child_and_every_line_is_an_object(worker: Worker) -> None:
    shell = worker.shell
    assert shell.here("run", write_job(shell, "first"), "--json").status == 0
    first = wait_for(lambda: (seen := worker.figures()).get(COMPLETED) == 1 and seen)  # counted after its last item
    assert first[DONE] == ITEMS
    assert first[COMPUTED] == first['pixelmill_image_seconds_count{step="null_pass"}'] == ITEMS
    assert first["pixelmill_cost_total"] > 0
    assert first['pixelmill_start_seconds{model="",phase="first_image"}'] > 0
    wait_until(lambda: 'pixelmill_pool_waiting_runs{pool="gpu"}' in worker.figures())

    before = worker.counts()
    worker.kill_child()
    assert_no_count_went_back(before, worker.counts())
    wait_until(lambda: worker.is_ready() and worker.figures().get("pixelmill_child_starts_total") == 2)
    assert_no_count_went_back(before, worker.counts())

    assert shell.here("run", write_job(shell, "second"), "--json").status == 0
    second = wait_for(lambda: (seen := worker.figures()).get(COMPLETED) == 2 and seen)
    assert second[DONE] == second[COMPUTED] == 2 * ITEMS

    worker.end()
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    assert {line["worker"] for line in lines if "worker" in line} == {lines[0]["worker"]}
    (start, again) = [line for line in lines if line["message"].startswith("cold start: process ")]
    assert start["job"].startswith("first-")
    assert again["job"].startswith("second-")


def test_a_child_killed_at_work_takes_no_count_along(worker: Worker) -> None:
    shell = worker.shell
    running = shell.start("run", write_job(shell, "slow", seconds=0.05), "--json")
    seen = [worker.counts()]

    def look() -> dict[str, float]:
        seen.append(worker.counts())
        return seen[-1]

    wait_until(lambda: look().get(COMPUTED, 0) > 0)
    worker.kill_child()
    wait_until(lambda: look() is not None and running.poll() is not None)
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert json.loads(out)["items"]["done"] == ITEMS
    wait_until(lambda: look().get(COMPLETED) == 1)
    for before, after in pairwise(seen):
        assert_no_count_went_back(before, after)
    assert seen[-1]['pixelmill_shard_runs_total{result="crashed"}'] == 1
    # What was recorded in the last quarter of a second before the kill may be missing, and nothing else.
    assert ITEMS - 64 <= seen[-1][DONE] <= ITEMS


def test_a_worker_whose_port_is_taken_is_refused_with_what_to_change(tmp_path: Path, prefect_server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"PREFECT_API_URL": prefect_server, "PIXELMILL_METRICS_PORT": port}
        refused = Pixelmill(tmp_path, settings).here("worker", "start")
    assert refused.status == 2
    assert "PIXELMILL_METRICS_PORT" in refused.err
    assert "a port of its own" in refused.err


def test_a_worker_that_a_command_starts_works_without_a_page_where_the_port_is_taken(
    tmp_path: Path, prefect_server: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {
            "PREFECT_API_URL": prefect_server,
            "PIXELMILL_WORK_POOL": "taken",
            "PYTHONPATH": str(ROOT),
            "PIXELMILL_CATALOGUE_PATH": str(ROOT / "tests/support/null/catalogue.yaml"),
            "PIXELMILL_METRICS_PORT": str(taken.getsockname()[1]),
        }
        shell = Pixelmill(tmp_path, settings)
        assert shell.here("run", write_job(shell, "alone"), "--json").document["items"]["done"] == ITEMS
    assert "cannot be served at" in (shell.home / "logs" / "worker.log").read_text()


def test_models_to_keep_warm_that_do_not_exist_are_refused_at_once(tmp_path: Path) -> None:
    shell = Pixelmill(tmp_path, {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PIXELMILL_KEEP_WARM": "startr, nothing"})
    refused = shell.here("worker", "start")
    assert refused.status == 2
    assert "PIXELMILL_KEEP_WARM: unknown model `startr`; did you mean `starter`?" in refused.err
    assert "unknown model `nothing`" in refused.err
