"""Small flows that a worker runs in the tests. They tell of themselves in files."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from prefect import flow, get_run_logger, task


@task
def write_pid(path: str) -> None:
    Path(path).write_text(str(os.getpid()))


@flow(persist_result=False)
def note_pid(path: str) -> None:
    get_run_logger().info("noted in %s", path)
    write_pid(path)


@flow(persist_result=False)
async def note_pid_async(path: str) -> None:
    await asyncio.sleep(0)
    Path(path).write_text(str(os.getpid()))


@flow(persist_result=False)
def hang(path: str) -> None:
    write_pid(path)
    time.sleep(600)


@flow(persist_result=False)
def hang_in_spite(path: str) -> None:
    """Does not go when asked: as native code that never returns to the interpreter."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
    hang(path)


@flow(persist_result=False)
def fail() -> None:
    raise ValueError("as intended")


@flow(persist_result=False)
def leave() -> None:
    sys.exit(3)


@flow(persist_result=False)
def note_environment(path: str) -> None:
    Path(path).write_text(f"{os.getpid()} {os.environ.get('PROBE')}")
