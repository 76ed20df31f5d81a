"""`pixelmill up`: the local server with its UI, the deployments and the workers in one foreground command."""

import os
import signal
import sys
import threading
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from configs.settings import Settings, variable_of
from flows.deployments import BURST_POOL, ensure_pool_and_deployments
from flows.local import Say, supervised, worker_process
from flows.server import local_server


def serve_forever(settings: Settings, *, port: int, say: Say) -> None:
    """Runs until SIGINT or SIGTERM; what it started ends with it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        say("starting the Prefect server")
        api_url = stack.enter_context(local_server(settings, port=port, ui=True))
        stack.enter_context(temporary_settings({PREFECT_API_URL: api_url}))
        ensure_pool_and_deployments(settings)
        say("starting the workers")
        stack.enter_context(worker_process(settings, api_url))
        stack.enter_context(_burst_worker(settings, api_url))
        say(f"ready: {api_url.removesuffix('/api')} (Ctrl-C stops it); logs in {settings.home / 'logs'}")
        stop.wait()
        say("stopping")


def _burst_worker(settings: Settings, api_url: str) -> AbstractContextManager[None]:
    """Bursts need no device: an ordinary process worker of Prefect runs them, each in a process of its own."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", BURST_POOL, "--type", "process"]
    environment = os.environ | {
        "PREFECT_API_URL": api_url,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        variable_of("working_folder"): str(
            settings.working_folder or Path.cwd()
        ),  # the worker gives runs a temporary one
    }
    return supervised(command, environment, settings.home / "logs" / "burst-worker.log")
