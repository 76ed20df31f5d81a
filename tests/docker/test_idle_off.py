"""The rented machine's switch: off when idle, not before, and not while anything runs or waits."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gpu_worker.monitor.metric_table import TABLE
from tests.docker.rented import RENTED
from tests.support.ports import free_port
from tests.support.servers.web_server import handled_by
from tests.support.waiting import wait_until

IDLE = '# HELP pixelmill_shard_running …\npixelmill_shard_running 0.0\npixelmill_pool_waiting_runs{pool="gpu"} 0.0\n'
BUSY = IDLE.replace("shard_running 0.0", "shard_running 1.0")
WAITED_FOR = IDLE.replace("} 0.0", "} 3.0")


class Page:
    """A worker's page, whose text a test changes."""

    def __init__(self, text: str) -> None:
        self.text, self.looks = text, 0


@contextmanager
def metrics(page: Page) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.looks += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with handled_by(Handler) as port:
        yield port


@contextmanager
def switch(port: int, flag: Path, idle_seconds: int) -> Iterator["subprocess.Popen[bytes]"]:
    times = {"IDLE_SECONDS": str(idle_seconds), "LOOK_SECONDS": "0.05"}
    process = subprocess.Popen(
        [RENTED / "idle-off.sh", "touch", flag],
        env={"PATH": os.environ["PATH"], "PIXELMILL_METRICS_PORT": str(port), **times},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parts
@pytest.mark.parametrize("text", [BUSY, WAITED_FOR], ids=["busy", "waited for"])
def test_it_stays_on_while_there_is_work_and_goes_off_after_it(tmp_path: Path, text: str):
    page = Page(text)
    with metrics(page) as port, switch(port, tmp_path / "off", idle_seconds=1) as process:
        wait_until(lambda: page.looks > 20)  # more than a second
        assert process.poll() is None
        page.text = IDLE
        wait_until((tmp_path / "off").exists)


@pytest.mark.parts
def test_a_worker_that_does_not_answer_costs_nothing_for_long(tmp_path: Path):
    with switch(free_port(), tmp_path / "off", idle_seconds=1):
        wait_until((tmp_path / "off").exists)


def test_the_figures_are_those_that_a_worker_serves():
    assert {"pixelmill_shard_running", "pixelmill_pool_waiting_runs"} <= {metric.name for metric in TABLE}
