"""The warm child: one process per worker that runs flow runs one after another, its models resident.

Started by `gpu_worker.child_process` as `python -m gpu_worker.warm_child PARENT_PID`. It reads requests from standard
input and writes replies to what was its standard output, one JSON object a line (what flows print goes to standard
error). The end of its input is its own end: no child outlives its parent.

requests: `{"kind": "run", "flow_run_id": …, "environment": {…}}`, `{"kind": "shutdown"}`
replies: `{"kind": "ready", "problem": …}`, `{"kind": "started"}`, `{"kind": "finished", "problem": …}`

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
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from inspect import isasyncgen, iscoroutine, isgenerator
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

from configs.settings import Settings, load_settings
from gpu_worker.parent_death import end_with_parent

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.flows import Flow

ABANDON_SIGNAL = signal.SIGUSR1
PROBLEM_CHARACTERS = 4000  # keeps a reply, escaped, far below the 64 KiB that the parent reads as a line

Message = dict[str, Any]


def main() -> int:
    """Serves requests until told to shut down; the exit status of the process."""
    replies = _claim_stdout()
    end_with_parent(int(sys.argv[1]), signal.SIGKILL)
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), name="requests", daemon=True).start()
    settings = load_settings()

    import prefect.flow_engine  # noqa: F401 - seconds that the first flow run need not wait
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    import gpu_worker.shard_run  # noqa: F401 - likewise

    # A shard makes many small objects that last as long as a chunk: collecting after every 700 of them costs a tenth.
    # What a flow run leaves is collected after it; modules, which stay, need not be looked at (models may have to go).
    gc.set_threshold(10_000, 20, 20)
    gc.collect()
    gc.freeze()
    _reply(replies, kind="ready", problem=_warm(settings))
    # Each flow run would end by waiting up to a second for the thread that beats for it. Bursts know by the leases of
    # their shards who lives, and the parent reports a dead child at once.
    with temporary_settings(set_defaults={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        _serve(requests, replies, settings)
    return 0


def _serve(requests: "queue.SimpleQueue[Message]", replies: IO[str], settings: Settings) -> None:
    """Until told to shut down, or until a flow run was abandoned."""
    while True:
        request = _next_request(requests, settings)
        if request["kind"] == "shutdown":
            return
        _reply(replies, kind="started")
        problem, abandoned = serve_run(UUID(request["flow_run_id"]), request["environment"])
        if abandoned:
            return
        _reply(replies, kind="finished", problem=problem)
        gc.collect()  # clients and contexts refer to themselves; meanwhile the parent asks for the next run


def serve_run(flow_run_id: UUID, environment: Mapping[str, str]) -> tuple[str | None, bool]:
    """Runs one flow run in this thread, which must be the main one.

    Returns what kept it from being run to a state of its own (None: its engine reported a state), and whether it was
    abandoned. Environment, working folder, import path and context are as before afterwards. Prefect's threads send
    logs and events within 2 s, and the rest as the process ends; draining them after each run would cost 2.5 MB of
    memory a run, which Prefect never gives back.
    """
    abandoned = False

    def abandon(_signum: int, _frame: FrameType | None) -> None:
        nonlocal abandoned
        abandoned = True
        from prefect.exceptions import Abort

        raise Abort("The worker gave the flow run up.")

    before = signal.signal(ABANDON_SIGNAL, abandon)
    try:
        with _environment(environment), _import_state():
            problem = contextvars.copy_context().run(run_flow_run, flow_run_id)
    except BaseException:  # the signal came while the run was ending
        if not abandoned:
            raise
        problem = None
    finally:
        # From here on an abandoned child may simply die: there is nothing left to leave in order.
        signal.signal(ABANDON_SIGNAL, before)
    return problem, abandoned


def run_flow_run(flow_run_id: UUID) -> str | None:
    """Loads the flow of the run and takes the run to a state of its own; returns what prevented that."""
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
            return _shortened(f"The flow could not be loaded: {type(error).__name__}: {error}")
        _drive(run_flow(flow, flow_run=flow_run, return_type="state"))
    except (Abort, Pause):
        return None  # the API's word, not a problem: the run is over, cancelled, paused or suspended
    except BaseException as error:
        # The engine has reported a crash, unless it is what failed: the parent's report then comes first.
        return _shortened(f"The flow run was interrupted: {type(error).__name__}: {error}")
    return None


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


def _drive(result: object) -> None:
    """Does the work of an asynchronous flow or of one that yields, which `run_flow` only prepares."""
    if iscoroutine(result):
        asyncio.run(result)
    elif isasyncgen(result):

        async def exhaust() -> None:
            async for _ in result:
                pass

        asyncio.run(exhaust())
    elif isgenerator(result):
        for _ in result:
            pass


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


def _warm(settings: Settings) -> str | None:
    """Loads the models of `keep_warm`; a problem with that does not keep the worker from working."""
    if not settings.keep_warm:
        return None
    try:
        from gpu_worker.runtime import get_runtime
        from storage.ledger import Ledger

        runtime = get_runtime(settings)
        with closing(Ledger(settings.resolved_ledger_url)) as ledger:
            runtime.warm(
                settings.keep_warm,
                lambda ref, seconds: ledger.record_model_load(None, None, str(ref), runtime.name, seconds),
            )
    except Exception as error:
        traceback.print_exc()
        return _shortened(f"keep_warm ({', '.join(settings.keep_warm)}): {type(error).__name__}: {error}")
    return None


def _evict_idle(settings: Settings) -> None:
    # Without the module no flow run has asked for a model yet, and importing it may cost seconds.
    runtime = sys.modules.get("gpu_worker.runtime")
    if runtime is not None:
        runtime.get_runtime(settings).evict_idle(settings.idle_timeout)


def _next_request(requests: "queue.SimpleQueue[Message]", settings: Settings) -> Message:
    pause = min(max(settings.idle_timeout / 4, 0.25), 30.0) if settings.idle_timeout else None
    while True:
        try:
            return requests.get(timeout=pause)
        except queue.Empty:
            _evict_idle(settings)


def _read_requests(requests: "queue.SimpleQueue[Message]") -> None:
    # Unbuffered: the interpreter cannot end in order while a thread holds the lock of a buffered reader.
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        for line in stdin:
            requests.put(json.loads(line))
    # The parent is gone: whatever runs here has nobody to report to, and its helpers go with it.
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _reply(replies: IO[str], **message: object) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _claim_stdout() -> IO[str]:
    """Keeps standard output for replies and sends what anybody prints to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def _shortened(text: str) -> str:
    return text if len(text) <= PROBLEM_CHARACTERS else text[: PROBLEM_CHARACTERS - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
