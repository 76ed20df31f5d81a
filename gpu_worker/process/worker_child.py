"""The warm child: one process per worker that runs flow runs one after another, its models resident.

Started by `gpu_worker.process.child_process` as `python -m gpu_worker.process.worker_child PARENT_PID [BIRTH]`, BIRTH
being what its parent knows of it (`Birth`, as JSON). It reads requests from standard input and writes
replies to what was its standard output, one JSON object a line (what flows print goes to standard error). The end of
its input is its own end: no child outlives its parent.

requests: `{"kind": "run", "flow_run_id": …, "environment": {…}}`, `{"kind": "shutdown"}`
replies: `{"kind": "ready", "problem": …}`, `{"kind": "started"}`, `{"kind": "finished", "problem": …, "result": …}`,
and between them, if the parent wants figures, `{"kind": "figures", "samples": [[name, labels, value], …]}`

SIGUSR1 during a run abandons it: the child leaves the flow, reports nothing to anybody (its parent does), and ends.
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

    from configs.settings.settings import Settings
    from gpu_worker.process.preloading import ModelPreloader


ABANDON_SIGNAL = signal.SIGUSR1
PROBLEM_CHARACTERS = 4000  # keeps a reply, escaped, far below the 64 KiB that the parent reads as a line

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What the parent knows of a child that it starts."""

    spawned: float  # time.monotonic(), which all processes of a machine share
    worker: str = ""  # the worker's name
    figures: bool = False  # whether to tell figures

    def as_argument(self) -> str:
        return json.dumps(asdict(self))


class RunEnd(NamedTuple):
    """How a flow run ended here."""

    problem: str | None = None  # what kept it from being run to a state of its own
    result: str | None = None  # that state: completed, failed, cancelled …
    abandoned: bool = False


def main() -> int:
    """Serves requests until told to shut down; the exit status of the process."""
    born = time.monotonic()  # only the standard library is imported so far
    replies = Replies()
    end_with_parent(int(sys.argv[1]), signal.SIGKILL)
    birth = ChildSpec(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else ChildSpec(born)
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), name="requests", daemon=True).start()

    from configs.settings.settings import load_settings

    settings = load_settings()

    from gpu_worker.monitor.log_lines import shared_fields
    from gpu_worker.monitor.logs import use_logs

    use_logs(settings)
    with shared_fields(worker=birth.worker):
        return _live(birth, born, settings, requests, replies)


