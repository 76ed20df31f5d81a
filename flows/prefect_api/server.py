"""A Prefect API for one command: the user's own, or a real server on SQLite that ends with its last user."""

import fcntl
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock
from typing_extensions import override

from configs.failures import RestartPolicy
from configs.settings.environment import module_command
from configs.settings.privacy import own_folder
from configs.settings.settings import Settings
from flows.prefect_api.api import ServerError, configured_api_url, health_problem, require_answer
from flows.prefect_api.log_files import limit_log_until
from storage.ledger.lease import process_start

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

logger = logging.getLogger(__name__)

USERS_LOCK, DATABASE = "users.lock", "prefect.db"  # in a folder of the home
LOOK_SECONDS = 1.0
RESTARTS = RestartPolicy(most=2)  # of a server that is killed while it starts
REVIVALS = RestartPolicy(first_seconds=1.0, longest_seconds=60.0)  # of one that cannot start again, or dies soon
SHORT_LIFE_SECONDS = 60.0
START_SECONDS = 120.0  # a cold disk and a first migration; a warm start takes a tenth of it
LOG_TAIL_LINES = 15
END_SECONDS = 10.0  # for an orderly end; SQLite is safe against a harder one
# Errors of SQLite and Alembic about a file that is damaged, or that a newer Prefect has migrated.
_UNUSABLE = re.compile(r"file is not a database|database disk image is malformed|Can't locate revision identified by")

# Schedules, automations and housekeeping of months, which no single command needs. `pixelmill up` has them all.
_UNUSED_SERVICES = ("SCHEDULER", "LATE_RUNS", "PAUSE_EXPIRATIONS", "TRIGGERS", "REPOSSESSOR", "CLEANUP_RECONCILER")


@contextmanager
def local_server(
    settings: Settings, *, port: int | None = None, ui: bool = False, start_seconds: float = START_SECONDS
) -> Iterator[str]:
    """Yield the URL (`…/api`) of a Prefect API that answers.

    `PREFECT_API_URL`, from the environment or the active profile, comes first. Otherwise the server of `settings.home`
    is joined, or started on 127.0.0.1 at `port` or a free one. It is restarted at the same address if it dies, and ends
    with its last user, even if all of them are killed. Its database is `home/prefect/prefect.db`, its log
    `home/logs/server.log`.

    Raises ServerError if the API does not answer, the server does not start within `start_seconds`, or a server of this
    home runs with another port or without the UI.
    """
    if own := configured_api_url():
        require_answer(own)
        yield own
        return
    home = _home(settings)
    folder = home / "prefect"
    own_folder(folder)
    with _counted_as_user(folder):
        with _start_lock(folder):
            server = _running_server(folder)
            if server is None:
                server = _start(settings, port=port, ui=ui, seconds=start_seconds)
            elif (port is not None and server.port != port) or (ui and not server.ui):
                raise ServerError(
                    f"A Prefect server for {home} runs already at {server.url}, on another port or without the UI: "
                    "end the command that uses it, or give this one a home of its own (PIXELMILL_HOME)."
                )
        with _kept_alive(server, settings, start_seconds):
            yield server.url


def is_own(url: str, settings: Settings) -> bool:
    """Return whether the API at `url` belongs to a server that Pixelmill started for `settings.home`."""
    server = _recorded_server(_home(settings) / "prefect")
    return server is not None and server.url == url.rstrip("/")


def _home(settings: Settings) -> Path:
    return settings.home.expanduser().resolve()


