"""The work pools, deployments and automations of Pixelmill, in Prefect."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from configs.documents.problems import InvalidInput, Problem, did_you_mean
from configs.job.deployment import Deployment, deployments
from configs.settings.settings import Settings
from gpu_worker.device.device import installed_version

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore
    from prefect.workers.base import BaseWorker

BURST_POOL = "bursts"  # for parent flows, which need no device: an ordinary process worker runs them
TAG = "pixelmill"  # of deployments and automations
Queue = Literal["interactive", "bulk"]
Objection = tuple[str, str]  # name of a parameter, and what is wrong with it
QUEUES: Mapping[Queue, int] = {"interactive": 1, "bulk": 2}  # priorities; 1 is served first
SHARD = Deployment(
    name="shard",
    flow="flows.burst.shard.shard",
    description="A part of a burst. Bursts start it; there is nothing to start here.",
    pool="gpu",
    queue="bulk",
)


class Deployed(NamedTuple):
    """Name of a deployment, its change, and what is wrong with its schedules in Prefect."""

    name: str  # flow/deployment
    change: Literal["created", "updated", "unchanged"]
    warnings: tuple[str, ...] = ()


def all_deployments(settings: Settings) -> tuple[Deployment, ...]:
    """Return the deployments of all files, and that of shards. Raises InvalidInput."""
    return (SHARD, *deployments(settings))


def entrypoint_of(deployment: Deployment) -> str:
    """Return the dotted path of the deployment's flow, importable wherever Pixelmill is installed."""
    return deployment.flow or f"flows.forms.make_images.{deployment.identifier}"


def pool_of(deployment: Deployment, settings: Settings) -> str:
    """Return the name of the deployment's work pool."""
    return settings.work_pool if deployment.pool == "gpu" else BURST_POOL


def ensure_pool_and_deployments(settings: Settings, wanted: Iterable[Deployment] = (SHARD,)) -> list[Deployed]:
    """Create missing work pools, queues and deployments, and update deployments, also with entry points that moved.

    Existing pools keep their settings and existing deployments their schedules, which may have been changed in the UI.
    No pool limits its runs: workers do. Flows are imported for their names and parameters, which loads no torch.

    Raises InvalidInput, before anything is changed, for parameters that a flow does not take, and ValueError if the GPU
    pool exists with another type.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    from gpu_worker.process.prefect_worker import PixelmillWorker

    asking = [_Asking.of(deployment) for deployment in wanted]
    if problems := [problem for each in asking for problem in each.problems()]:
        raise InvalidInput(problems)
    with get_client(sync_client=True) as client:
        _ensure_pool(client, settings.work_pool, PixelmillWorker)
        for queue, priority in QUEUES.items():
            with suppress(ObjectAlreadyExists):
                client.create_work_queue(queue, priority=priority, work_pool_name=settings.work_pool)
        _ensure_pool(client, BURST_POOL, ProcessWorker)
        return [_deploy(client, each, settings) for each in asking]


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


class _Asking(NamedTuple):
    """A deployment with its flow, and the schema of the flow's parameters."""

    deployment: Deployment
    flow: "Flow[..., Any]"
    schema: dict[str, Any]

    @classmethod
    def of(cls, deployment: Deployment) -> "_Asking":
        from prefect.utilities.callables import parameter_schema

        from gpu_worker.process.flow_loading import load_installed_flow

        # For a dotted path Prefect imports the module and pulls no code: every worker has the package installed.
        flow = load_installed_flow(entrypoint_of(deployment))
        # The server then refuses other parameters when a flow run is asked for, except by a schedule.
        schema = parameter_schema(flow.fn).model_dump(exclude_unset=True) | {"additionalProperties": False}
        return cls(deployment, flow, schema)

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the deployment's own parameters and those of its schedules."""
        for path, message in objections(self.deployment.parameters, self.schema):
            yield Problem(f"parameters.{path}", message, f"deployment {self.deployment.name}")
        for number, each in enumerate(self.deployment.schedules):
            for path, message in objections(each.parameters, self.schema):
                where = f"schedules[{number}].parameters.{path}"
                yield Problem(where, message, f"deployment {self.deployment.name}")


def objections(parameters: Mapping[str, Any], schema: Mapping[str, Any], *, all_of: bool = False) -> list[Objection]:
    """Return what is wrong with parameters of a flow, by their names; with `all_of`, also those that are missing."""
    from prefect.utilities.schema_tools.validation import validate

    fields = schema["properties"]
    wrong = [(name, unknown_field(name, fields)) for name in parameters if name not in fields]
    if all_of:
        wrong += [(name, "is required") for name in schema.get("required", ()) if name not in parameters]
    for error in validate(dict(parameters), dict(schema), ignore_required=True):
        if error.path:  # those about the whole are above
            wrong.append((".".join(str(part) for part in error.path), error.message))
    return wrong


def unknown_field(name: str, known: Collection[str]) -> str:
    """Return the message about a parameter that a form does not have."""
    return f"its form has no field `{name}`{did_you_mean(name, known)}"


