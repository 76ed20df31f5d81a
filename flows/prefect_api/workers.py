"""Workers and servers beside a command, also those of `pixelmill up`; workers that are online in a work pool."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from configs.failures import Log, PixelmillError, RestartPolicy
from configs.settings.environment import module_command
from configs.settings.privacy import own_folder
from configs.settings.settings import Settings, variable_of
from flows.prefect_api.api import ServerError
from flows.prefect_api.deployments import BURST_POOL, all_deployments, ensure_pool_and_deployments
from flows.prefect_api.log_files import limit_log, limit_log_until
from flows.prefect_api.schedules import skip_missed
from flows.prefect_api.server import is_own, local_server, require_port
from gpu_worker.device.device import MISSING, can_compute
from gpu_worker.monitor.logs import prefect_environment

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Worker

SHORT_LIFE_SECONDS = 60.0  # a process that ends sooner may have something wrong that a restart won't mend
RESTARTS = RestartPolicy(first_seconds=1.0, longest_seconds=30.0)  # of such a process
END_SECONDS = 15.0
LOOK_SECONDS = 10.0  # between checks of the pool's workers; its server notices a lost one after 25 s at best
DEFAULT_INTERVAL = 30  # seconds between the heartbeats of a worker that does not report it
SIGNAL_SECONDS = 0.5  # between checks for a signal
PATIENCE = 2.5  # heartbeats; the server itself calls a killed worker online for longer


class NoWorker(PixelmillError):
    """No worker can compute the images; the message names the remedy."""


@contextmanager
def fleet(settings: Settings, log: Log) -> Iterator[str]:
    """Yield the URL of a Prefect API with our work pools and deployments, and at least one worker.

    With the user's own API (`PREFECT_API_URL`), a worker is started here only while its pool has none; a local server
    always gets one. Processes that were started here end with the context.

    Raises NoWorker if neither a fleet nor this installation can compute images.
    """
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    is_remote = bool(PREFECT_API_URL.value())
    if not is_remote:
        if not can_compute():
            raise NoWorker(MISSING)
        log("starting the Prefect server")
    with local_server(settings) as api_url:
        # Heartbeats are for automations, which a local server does not run; a flow run waits for them at its end.
        quiet = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if is_own(api_url, settings) else {}
        with temporary_settings({PREFECT_API_URL: api_url}, set_defaults=quiet):
            ensure_pool_and_deployments(settings)
            here = can_compute()
            needed = (lambda: here and not workers_online(settings.work_pool)) if is_remote else (lambda: True)
            with worker_process(settings, api_url, needed=needed, log=log):
                try:
                    yield api_url
                finally:
                    APILogHandler().flush()  # Prefect sends logs seconds later, when the server has ended


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
        for deployed in ensure_pool_and_deployments(settings, wanted):
            for warning in deployed.warnings:
                log(f"warning: {warning}")
        # Checked only now, when the galleries of an `up` that was killed a moment ago have ended.
        require_port(gallery_port)
        if missed := skip_missed():
            log(f"{missed:,} scheduled flow runs were missed: the newest of each schedule makes up for them")
        log("starting the workers")
        galleries = settings.gallery_url or f"http://127.0.0.1:{gallery_port}"
        environment = {**os.environ, "PREFECT_API_URL": api_url, variable_of("gallery_url"): galleries}
        stack.enter_context(worker_process(settings, api_url, log=log))
        stack.enter_context(_burst_worker(settings, environment, log))
        command = module_command("flows.cli.main", "serve", "--port", str(gallery_port), "--revive")
        stack.enter_context(supervised(command, environment, settings.home / "logs" / "galleries.log", log=log))
        log(f"ready: {api_url.removesuffix('/api')} (Ctrl-C stops it)")
        log(f"galleries: {galleries}; logs: {settings.home / 'logs'}")
        # Not an event, whose lock the handler would need, and not an endless wait, which would miss a signal that comes
        # just before it.
        while not signals:
            time.sleep(SIGNAL_SECONDS)
        log("stopping")


def _single_instance(settings: Settings) -> AbstractContextManager[object]:
    """Take the lock of the only `up` of this home, for a context. Raises ServerError."""
    folder = settings.home / "prefect"
    own_folder(folder)
    try:
        return FileLock(folder / "up.lock", timeout=0).acquire()
    except Timeout as taken:
        raise ServerError(
            f"`pixelmill up` runs already for {settings.home}: end it first, or give this one a home of its own "
            "(PIXELMILL_HOME)."
        ) from taken


def _burst_worker(settings: Settings, environment: Mapping[str, str], log: Log) -> AbstractContextManager[None]:
    """Run an ordinary process worker of Prefect: bursts need no device, and each gets a process of its own.

    The worker limits them, not its pool: a pool's limit counts flow runs whose processes died with an earlier `up`.
    """
    limit = ("--limit", str(settings.max_bursts))
    command = module_command("prefect", "worker", "start", "--pool", BURST_POOL, "--type", "process", *limit)
    # The worker gives each run a temporary folder.
    folder = settings.working_folder or Path.cwd()
    own = {"PREFECT_WORKER_QUERY_SECONDS": "2", variable_of("working_folder"): str(folder)}
    environment = {**environment, **prefect_environment(settings), **own}
    return supervised(command, environment, settings.home / "logs" / "burst-worker.log", log=log)


def worker_process(
    settings: Settings, api_url: str, *, needed: Callable[[], bool] = lambda: True, log: Log | None = None
) -> AbstractContextManager[None]:
    """Run a worker beside this process while it is needed; its log is in the home folder."""
    environment = os.environ | {"PREFECT_API_URL": api_url}
    command = module_command(
        "flows.cli.main", "worker", "start", "--pool", settings.work_pool, "--parent", str(os.getpid())
    )
    return supervised(command, environment, settings.home / "logs" / "worker.log", needed=needed, log=log)


@contextmanager
def supervised(
    command: list[str],
    environment: Mapping[str, str],
    log_file: Path,
    *,
    needed: Callable[[], bool] = lambda: True,
    log: Log | None = None,
) -> Iterator[None]:
    """Keep a command running while it is needed, until the end of the context or of this process, even a killed one.

    The command's first word is the path of a program. A process that ends is restarted, at growing intervals while it
    lives only shortly; that is logged. Its log is kept at a size.
    """
    own_folder(log_file.parent)
    limit_log(log_file)
    ending = threading.Event()
    limit_log_until(ending, log_file)
    changing = threading.Lock()
    running: list[subprocess.Popen[bytes]] = []
    # A worker or a server that was left behind would keep the old settings and hold the port.
    tied = module_command("gpu_worker.monitor.parent_death", str(os.getpid()), *command)

    def start() -> bool:
        with changing, log_file.open("ab") as output:
            if ending.is_set():
                return False
            running[:] = [
                subprocess.Popen(
                    tied, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                )
            ]
        return True

    def watch() -> None:
        short_lives = 0
        while not ending.is_set():
            while not needed():
                if ending.wait(LOOK_SECONDS):
                    return
            if not start():
                return
            started = time.monotonic()
            status = running[0].wait()
            short_lives = short_lives + 1 if time.monotonic() - started < SHORT_LIFE_SECONDS else 0
            if short_lives > 1:
                if log is not None and not ending.is_set():
                    log(f"a process keeps ending (status {status}) and is started again: see {log_file}")
                ending.wait(RESTARTS.pause(short_lives - 1))

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


def workers_online(pool: str) -> int:
    """Return the number of workers of the pool with a recent heartbeat."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return sum(_alive(worker) for worker in client.read_workers_for_work_pool(pool))


