"""One container of the fleet as a native process: started, restarted by its policy, asked how it is, killed."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0  # seconds before a restart, doubled each time: as Docker does it
LONG_LIFE = 10.0  # seconds after which the pause begins anew
HEALTH_SECONDS = 15.0
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Launch:
    """What to start: the command, its environment and working folder, what to ask it, and when to start it again."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    health: Sequence[str]
    restart: str
    log: Path
    before: Callable[[], None] = lambda: None  # what the image's entry point does before each start


class Container:
    """A service's process and what it started. Its restart policy is kept by a thread."""

    def __init__(self, name: str, launch: Launch) -> None:
        self.name = name
        self.starts = 0
        self.exit_status: int | None = None  # of the last process that ended
        self._launch = launch
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"container {name}", daemon=True)

    @property
    def log(self) -> Path:
        return self._launch.log

    def start(self) -> None:
        self._start_once()
        self._keeper.start()

    @property
    def has_succeeded(self) -> bool:
        """It has ended, and well: for one that is to run once."""
        return self.exit_status == 0 and self._launch.restart == "no"

    @property
    def has_failed(self) -> bool:
        """It has ended and will not be started again, and not well."""
        return self.exit_status not in (None, 0) and self._launch.restart == "no"

    def is_healthy(self) -> bool:
        """What its health check says now; without one, whether it runs."""
        if not self.processes():
            return False
        if not self._launch.health:
            return True
        try:
            done = subprocess.run(
                list(self._launch.health),
                env=dict(self._launch.environment),
                cwd=self._launch.folder,
                check=False,
                capture_output=True,
                timeout=HEALTH_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def processes(self) -> list[psutil.Process]:
        """All of its living processes, the first one first."""
        with self._lock:
            process = self._process
        if process is None or process.poll() is not None:
            return []
        try:
            first = psutil.Process(process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def process_of(self, word: str) -> psutil.Process | None:
        """The innermost of its processes with this word in its command line."""
        found = [process for process in self.processes() if word in _command_line(process)]
        return found[-1] if found else None

    def kill(self) -> None:
        """SIGKILL for everything in it, as the end of a machine or `docker kill` would: its policy starts it again."""
        for process in self.processes():
            _kill(process)

    def end(self) -> None:
        """Ends it for good, at once."""
        self._stopping.set()
        while processes := self.processes():
            for process in processes:
                _kill(process)
            psutil.wait_procs(processes, STOP_SECONDS)
        if self._keeper.ident is not None:
            self._keeper.join(STOP_SECONDS)

    # -- the restart policy --------------------------------------------------------------------------------------------
    def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            assert self._process is not None
            began = time.monotonic()
            self.exit_status = self._process.wait()
            if self._launch.restart == "no":
                return
            pause = FIRST_PAUSE if time.monotonic() - began > LONG_LIFE else min(2 * pause, LONGEST_PAUSE)
            if self._stopping.wait(pause):
                return
            self._start_once()

    def _start_once(self) -> None:
        self._launch.before()
        with self._lock, self._launch.log.open("ab") as log:
            log.write(f"--- start {self.starts + 1} at {time.strftime('%H:%M:%S')}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                list(self._launch.command),
                env=dict(self._launch.environment),
                cwd=self._launch.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the test, which cleans up
            )
            self.starts += 1


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _kill(process: psutil.Process) -> None:
    try:
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