def _live(
    birth: ChildSpec, born: float, settings: "Settings", requests: "queue.SimpleQueue[Message]", replies: "Replies"
) -> int:
    import prefect.flow_engine  # noqa: F401 - seconds that the first flow run need not wait
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    import gpu_worker.shard.shard_run  # noqa: F401 - likewise
    from gpu_worker.device import telemetry
    from gpu_worker.device.runtime import get_runtime
    from gpu_worker.device.telemetry import cold_start
    from gpu_worker.monitor.logs import use_logs
    from gpu_worker.process.preloading import ModelPreloader

    use_logs(settings, prints=True)  # again, as Prefect has set up logging meanwhile

    cold_start.begin(birth.spawned, born)
    warmth = ModelPreloader(settings, get_runtime(settings))
    telemetry.watch_warm_windows(warmth.windows)
    # A shard makes many small objects that last as long as a chunk: collecting after every 700 of them costs a tenth.
    # What a flow run leaves is collected after it; modules, which stay, need not be looked at (models may have to go).
    gc.set_threshold(10_000, 20, 20)
    gc.collect()
    gc.freeze()
    cold_start.imported()
    with (
        telemetry.Reporter(lambda samples: replies.send(kind="figures", samples=samples))
        if birth.figures
        else nullcontext()
    ):
        problem = warmth.begin()
        cold_start.ready()
        replies.send(kind="ready", problem=problem and _shortened(problem))
        # Each flow run would end by waiting up to a second for the thread that beats for it. Bursts know by the leases
        # of their shards who lives, and the parent reports a dead child at once.
        with temporary_settings(set_defaults={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            _serve(requests, replies, warmth)
    return 0


class Replies:
    """Takes standard output for replies and sends what anybody prints to standard error. Safe to share."""

    def __init__(self) -> None:
        self._pipe: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()
        os.dup2(2, 1)

    def send(self, **message: object) -> None:
        line = json.dumps(message) + "\n"
        with self._lock:
            self._pipe.write(line)
            self._pipe.flush()


def _serve(requests: "queue.SimpleQueue[Message]", replies: Replies, warmth: "ModelPreloader") -> None:
    """Until told to shut down, or until a flow run was abandoned."""
    from gpu_worker.device.telemetry import cold_start
    from gpu_worker.monitor.log_lines import shared_fields

    while True:
        request = _next_request(requests, warmth)
        if request["kind"] == "shutdown":
            return
        replies.send(kind="started")
        cold_start.run_begins()
        with shared_fields(flow_run=request["flow_run_id"]):
            end = serve_run(UUID(request["flow_run_id"]), request["environment"])
        if end.abandoned:
            return
        replies.send(kind="finished", problem=end.problem, result=end.result)
        gc.collect()  # clients and contexts refer to themselves; meanwhile the parent asks for the next run


def serve_run(flow_run_id: UUID, environment: Mapping[str, str]) -> RunEnd:
    """Runs one flow run in this thread, which must be the main one.

    Environment, working folder, import path and context are as before afterwards. Prefect's threads send logs and
    events within 2 s, and the rest as the process ends; draining them after each run would cost 2.5 MB of memory a
    run, which Prefect never gives back.
    """
    abandoned = False

    def abandon(_signum: int, _frame: FrameType | None) -> None:
        nonlocal abandoned
        abandoned = True
        from prefect.exceptions import Abort

        raise Abort("The worker gave the flow run up.")

    end = RunEnd()
    before = signal.signal(ABANDON_SIGNAL, abandon)
    try:
        with _environment(environment), _import_state():
            end = contextvars.copy_context().run(run_flow_run, flow_run_id)
    except BaseException:  # the signal came while the run was ending
        if not abandoned:
            raise
    finally:
        # From here on an abandoned child may simply die: there is nothing left to leave in order.
        signal.signal(ABANDON_SIGNAL, before)
    return end._replace(abandoned=abandoned)


def run_flow_run(flow_run_id: UUID) -> RunEnd:
    """Loads the flow of the run and takes the run to a state of its own, if nothing prevents that."""
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
        return RunEnd(result="cancelled")  # the API's word, not a problem: the run is over, or is to go on later
    except BaseException as error:
        # The engine has reported a crash, unless it is what failed: the parent's report then comes first.
        return RunEnd(_shortened(f"The flow run was interrupted: {type(error).__name__}: {error}"))
    return RunEnd(result=state.type.value.lower() if state is not None else None)


def _load_flow(flow_run: "FlowRun", deployment: "DeploymentResponse | None") -> "Flow[..., Any]":
    from prefect.flow_engine import load_flow
    from prefect.flows import load_flow_from_entrypoint

    entrypoint = None if deployment is None or deployment.pull_steps else deployment.entrypoint
    if entrypoint and ":" not in entrypoint:
        # A module of an installed package: imported once, in this thread, with no more questions to the API.
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    # Prefect fetches the code into the working folder, which therefore is a fresh one.
    os.chdir(tempfile.mkdtemp(prefix="pixelmill-flow-"))
    return load_flow(flow_run)


def _drive(result: object) -> "State[Any] | None":
    """Does the work of an asynchronous flow or of one that yields, which `run_flow` only prepares.

    Returns the flow run's state; nothing of a flow that yields.
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
    """Undoes what fetched code did to the working folder, the import path and the imported modules."""
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


def _next_request(requests: "queue.SimpleQueue[Message]", warmth: "ModelPreloader") -> Message:
    while True:
        try:
            return requests.get(timeout=warmth.pause)
        except queue.Empty:
            warmth.look(is_wanted=lambda: not requests.empty())


def _read_requests(requests: "queue.SimpleQueue[Message]") -> None:
    # Unbuffered: the interpreter cannot end in order while a thread holds the lock of a buffered reader.
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        for line in stdin:
            requests.put(json.loads(line))
    # The parent is gone: whatever runs here has nobody to report to, and its helpers go with it.
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _shortened(text: str) -> str:
    return text if len(text) <= PROBLEM_CHARACTERS else text[: PROBLEM_CHARACTERS - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