def _alive(worker: "Worker") -> bool:
    if worker.last_heartbeat_time is None:
        return False
    silence = datetime.now(UTC) - worker.last_heartbeat_time
    return silence < timedelta(seconds=PATIENCE * (worker.heartbeat_interval_seconds or DEFAULT_INTERVAL))


def why_idle(pool: str, queue: str, client: "SyncPrefectClient") -> str | None:
    """Return why the queue's flow runs do not start, with the remedy, or None if they only wait for their turn."""
    from prefect.exceptions import ObjectNotFound

    try:
        found = client.read_work_pool(pool)
        line = client.read_work_queue_by_name(queue, work_pool_name=pool)
    except ObjectNotFound:
        return f"work pool {pool!r} or its queue {queue!r} is gone: `pixelmill deploy` creates them"
    for what, paused, limit in (
        (f"work pool {pool!r}", found.is_paused, found.concurrency_limit),
        (f"queue {queue!r} of work pool {pool!r}", line.is_paused, line.concurrency_limit),
    ):
        if paused:
            return f"{what} is paused: resume it in the Prefect UI (Work Pools)"
        if limit == 0:
            return f"{what} has a concurrency limit of 0: raise or remove it in the Prefect UI (Work Pools)"
    if not workers_online(pool):
        return f"no worker is online in work pool {pool!r}: start one with `pixelmill worker start`"
    return None
