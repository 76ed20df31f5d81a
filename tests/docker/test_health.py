"""The health checks that run inside the containers."""

import http.server
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support.compose_file import DOCKER
from tests.support.ports import free_port
from tests.support.servers.web_server import handled_by

pytestmark = pytest.mark.parts


def health(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DOCKER / "health.py"), *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.fixture
def page() -> Iterator[str]:
    """A server that answers 200 at /well and 503 elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/well" else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with handled_by(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no Redis: install its server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        url = f"redis://127.0.0.1:{port}/1"
        deadline = time.monotonic() + 20
        while True:
            try:
                Redis.from_url(url).ping()
                break
            except RedisConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield url
        server.terminate()


def test_a_page_that_answers_is_well(page: str) -> None:
    assert health("http", f"{page}/well").returncode == 0


def test_a_page_that_refuses_or_is_not_there_is_ill_and_says_why(page: str) -> None:
    refused = health("http", f"{page}/ill")
    assert (refused.returncode, "503" in refused.stderr) == (1, True)
    gone = health("http", f"http://127.0.0.1:{free_port()}/")
    assert (gone.returncode, "refused" in gone.stderr) == (1, True)


@pytest.mark.e2e
def test_a_docket_is_well_while_one_of_its_workers_beats(redis_url: str) -> None:
    missing = health("docket", "prefect", PREFECT_SERVER_DOCKET_URL=redis_url)
    assert (missing.returncode, "has no worker" in missing.stderr) == (1, True)
    redis = Redis.from_url(redis_url)
    redis.zadd("prefect:workers", {"old": time.time() - 300})
    silent = health("docket", "prefect", PREFECT_SERVER_DOCKET_URL=redis_url)
    assert (silent.returncode, "silent" in silent.stderr) == (1, True)
    redis.zadd("prefect:workers", {"new": time.time()})
    assert health("docket", "prefect", PREFECT_SERVER_DOCKET_URL=redis_url).returncode == 0


def test_a_wrong_call_is_ill() -> None:
    assert health("nonsense").returncode == 1
    assert health().returncode == 1
