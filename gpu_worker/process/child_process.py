"""The parent's side of the worker's child: start it, hand it flow runs, notice its end, stop it, start the next one."""

import asyncio
import json
import logging
import math
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from configs.failures import PixelmillError, RestartPolicy
from configs.settings.environment import module_command
from gpu_worker.process.worker_child import ABANDON_SIGNAL, ChildSpec
from gpu_worker.process.worker_metrics import ChildMetrics, ChildReports, WorkerMetrics

RESTARTS = RestartPolicy(first_seconds=1.0, longest_seconds=60.0)
SHORT_LIFE_SECONDS = 10.0  # a child that ends sooner after it was ready may do so every time
LAST_REPLIES_SECONDS = 1.0
REPLY_BYTES = 2**20  # longest line: a child may report the metrics of hundreds of steps and models
STOP_SECONDS = 3.0  # for an idle child to shut down, or for a running one to leave its flow

# The likely reason for a signal, shown in the flow run's state.
_SIGNAL_HINTS = {
    signal.SIGKILL: "most likely the machine ran out of memory: lower PIXELMILL_MICRO_BATCH or "
    "PIXELMILL_VRAM_BUDGET_MB, or use a machine with more memory",
    signal.SIGSEGV: "a native library crashed: see the worker's output",
    signal.SIGABRT: "a native library aborted: see the worker's output",
    signal.SIGBUS: "a native library crashed, or a disk or shared memory is full: see the worker's output",
    signal.SIGTERM: "it was asked to stop",
}


class ChildEnded(PixelmillError):
    """The child ended during a flow run. `status` is as in subprocess: negative for the number of a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(describe_end(status))
        self.status = status


def describe_end(status: int) -> str:
    """Return a sentence about the child's end for the flow run's state and the log."""
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
    """A running child process. `environment` is the whole environment that it was started with."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        environment: Mapping[str, str],
        metrics: ChildMetrics | None = None,
    ) -> None:
        self.environment = environment
        self._process = process
        self._metrics, self._reports = metrics, metrics.open() if metrics is not None else ChildReports()
        self._replies: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._running = False
        self.was_stopped = False  # by its parent
        self._reader = asyncio.create_task(self._read_replies())

    @classmethod
    async def start(
        cls, environment: Mapping[str, str], *, worker: str = "", metrics: ChildMetrics | None = None
    ) -> "WorkerChild":
        """Start a child without waiting until it is ready. It reports to `metrics`, if given."""
        spec = ChildSpec(time.monotonic(), worker=worker, metrics=metrics is not None)
        process = await asyncio.create_subprocess_exec(
            *module_command("gpu_worker.process.worker_child", str(os.getpid()), spec.as_argument()),
            limit=REPLY_BYTES,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent; a group of its own ends the child's helpers with it
        )
        return cls(process, environment, metrics)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not been seen to end."""
        return self._process.returncode is None

    async def ready(self) -> str | None:
        """Wait until the child takes flow runs; return the problem of preloading, or None. Raises ChildEnded."""
        problem: str | None = (await self._reply("ready"))["problem"]
        return problem

    async def run(self, flow_run_id: str, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
        """Run a flow run; return the problem that kept it from a state of its own, and that state.

        Raises ChildEnded.
        """
        self._running = True
        try:
            await self._send(kind="run", flow_run_id=flow_run_id, environment=dict(environment))
            await self._reply("started")
            reply = await self._reply("finished")
            return reply["problem"], reply["result"]
        finally:
            self._running = False

    async def ended(self) -> int:
        """Wait for the child's end and kill the helpers that it may have left; return its status."""
        status = await self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return status

    async def stop(self, grace: float = STOP_SECONDS) -> None:
        """End the child, and kill it after `grace` seconds. A flow run is abandoned without a report."""
        self.was_stopped = True
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
        # Its last replies are in the pipe, which an escaped helper could hold open for ever.
        await asyncio.wait([self._reader], timeout=LAST_REPLIES_SECONDS)
        self._reader.cancel()

    async def _send(self, **message: object) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # the missing reply will show that the child is gone
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()

    async def _reply(self, kind: str) -> dict[str, Any]:
        reply = await self._replies.get()
        if reply is None:
            self._replies.put_nowait(None)  # for the next call
            raise ChildEnded(await self.ended())
        if reply["kind"] != kind:
            raise RuntimeError(f"The worker's process replied {reply['kind']!r}, expected {kind!r}.")
        return reply

    async def _read_replies(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                reply = json.loads(line)
                if reply["kind"] != "metrics":
                    self._replies.put_nowait(reply)
                elif self._metrics is not None:
                    self._metrics.update(self._reports, reply["samples"])
        finally:
            self._replies.put_nowait(None)
            if self._metrics is not None:
                self._metrics.close(self._reports)


class ChildKeeper:
    """Keeps one child running: starts the next when one ends, at growing intervals if it cannot start."""

    def __init__(
        self,
        environment: Mapping[str, str],
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
        metrics: WorkerMetrics,
    ) -> None:
        self._environment = dict(environment)
        self._logger, self._metrics = logger, metrics
        self._ready = asyncio.Event()
        self.child: WorkerChild | None = None  # the current one, whether it is ready or not

    @property
    def is_starting(self) -> bool:
        """Whether the child is alive but takes no flow runs yet; loading models may take minutes."""
        return not self._ready.is_set() and self.child is not None and self.child.is_running

    async def keep(self) -> None:
        """Keep a child until cancelled; then stop it."""
        vain = 0
        while True:
            try:
                lived = await self._run_child()
                vain = vain + 1 if lived < SHORT_LIFE_SECONDS else 0
                if vain > 1:
                    await asyncio.sleep(RESTARTS.pause(vain - 1))
            except (OSError, ChildEnded) as error:
                # Too many processes, no memory, an absent file system: another try may succeed.
                vain += 1
                pause = RESTARTS.pause(vain)
                self._logger.error("The child could not start; trying again in %.0f s: %s", pause, error)
                await asyncio.sleep(pause)

    async def _run_child(self) -> float:
        """Start a child and wait for its end; return the seconds after which it ended by itself.

        Raises OSError and ChildEnded if it cannot start.
        """
        metrics = self._metrics.children if self._metrics.is_wanted else None
        self.child = child = await WorkerChild.start(self._environment, worker=self._metrics.worker, metrics=metrics)
        self._metrics.child_started(child.pid)
        try:
            problem = await child.ready()
            if problem is not None:
                self._logger.error("%s", problem)
            self._metrics.child_ready()
            self._logger.info("Child %d is ready", child.pid)
            self._ready.set()
            began = time.monotonic()
            status = await child.ended()
            self._logger.info("Child %d: %s", child.pid, describe_end(status))
            return math.inf if child.was_stopped else time.monotonic() - began
        finally:
            self._ready.clear()
            self._metrics.child_ended()
            await asyncio.shield(child.stop())

    async def ready(self) -> None:
        """Wait until a child takes flow runs."""
        await self._ready.wait()

    async def ready_child(self, environment: Mapping[str, str]) -> WorkerChild:
        """Return a ready child that was started with `environment`; replace one that has another."""
        while True:
            await self._ready.wait()
            child = self.child
            if child is not None and child.environment == environment:
                return child
            self._logger.info("Restarting the child: this flow run needs other environment variables")
            self._environment = dict(environment)
            self._ready.clear()
            if child is not None:
                await child.stop()