def _deploy(client: "SyncPrefectClient", asking: _Asking, settings: Settings) -> Deployed:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.exceptions import ObjectNotFound

    deployment, flow, schema = asking
    name = f"{flow.name}/{deployment.name}"
    wanted: dict[str, Any] = {
        "entrypoint": entrypoint_of(deployment),
        "work_pool_name": pool_of(deployment, settings),
        "work_queue_name": deployment.queue,
        "description": deployment.description or flow.description or "",
        "version": installed_version(),
        "parameters": deployment.parameters,
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
        "tags": [TAG, *deployment.tags],
    }
    try:
        known = client.read_deployment_by_name(name)
    except ObjectNotFound:
        schedules = [
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=each.cron, timezone=each.timezone),
                active=each.active,
                parameters=each.parameters,
            )
            for each in deployment.schedules
        ]
        client.create_deployment(
            client.create_flow_from_name(flow.name), deployment.name, schedules=schedules, **wanted
        )
        return Deployed(name, "created")
    warnings = tuple(
        f"{name}: its schedule `{getattr(each.schedule, 'cron', each.schedule)}` cannot start anything: {field}: {what}"
        for each in known.schedules
        for field, what in objections({**deployment.parameters, **each.parameters}, schema, all_of=True)
    )
    if all(_is_same(getattr(known, field), value) for field, value in wanted.items()):
        return Deployed(name, "unchanged", warnings)
    # Prefect drops the schedules of a deployment that is created again without them.
    schedules = [DeploymentScheduleCreate.model_validate(each, from_attributes=True) for each in known.schedules]
    client.create_deployment(known.flow_id, deployment.name, schedules=schedules, **wanted)
    return Deployed(name, "updated", warnings)


def _is_same(known: Any, wanted: Any) -> bool:
    # Without a queue, Prefect uses the pool's own, called `default`.
    return known == wanted or (wanted is None and known == "default") or (not known and not wanted)


class _Rule(NamedTuple):
    """New state of a flow run if none of the expected events follows an event in time."""

    name: str
    after: tuple[str, ...]
    expect: tuple[str, ...]
    within: int  # seconds
    state: str  # type
    state_name: str | None
    message: str
    times: int = 0  # instead: if an expected event has come so often


MOST_CRASHES = 4  # in a row, after which a parent flow run is started again
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
_RULES = (
    _Rule(
        "Pixelmill: a parent flow run that falls silent has crashed",
        after=("Running", "heartbeat"),  # it may die before its first heartbeat
        expect=("heartbeat", "Suspended", *_ENDS),  # a suspended burst has no process
        within=90,  # three of the shortest interval that Prefect allows
        state="CRASHED",
        state_name=None,
        message="No heartbeat for 90 s: its process is gone.",
    ),
    _Rule(
        "Pixelmill: a parent flow run that never begins has crashed",
        after=("Pending",),
        expect=("Running", "heartbeat", "Scheduled", "AwaitingRetry", *_ENDS),
        within=180,  # a process starts in ten seconds, on a busy machine in sixty
        state="CRASHED",
        state_name=None,
        message="A worker took it 180 s ago, and it has not begun: its process is gone.",
    ),
    _Rule(
        "Pixelmill: a parent flow run that crashed goes on",
        after=("Crashed",),
        expect=("Scheduled", "AwaitingRetry", "Pending", "Running", *_ENDS[:3]),
        within=15,  # also the pause between starts of a flow run that cannot start at all
        state="SCHEDULED",
        state_name="AwaitingRetry",
        message="Its process crashed: it goes on in another one.",
    ),
    # A burst that begins counts the deaths of its processes itself; one that never begins cannot.
    _Rule(
        "Pixelmill: a parent flow run that keeps crashing has failed",
        after=(),
        expect=("Crashed",),
        times=MOST_CRASHES + 1,
        within=3600,  # so many starts that end after 180 s take a quarter of it
        state="FAILED",
        state_name=None,
        message=f"Its process has crashed {MOST_CRASHES + 1} times within an hour; the log of the bursts' worker has "
        "the reason. Correct it, then retry this flow run. Recorded results are kept.",
    ),
)
AUTOMATIONS = tuple(rule.name for rule in _RULES)


def ensure_automations() -> None:
    """Create or update the automations that restart parent flow runs whose processes are gone.

    A worker reports the crash of a burst, unless it died as well: then heartbeats stop, or never start. The automations
    turn that silence into a crash, and run crashed bursts again; the ledger has their jobs' state. They need a server
    with its background services, and `PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30` for the bursts' workers.

    They cover all deployments that the pool of parent flows has now, not shards, which their burst watches. An
    automation that was switched off stays off.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[BURST_POOL]))
    with get_client(sync_client=True) as client:
        parents = [deployment.id for deployment in client.read_deployments(work_pool_filter=pool)]
        known = {automation.name: automation for automation in client.read_automations()}
        for wanted in _automations(parents):
            if (old := known.get(wanted.name)) is None:
                client.create_automation(wanted)
            else:
                client.update_automation(old.id, wanted.model_copy(update={"enabled": old.enabled}))


def _automations(deployments: list[UUID]) -> "Iterator[AutomationCore]":
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore

    for rule in _RULES:
        yield AutomationCore.model_validate(
            {
                "name": rule.name,
                "description": "The process of a burst is gone. What its job has recorded is not done again.",
                "tags": [TAG],
                "enabled": True,
                "trigger": {
                    "type": "event",
                    "posture": "Reactive" if rule.times else "Proactive",
                    "match": {"prefect.resource.id": "prefect.flow-run.*"},
                    "match_related": {
                        "prefect.resource.role": "deployment",
                        "prefect.resource.id": [f"prefect.deployment.{identifier}" for identifier in deployments],
                    },
                    "for_each": ["prefect.resource.id"],
                    "after": [f"prefect.flow-run.{event}" for event in rule.after],
                    "expect": [f"prefect.flow-run.{event}" for event in rule.expect],
                    "threshold": rule.times or 1,
                    "within": rule.within,
                },
                "actions": [
                    ChangeFlowRunState(state=StateType(rule.state), name=rule.state_name, message=rule.message)
                ],
            }
        )
