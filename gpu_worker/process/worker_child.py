"""The worker's child: a process that runs flow runs one after another and keeps its models loaded.

`gpu_worker.process.child_process` starts it as `python -m gpu_worker.process.worker_child PARENT_PID [SPEC]`, with a
`ChildSpec` as JSON. It reads requests from standard input and writes replies to its original standard output, one JSON
object a line (prints of flows go to standard error). It ends with its input: no child outlives its parent.

requests: `{"kind": "run", "flow_run_id": …, "environment": {…}}`, `{"kind": "shutdown"}`
replies: `{"kind": "ready", "problem": …}`, `{"kind": "started"}`, `{"kind": "finished", "problem": …, "result": …}`,
and between them, if the parent wants metrics, `{"kind": "metrics", "samples": [[name, labels, value], …]}`

SIGUSR1 during a run abandons it: the child leaves the flow and ends without a report, which its parent makes.
"""

import asyncio
import contextvars
import gc
import importlib
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from inspect import isasyncgen, iscoroutine, isgenerator
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from gpu_worker.monitor.parent_death import end_with_parent

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.flows import Flow

    from gpu_worker.process.preloading import ModelPreloader


ABANDON_SIGNAL = signal.SIGUSR1
PROBLEM_CHARACTERS = 4000  # keeps a reply, escaped, far below the 64 KiB that the parent reads as a line

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """The parent's facts about a child that it starts."""

    spawned: float  # time.monotonic(), which all processes of a machine share
    worker: str = ""  # the worker's name
    metrics: bool = False  # whether to report metrics

    def as_argument(self) -> str:
        return json.dumps(asdict(self))


class RunEnd(NamedTuple):
    """The end of a flow run in this process."""

    problem: str | None = None  # the reason why it reached no state of its own
    result: str | None = None  # that state: completed, failed, cancelled …
    abandoned: bool = False


