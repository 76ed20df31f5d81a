"""The work pools and deployments that Prefect must know before a burst can run."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from configs.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.workers.base import BaseWorker

BURST_POOL = "bursts"  # parent flows need no device: an ordinary process worker runs them
Queue = Literal["interactive", "bulk"]
QUEUES: Mapping[Queue, int] = {"interactive": 1, "bulk": 2}  # priorities; 1 is served first


class Entry(NamedTuple):
    """A deployment: `flow` is `module:function`, importable wherever a worker of `pool` runs."""

    flow: str
    name: str
    pool: str
    queue: Queue | None


def default_entries(settings: Settings) -> tuple[Entry, ...]:
    """The deployments of Pixelmill itself."""
    return (
        Entry("flows.shard:shard", "shard", settings.work_pool, "bulk"),
        Entry("flows.burst:burst", "burst", BURST_POOL, None),
    )


def ensure_pool_and_deployments(settings: Settings, entries: Sequence[Entry] | None = None) -> None:
    """Creates what is missing of the work pools, their queues and the deployments, and brings deployments up to date.

    A pool that exists keeps its settings. No pool limits its runs: a worker takes one at a time, and that is the
    limit. Flows are imported to learn their names and parameters, which loads no torch. Raises ValueError if the GPU
    pool exists with another type.
    """
    from prefect.client.orchestration import get_client
    from prefect.workers.process import ProcessWorker

    from gpu_worker.prefect_worker import PixelmillWorker

    with get_client(sync_client=True) as client:
        _ensure_pool(client, settings.work_pool, PixelmillWorker)
        for queue, priority in QUEUES.items():
            _ensure_queue(client, settings.work_pool, queue, priority)
        _ensure_pool(client, BURST_POOL, ProcessWorker)
        for entry in default_entries(settings) if entries is None else entries:
            _deploy(client, entry)


def _ensure_pool(client: "SyncPrefectClient", name: str, worker: "type[BaseWorker[Any, Any, Any]]") -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    wanted = WorkPoolCreate(name=name, type=worker.type, base_job_template=worker.get_default_base_job_template())
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(wanted)
    kind = client.read_work_pool(name).type
    if kind != worker.type:
        raise ValueError(
            f"The work pool {name!r} exists with type {kind!r}, not {worker.type!r}: delete it "
            f"(`prefect work-pool delete {name}`), or choose another one (PIXELMILL_WORK_POOL)."
        )


def _ensure_queue(client: "SyncPrefectClient", pool: str, name: str, priority: int) -> None:
    from prefect.exceptions import ObjectAlreadyExists

    with suppress(ObjectAlreadyExists):
        client.create_work_queue(name, priority=priority, work_pool_name=pool)


def _deploy(client: "SyncPrefectClient", entry: Entry) -> None:
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    flow: Any = load_flow_from_entrypoint(entry.flow, use_placeholder_flow=False)
    client.create_deployment(
        client.create_flow_from_name(flow.name),
        entry.name,
        # With a dot, Prefect imports the module and pulls no code: the package is installed where a worker runs.
        entrypoint=entry.flow.replace(":", "."),
        work_pool_name=entry.pool,
        work_queue_name=entry.queue,
        description=flow.description,
        version=flow.version,
        parameter_openapi_schema=parameter_schema(flow.fn).model_dump(),
        enforce_parameter_schema=True,
        tags=["pixelmill"],
    )
