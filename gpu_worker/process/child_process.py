"""The parent's end of the warm child: start it, hand it flow runs, notice its end, stop it, start the next one."""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from configs.reporting import PixelmillError
from gpu_worker.process.worker_child import ABANDON_SIGNAL, ChildSpec
from gpu_worker.process.worker_metrics import ChildReports, WorkerMetrics

FIRST_RESTART_SECONDS = 1.0
LAST_RESTART_SECONDS = 60.0
LAST_WORDS_SECONDS = 1.0
REPLY_BYTES = 2**20  # of a line, at most: what a child tells of hundreds of steps and models
STOP_SECONDS = 3.0  # for an idle child to end in order, or for a running one to leave its flow

# Why a signal may have ended the child, for the person who reads the flow run's state.
_SIGNAL_HINTS = {
    signal.SIGKILL: "most likely the machine ran out of memory: lower PIXELMILL_MICRO_BATCH or "
    "PIXELMILL_VRAM_BUDGET_MB, or use a machine with more memory",
    signal.SIGSEGV: "a native library crashed: see the worker's output",
    signal.SIGABRT: "a native library gave up: see the worker's output",
    signal.SIGBUS: "a native library crashed, or a disk or shared memory is full: see the worker's output",
    signal.SIGTERM: "somebody asked it to stop",
}


class ChildEnded(PixelmillError):
    """The child is gone in the midst of a flow run. `status` as of subprocess: negative is the number of a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(describe_end(status))
        self.status = status


def describe_end(status: int) -> str:
    """What a person should read about the child's end."""
    if status >= 0:
        return f"The worker's process ended with status {status}: see the worker's output."
    number = -status
    try:
        name = signal.Signals(number).name
        hint = _SIGNAL_HINTS.get(signal.Signals(number))
    except ValueError:
        name, hint = str(number), None
    return f"The worker's process was ended by signal {name}" + (f" ({hint})." if hint else ".")


class WorkerChild:
    """A running child process. `environment` is the whole environment it was started with."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        environment: Mapping[str, str],
        reports: ChildReports | None = None,
    ) -> None:
        self.environment = environment
        self._process = process
        self._reports = reports
        self._replies: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._running = False
        self._reader = asyncio.create_task(self._read_replies())

    @classmethod
    async def start(
        cls, environment: Mapping[str, str], *, worker: str = "", reports: ChildReports | None = None
    ) -> "WorkerChild":
        """Starts a child without waiting until it is ready. It tells its figures to `reports`."""
        birth = ChildSpec(time.monotonic(), worker=worker, figures=reports is not None)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gpu_worker.process.worker_child",
            str(os.getpid()),
            birth.as_argument(),
            limit=REPLY_BYTES,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent; and a group of its own takes its helpers along
        )
        return cls(process, environment, reports)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives, as far as is known by now."""
        return self._process.returncode is None

    async def ready(self) -> str | None:
        """Waits until the child takes flow runs; returns what was wrong with warming it. Raises ChildEnded."""
        problem: str | None = (await self._reply("ready"))["problem"]
        return problem

    async def run(self, flow_run_id: str, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
        """Runs a flow run; returns what kept it from reaching a state of its own, and that state. Raises ChildEnded."""
        self._running = True
        try:
            await self._send(kind="run", flow_run_id=flow_run_id, environment=dict(environment))
            await self._reply("started")
            reply = await self._reply("finished")
            return reply["problem"], reply["result"]
        finally:
            self._running = False

    async def ended(self) -> int:
        """Waits for the child's end and ends what it may have left behind; returns its status."""
        status = await self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return status

    async def stop(self, grace: float = STOP_SECONDS) -> None:
        """Ends the child: a flow run is abandoned without a report. Killed after `grace` seconds."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, ConnectionError):
                if self._running:
                    self._process.send_signal(ABANDON_SIGNAL)
                else:
                    await self._send(kind="shutdown")
            try:
                await asyncio.wait_for(self._process.wait(), grace)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.kill()
        await self.ended()
        # Its last words are in the pipe; a helper of its own that got away could hold that open for ever.
        await asyncio.wait([self._reader], timeout=LAST_WORDS_SECONDS)
        self._reader.cancel()

    async def _send(self, **message: object) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # it is gone, which the reply will tell
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()

    async def _reply(self, kind: str) -> dict[str, Any]:
        reply = await self._replies.get()
        if reply is None:
            self._replies.put_nowait(None)  # for whoever asks next
            raise ChildEnded(await self.ended())
        if reply["kind"] != kind:
            raise RuntimeError(f"The worker's process replied {reply['kind']!r} where {kind!r} was due.")
        return reply

    async def _read_replies(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                reply = json.loads(line)
                if reply["kind"] != "figures":
                    self._replies.put_nowait(reply)
                elif self._reports is not None:
                    self._reports.take(reply["samples"])
        finally:
            self._replies.put_nowait(None)
            if self._reports is not None:
                self._reports.close()


class ChildKeeper:
    """Keeps one child running: a new one as soon as the last one ended, at growing intervals if it can't start."""

    def __init__(
        self,
        environment: Mapping[str, str],
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
        metrics: WorkerMetrics,
    ) -> None:
        self._environment = dict(environment)
        self._logger, self._metrics = logger, metrics
        self._ready = asyncio.Event()
        self._child: WorkerChild | None = None

    @property
    def child(self) -> WorkerChild | None:
        """The child of this moment, whether it is ready or not."""
        return self._child

    @property
    def is_starting(self) -> bool:
        """Whether the child lives and does not take flow runs yet: loading models may take it minutes."""
        return not self._ready.is_set() and self._child is not None and self._child.is_running

    async def keep(self) -> None:
        """Runs until cancelled; then stops the child."""
        pause = FIRST_RESTART_SECONDS
        while True:
            try:
                self._child = child = await self._start()
            except OSError as error:
                # Too many processes, no memory, a file system that is away: what another try may find mended.
                self._logger.error("The warm process could not be started (%s); trying again in %.0f s.", error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_RESTART_SECONDS)
                continue
            try:
                await self._serve(child)
                pause = FIRST_RESTART_SECONDS
            except ChildEnded as end:
                self._logger.error("%s It could not start; trying again in %.0f s.", end, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_RESTART_SECONDS)
            finally:
                self._ready.clear()
                self._metrics.child_ended()
                await asyncio.shield(child.stop())

    async def _start(self) -> WorkerChild:
        reports = self._metrics.figures.open() if self._metrics.is_wanted else None
        child = await WorkerChild.start(self._environment, worker=self._metrics.worker, reports=reports)
        self._metrics.child_started(child.pid)
        return child

    async def _serve(self, child: WorkerChild) -> None:
        problem = await child.ready()
        if problem is not None:
            self._logger.error("%s", problem)
        self._metrics.child_ready()
        self._logger.info("Warm process %d is ready", child.pid)
        self._ready.set()
        status = await child.ended()
        self._logger.info("Warm process %d: %s", child.pid, describe_end(status))

    async def ready(self) -> None:
        """Waits until a child takes flow runs."""
        await self._ready.wait()

    async def ready_child(self, environment: Mapping[str, str]) -> WorkerChild:
        """A child that takes flow runs and was started with `environment`, if need be in the place of another."""
        while True:
            await self._ready.wait()
            child = self._child
            if child is not None and child.environment == environment:
                return child
            self._logger.info("Starting the warm process anew: this flow run wants other environment variables")
            self._environment = dict(environment)
            self._ready.clear()
            if child is not None:
                await child.stop()
