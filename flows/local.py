"""What one command needs around a burst: a Prefect server, the deployments, and a worker, for as long as it runs."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from configs.settings import Settings
from flows.deployments import ensure_pool_and_deployments
from flows.server import local_server

MAX_STARTS = 3  # a process that dies more often has something wrong that a restart won't mend
END_SECONDS = 15.0

Say = Callable[[str], None]


@contextmanager
def fleet(settings: Settings, say: Say) -> Iterator[str]:
    """A Prefect API with our work pool and deployments, and at least one worker. Yields the API's URL.

    With an API of the user's own (`PREFECT_API_URL`) its online workers are used, and a worker is started here only
    if there is none. What was started here ends with the context.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.shard_watch import online_workers

    say("starting the Prefect server")
    with local_server(settings) as api_url, temporary_settings({PREFECT_API_URL: api_url}):
        ensure_pool_and_deployments(settings)
        if online_workers(settings.work_pool):
            yield api_url
            return
        say("starting a worker")
        with worker_process(settings, api_url):
            yield api_url


@contextmanager
def worker_process(settings: Settings, api_url: str) -> Iterator[None]:
    """A worker beside this process, started again if it dies, stopped at the end. Its log is in the home folder."""
    environment = os.environ | {"PREFECT_API_URL": api_url, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    command = [sys.executable, "-m", "flows.cli", "worker", "start", "--pool", settings.work_pool]
    with supervised(command, environment, settings.home / "logs" / "worker.log"):
        yield


@contextmanager
def supervised(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Keeps the command running until the context ends, starting it again a bounded number of times."""
    log.parent.mkdir(parents=True, exist_ok=True)
    ending = threading.Event()
    changing = threading.Lock()
    running: list[subprocess.Popen[bytes]] = []

    def start() -> bool:
        with changing, log.open("ab") as output:
            if ending.is_set():
                return False
            running[:] = [
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                )
            ]
        return True

    def watch() -> None:
        starts = 0
        while starts < MAX_STARTS and start():
            starts += 1
            running[0].wait()

    thread = threading.Thread(target=watch, name="supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with changing:
            ending.set()
        for process in running:
            process.terminate()
            try:
                process.wait(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        thread.join()
