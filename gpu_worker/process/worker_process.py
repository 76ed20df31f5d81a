"""The process of `pixelmill worker start`, from its first message to an orderly or hard end."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable

from configs.settings.settings import Settings
from gpu_worker.device.device import MISSING, can_compute
from gpu_worker.monitor.logs import use_logs
from gpu_worker.monitor.parent_death import end_with_parent
from gpu_worker.process.prefect_worker import PixelmillWorker

logger = logging.getLogger(__name__)

QUERY_SECONDS = 0.5  # Prefect's 10 s are a long wait after submitting a job; a count of what waits costs 7 ms
HEARTBEAT_SECONDS = 10  # shows within half a minute that a worker was killed
CANCEL_AGAIN_SECONDS = 2.0
HARD_END_SECONDS = 25.0  # longer than an orderly end takes


def start_worker(
    pool: str,
    settings: Settings,
    *,
    name: str | None = None,
    parent: int | None = None,
    with_healthcheck: bool = False,
) -> int:
    """Run a worker until SIGINT or SIGTERM, or the death of process `parent`; return the process's exit status.

    Creates the work pool if it is missing. Needs a Prefect API (`PREFECT_API_URL`). `with_healthcheck` answers
    `GET /health` on `PREFECT_WORKER_WEBSERVER_HOST` and `_PORT`: 200 or 503. Raises InvalidInput for settings with
    mistakes. A worker with a parent starts without its page of metrics if the port is taken.
    """
    if not can_compute():
        _print(MISSING)
        return 2
    if parent is not None:
        end_with_parent(parent, signal.SIGTERM)
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_WORKER_HEARTBEAT_SECONDS,
        PREFECT_WORKER_QUERY_SECONDS,
        temporary_settings,
    )

    use_logs(settings)
    log = logger.info if settings.log_format == "json" else _print

    async def serve() -> None:
        # Readable, and different for several workers of a machine.
        readable = name or f"{socket.gethostname()}-{os.getpid()}"
        worker = PixelmillWorker(pool, name=readable, settings=settings, needs_metrics=parent is None)
        working = asyncio.ensure_future(worker.start(with_healthcheck=with_healthcheck, printer=log))
        _end_on_signals(working, worker, log)
        await working

    if not PREFECT_API_URL.value():
        log("PREFECT_API_URL is not set: start a server (`pixelmill up`) and set it to the server's address.")
        return 2
    patience = {PREFECT_WORKER_QUERY_SECONDS: QUERY_SECONDS, PREFECT_WORKER_HEARTBEAT_SECONDS: HEARTBEAT_SECONDS}
    with temporary_settings(set_defaults=patience):
        try:
            asyncio.run(serve())
        except (KeyboardInterrupt, asyncio.CancelledError):
            log("The worker has stopped.")
    return 0


def _end_on_signals(working: "asyncio.Future[None]", worker: PixelmillWorker, log: Callable[[str], object]) -> None:
    """End the worker on SIGINT and SIGTERM. Repeats the cancellation, which can get lost in a library's task."""
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        if not (working.done() or worker.is_stopping):
            working.cancel()
            loop.call_later(CANCEL_AGAIN_SECONDS, cancel)

    def end() -> None:
        log("The worker is stopping.")
        cancel()
        loop.call_later(HARD_END_SECONDS, os._exit, 1)  # its child ends with it

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the output of a command