@contextmanager
def _kept_alive(server: "_Server", settings: Settings, seconds: float) -> Iterator[None]:
    """Restart the server when it dies; one of several users does, the others find it running."""
    folder = _home(settings) / "prefect"
    ending = threading.Event()

    def watch() -> None:
        pid, vain, began = server.pid, 0, time.monotonic()
        while not ending.wait(REVIVALS.pause(vain) if vain else LOOK_SECONDS):
            if _is_alive(pid):
                vain = 0 if time.monotonic() - began > SHORT_LIFE_SECONDS else vain
                continue
            vain += 1
            try:
                with _start_lock(folder):
                    if ending.is_set():
                        return
                    found = _running_server(folder)
                    if found is None:
                        logger.warning("the Prefect server is gone: starting it again")
                        found = _start(settings, port=server.port, ui=server.ui, seconds=seconds)
                    pid, began = found.pid, time.monotonic()
            except ServerError as error:
                logger.warning("the Prefect server could not be restarted, trying again: %s", error)

    thread = threading.Thread(target=watch, name="server-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _is_alive(pid: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a zombie child would seem to live
    return bool(process_start(pid))


class _Server(NamedTuple):
    pid: int
    port: int
    ui: bool
    start: str  # as `process_start` gives it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"


def require_port(port: int) -> None:
    """Raise ServerError if this port of 127.0.0.1 is taken."""
    with socket.socket() as listener:
        _bind(listener, port)


def _bind(listener: socket.socket, port: int) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        raise ServerError(f"Port {port} cannot be used ({error.strerror}): choose another one.") from error


def _start_lock(folder: Path) -> FileLock:
    return FileLock(folder / "start.lock", mode=0o600)


@contextmanager
def _counted_as_user(folder: Path) -> Iterator[None]:
    """Hold the users' lock, shared with all other users; the kernel drops it if this process is killed."""
    descriptor = _open_users_lock(folder / USERS_LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _open_users_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _running_server(folder: Path) -> _Server | None:
    """Return the server of this home if it answers."""
    server = _recorded_server(folder)
    return server if server is not None and health_problem(server.url, timeout=5) is None else None


def _recorded_server(folder: Path) -> _Server | None:
    """Return the server in this home's file if its process lives; it may not answer."""
    try:
        document: dict[str, Any] = json.loads((folder / "server.json").read_text())
        server = _Server(int(document["pid"]), int(document["port"]), bool(document["ui"]), str(document["start"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Process ids are reused, and another home's server may listen at the port by now.
    return server if server.start and process_start(server.pid) == server.start else None


class _ServerKilled(ServerError):
    """A signal ended the server's process while it started, for no reason of its own."""


def _start(settings: Settings, *, port: int | None, ui: bool, seconds: float) -> _Server:
    """Start a server and wait until it answers; a server that is killed meanwhile is started again."""
    kills = 0
    while True:
        try:
            return _start_once(settings, port=port, ui=ui, seconds=seconds)
        except _ServerKilled as killed:
            kills += 1
            if not RESTARTS.allows(kills):
                raise
            logger.warning("starting the Prefect server again: %s", str(killed).partition("\n")[0])


def _start_once(settings: Settings, *, port: int | None, ui: bool, seconds: float) -> _Server:
    """Start a server and wait until it answers; the caller holds both locks."""
    folder = _home(settings) / "prefect"
    log = _home(settings) / "logs" / "server.log"
    own_folder(log.parent)
    log.write_bytes(b"")
    # Bound here and inherited there: no other process can take a free port in between.
    with socket.socket() as listener:
        _bind(listener, port or 0)
        number = int(listener.getsockname()[1])
        with log.open("ab") as output:  # at its end, also after it was cut
            process = subprocess.Popen(
                module_command("flows.prefect_api.server", str(listener.fileno()), str(folder / USERS_LOCK), str(log)),
                env=os.environ | _server_environment(folder, number, ui=ui) | retention(settings, ui=ui),
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends its users, and so the server
            )
    server = _Server(process.pid, number, ui, process_start(process.pid))
    try:
        _wait_until_healthy(server, process, log, folder / DATABASE, seconds)
    except BaseException:
        process.kill()
        process.wait()
        raise
    state = folder / "server.json.new"
    state.write_text(json.dumps(server._asdict()))
    state.replace(folder / "server.json")
    return server


def _wait_until_healthy(
    server: _Server, process: subprocess.Popen[bytes], log: Path, database: Path, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while (status := process.poll()) is None and time.monotonic() < deadline:
        if health_problem(server.url, timeout=1) is None:
            return
        time.sleep(0.05)
    what = f"did not answer within {seconds:.0f} s" if status is None else f"ended with status {status}"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    if unusable := _UNUSABLE.search(tail):
        raise ServerError(
            f"The Prefect server {what}: its database {database} cannot be used ({unusable[0]}). Restore a copy, or "
            "move the file away, together with those that end in -wal and -shm: the ledger keeps the jobs, but past "
            f"flow runs and settings of the UI, with schedules, are lost. The server's log: {log}."
        )
    kind = _ServerKilled if status is not None and status < 0 else ServerError
    raise kind(f"The Prefect server {what}. The end of its log, {log}:\n{tail}")


def _server_environment(folder: Path, port: int, *, ui: bool) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(folder),  # its own profile: the user's may name another server
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / DATABASE}",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        # By default a page of any origin may use the API, from any browser on this machine.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": os.environ.get(
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS", f"http://127.0.0.1:{port},http://localhost:{port}"
        ),
        "PREFECT_SERVER_UI_ENABLED": str(ui),
        "PREFECT_API_BLOCKS_REGISTER_ON_START": str(ui),  # a second of the start that only forms of the UI need
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # By default the recorder of task runs falls behind, and then drops events.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": str(ui),  # events, which only the UI shows
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        **{f"PREFECT_SERVER_SERVICES_{service}_ENABLED": str(ui) for service in _UNUSED_SERVICES},
    }


def retention(settings: Settings, *, ui: bool) -> dict[str, str]:
    """Return the variables that have the server of `pixelmill up` delete old flow runs, unless the operator sets them.

    Prefect itself deletes old events, and nothing else.
    """
    days = settings.history_days
    wanted = {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs" if days and ui else "events",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str((days or 1) * 24 * 3600),
    }
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def main(socket_fd: int, users_lock: Path, log: Path) -> None:
    """Serve on the bound socket `socket_fd` while `users_lock` has holders, and keep the server's log at a size.

    The process of a local server: `python -m flows.prefect_api.server SOCKET_FD USERS_LOCK LOG`.
    """
    os.umask(0o077)  # its database holds logs and parameters of flow runs
    threading.Thread(target=_end_without_users, args=(users_lock,), name="users-watch", daemon=True).start()
    limit_log_until(threading.Event(), log)
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from configs.settings.settings import load_settings
    from flows.prefect_api.served_hosts import OnlyForThisMachine
    from gpu_worker.monitor.logs import use_logs

    with _patient_database():
        config = uvicorn.Config(
            OnlyForThisMachine(create_app(final=True), behind=[get_current_settings().server.ui.api_url]),
            log_level=get_current_settings().server.logging_level.lower(),
            timeout_graceful_shutdown=3,
        )
        use_logs(load_settings())  # after uvicorn and Prefect have set up theirs
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=socket_fd)])


def _patient_database() -> AbstractContextManager[None]:
    """Have the server's code of this process take SQLite's write lock at the start of every transaction.

    Prefect begins most transactions as reads. SQLite cannot turn a read into a write after another write, and fails at
    once, whatever its busy timeout: the API then answers 503, and the client waits two seconds or more before it
    retries. With four busy workers that took most of the time between two shards.
    """
    from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
    from prefect.server.database.dependencies import temporary_database_config
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    class PatientSqliteConfiguration(AioSqliteConfiguration):
        @override
        @asynccontextmanager
        async def begin_transaction(
            self, session: "AsyncSession", with_for_update: bool = False
        ) -> "AsyncGenerator[AsyncSessionTransaction, None]":
            # A transaction within another, on its own connection, would wait for the outer lock for ever.
            outermost = SQLITE_BEGIN_MODE.get() is None
            immediate = with_for_update or outermost
            async with super().begin_transaction(session, with_for_update=immediate) as transaction:
                if not immediate:
                    yield transaction
                    return
                # This takes the lock. A session that only reads meanwhile, as after the pausing of a queue, begins in
                # the mode that it finds: it would wait for that lock.
                await session.connection()
                token = SQLITE_BEGIN_MODE.set("DEFERRED")
                try:
                    yield transaction
                finally:
                    SQLITE_BEGIN_MODE.reset(token)

    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    assert url is not None
    return temporary_database_config(PatientSqliteConfiguration(connection_url=url))


def _end_without_users(users_lock: Path) -> None:
    # Held until the process is gone, so that a new user waits for the end instead of meeting a dying server.
    fcntl.flock(_open_users_lock(users_lock), fcntl.LOCK_EX)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