def main() -> int:
    """Serve requests until a shutdown; return the exit status of the process."""
    started = time.monotonic()  # only the standard library is imported so far
    replies = Replies()
    end_with_parent(int(sys.argv[1]), signal.SIGKILL)
    spec = ChildSpec(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else ChildSpec(started)
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), name="requests", daemon=True).start()

    from configs.settings.settings import load_settings

    settings = load_settings()

    from gpu_worker.monitor.logs import shared_fields, use_logs

    use_logs(settings)
    with shared_fields(worker=spec.worker):
        import prefect.flow_engine  # noqa: F401 - saves the first flow run seconds
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        import gpu_worker.shard.shard_run  # noqa: F401 - likewise
        from gpu_worker.device import telemetry
        from gpu_worker.device.runtime import get_runtime
        from gpu_worker.device.telemetry import cold_start
        from gpu_worker.process.preloading import ModelPreloader

        use_logs(settings, prints=True)  # again, as Prefect has set up logging meanwhile

        cold_start.begin(spec.spawned, started)
        preloader = ModelPreloader(settings, get_runtime(settings))
        telemetry.watch_warm_windows(preloader.windows)
        # A shard makes many small objects that last as long as a chunk: collecting after every 700 costs a tenth.
        # Garbage of a flow run is collected after it; the modules loaded so far stay and need no looking at.
        gc.set_threshold(10_000, 20, 20)
        gc.collect()
        gc.freeze()
        cold_start.imported()
        reporter = telemetry.reporting(lambda samples: replies.send(kind="metrics", samples=samples))
        with reporter if spec.metrics else nullcontext():
            problem = preloader.begin()
            cold_start.ready()
            replies.send(kind="ready", problem=problem and _shortened(problem))
            # Each flow run would end by waiting up to a second for its heartbeat thread. Bursts find dead shards by
            # their leases, and the parent reports a dead child at once.
            with temporary_settings(set_defaults={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
                _serve(requests, replies, preloader)
    return 0


class Replies:
    """Takes standard output for replies and sends prints to standard error. Safe to share between threads."""

    def __init__(self) -> None:
        self._pipe: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()
        os.dup2(2, 1)

    def send(self, **message: object) -> None:
        line = json.dumps(message) + "\n"
        with self._lock:
            self._pipe.write(line)
            self._pipe.flush()


def _serve(requests: "queue.SimpleQueue[Message]", replies: Replies, preloader: "ModelPreloader") -> None:
    """Run flow runs until a shutdown is requested or a flow run is abandoned."""
    from gpu_worker.device.telemetry import cold_start
    from gpu_worker.monitor.logs import shared_fields

    while True:
        request = _next_request(requests, preloader)
        if request["kind"] == "shutdown":
            return
        replies.send(kind="started")
        cold_start.run_began()
        with shared_fields(flow_run=request["flow_run_id"]):
            end = serve_run(UUID(request["flow_run_id"]), request["environment"])
        if end.abandoned:
            return
        replies.send(kind="finished", problem=end.problem, result=end.result)
        gc.collect()  # clients and contexts refer to themselves; meanwhile the parent fetches the next run


def serve_run(flow_run_id: UUID, environment: Mapping[str, str]) -> RunEnd:
    """Run one flow run in this thread, which must be the main one.

    Environment, working folder, import path and context are restored afterwards. Prefect's threads send logs and
    events within 2 s, and the rest as the process ends; draining them after each run would leak 2.5 MB a run.
    """
    abandoned = False

    def abandon(_signum: int, _frame: FrameType | None) -> None:
        nonlocal abandoned
        abandoned = True
        from prefect.exceptions import Abort

        raise Abort("The worker abandoned the flow run.")

    end = RunEnd()
    before = signal.signal(ABANDON_SIGNAL, abandon)
    try:
        with _environment(environment), _import_state():
            end = contextvars.copy_context().run(run_flow_run, flow_run_id)
    except BaseException:  # the signal came while the run was ending
        if not abandoned:
            raise
    finally:
        # From here on an abandoned child may simply die: nothing needs an orderly end.
        signal.signal(ABANDON_SIGNAL, before)
    return end._replace(abandoned=abandoned)


def run_flow_run(flow_run_id: UUID) -> RunEnd:
    """Load the flow of the run and take the run to a state of its own, if nothing prevents that."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import Abort, Pause
    from prefect.flow_engine import run_flow
    from prefect.logging.loggers import flow_run_logger

    try:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(flow_run_id)
            deployment = client.read_deployment(flow_run.deployment_id) if flow_run.deployment_id else None
        logger = flow_run_logger(flow_run)
        try:
            flow = _load_flow(flow_run, deployment)
        except Exception as error:
            logger.exception("The flow could not be loaded")
            return RunEnd(_shortened(f"The flow could not be loaded: {type(error).__name__}: {error}"))
        state = _drive(run_flow(flow, flow_run=flow_run, return_type="state"))
    except (Abort, Pause):
        return RunEnd(result="cancelled")  # by the API, not a problem: the run is over or continues later
    except BaseException as error:
        # The engine has reported a crash, unless it failed itself: the parent's report then comes first.
        return RunEnd(_shortened(f"The flow run was interrupted: {type(error).__name__}: {error}"))
    return RunEnd(result=state.type.value.lower() if state is not None else None)


def _load_flow(flow_run: "FlowRun", deployment: "DeploymentResponse | None") -> "Flow[..., Any]":
    from prefect.flow_engine import load_flow

    from gpu_worker.process.flow_loading import load_installed_flow

    entrypoint = None if deployment is None or deployment.pull_steps else deployment.entrypoint
    if entrypoint and ":" not in entrypoint:
        # A module of an installed package: imported once, in this thread, without further requests to the API.
        return load_installed_flow(entrypoint)
    # Prefect fetches the code into the working folder, so that needs to be a new one.
    os.chdir(tempfile.mkdtemp(prefix="pixelmill-flow-"))
    return load_flow(flow_run)


def _drive(result: object) -> "State[Any] | None":
    """Do the work of an asynchronous flow or a generator, which `run_flow` only prepares.

    Return the flow run's state, or None for a generator.
    """
    if iscoroutine(result):
        result = asyncio.run(result)
    elif isasyncgen(result):

        async def exhaust() -> None:
            async for _ in result:
                pass

        asyncio.run(exhaust())
    elif isgenerator(result):
        for _ in result:
            pass
    from prefect.client.schemas.objects import State

    return result if isinstance(result, State) else None


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _import_state() -> Iterator[None]:
    """Restore the working folder, the import path and the imported modules, which fetched code may change."""
    folder, path = Path.cwd(), list(sys.path)
    try:
        yield
    finally:
        fetched = Path.cwd()
        os.chdir(folder)
        sys.path[:] = path
        if fetched != folder:
            _forget_modules(fetched)
            shutil.rmtree(fetched, ignore_errors=True)


def _forget_modules(folder: Path) -> None:
    # The next run's code may have modules of the same names.
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).resolve().is_relative_to(folder.resolve()):
            del sys.modules[name]
    importlib.invalidate_caches()


def _next_request(requests: "queue.SimpleQueue[Message]", preloader: "ModelPreloader") -> Message:
    while True:
        try:
            return requests.get(timeout=preloader.pause)
        except queue.Empty:
            preloader.update(is_interrupted=lambda: not requests.empty())


def _read_requests(requests: "queue.SimpleQueue[Message]") -> None:
    # Unbuffered: the interpreter cannot shut down cleanly while a thread holds the lock of a buffered reader.
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        for line in stdin:
            requests.put(json.loads(line))
    # The parent is gone, so nothing can be reported: end this process and its helpers.
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _shortened(text: str) -> str:
    return text if len(text) <= PROBLEM_CHARACTERS else text[: PROBLEM_CHARACTERS - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
