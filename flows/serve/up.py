"""`pixelmill up`: the local server with its UI, deployments, galleries and workers in one foreground command."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from configs.reporting import Log
from configs.settings.privacy import own_folder
from configs.settings.settings import Settings, variable_of
from flows.prefect_api.deployments import BURST_POOL, all_deployments, ensure_pool_and_deployments
from flows.prefect_api.server import ServerError, local_server, require_port
from flows.prefect_api.workers import supervised, worker_process
from gpu_worker.monitor.logs import prefect_environment

LOOK_SECONDS = 0.5


def serve_forever(settings: Settings, *, port: int, gallery_port: int, log: Log) -> None:
    """Run server, galleries and workers until SIGINT or SIGTERM; all of them listen at 127.0.0.1 only.

    Raises InvalidInput, before anything is started, for deployments with mistakes, and ServerError if a port is taken
    or this home has an `up` already: two would share its device.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    wanted = all_deployments(settings)
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    with ExitStack() as stack:
        stack.enter_context(_single_instance(settings))
        log("starting the Prefect server")
        api_url = stack.enter_context(local_server(settings, port=port, ui=True))
        stack.enter_context(temporary_settings({PREFECT_API_URL: api_url}))
        ensure_pool_and_deployments(settings, wanted)
        # Checked only now, when the galleries of an `up` that was killed a moment ago have ended.
        require_port(gallery_port)
        log("starting the workers")
        galleries = settings.gallery_url or f"http://127.0.0.1:{gallery_port}"
        environment = {**os.environ, "PREFECT_API_URL": api_url, variable_of("gallery_url"): galleries}
        stack.enter_context(worker_process(settings, api_url, log=log))
        stack.enter_context(_burst_worker(settings, environment, log))
        stack.enter_context(_gallery_server(settings, environment, gallery_port, log))
        log(f"ready: {api_url.removesuffix('/api')} (Ctrl-C stops it)")
        log(f"galleries: {galleries}; logs: {settings.home / 'logs'}")
        # Not an event, whose lock the handler would need, and not an endless wait, which would miss a signal that comes
        # just before it.
        while not signals:
            time.sleep(LOOK_SECONDS)
        log("stopping")


@contextmanager
def _single_instance(settings: Settings) -> Iterator[None]:
    folder = settings.home / "prefect"
    own_folder(folder)
    lock = FileLock(folder / "up.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as taken:
        raise ServerError(
            f"`pixelmill up` runs already for {settings.home}: end it first, or give this one a home of its own "
            "(PIXELMILL_HOME)."
        ) from taken
    try:
        yield
    finally:
        lock.release()


def _burst_worker(settings: Settings, environment: Mapping[str, str], log: Log) -> AbstractContextManager[None]:
    """Run an ordinary process worker of Prefect: bursts need no device, and each gets a process of its own."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", BURST_POOL, "--type", "process"]
    # The worker gives each run a temporary folder.
    folder = settings.working_folder or Path.cwd()
    own = {"PREFECT_WORKER_QUERY_SECONDS": "2", variable_of("working_folder"): str(folder)}
    environment = {**environment, **prefect_environment(settings), **own}
    return supervised(command, environment, settings.home / "logs" / "burst-worker.log", log=log)


def _gallery_server(
    settings: Settings, environment: Mapping[str, str], port: int, log: Log
) -> AbstractContextManager[None]:
    command = [sys.executable, "-m", "flows.cli.main", "serve", "--port", str(port), "--revive"]
    return supervised(command, environment, settings.home / "logs" / "galleries.log", log=log)
