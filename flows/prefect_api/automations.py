"""What Prefect does by itself about a parent flow run whose process is gone: it lets it go on.

A burst that is killed leaves its job where the ledger has it, and only has to be started again. Its worker tells
Prefect that it crashed. If the worker died with it, nobody does: then its heartbeats cease, or never come. These
automations turn such silence into a crash, and have whatever crashed run again. They need a server with its background
services, and `PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30` in the environment of the bursts' workers.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from flows.prefect_api.deployments import BURST_POOL

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore


class _Rule(NamedTuple):
    """After an event, one of those expected has to follow in time; else the flow run gets another state."""

    name: str
    after: tuple[str, ...]
    expect: tuple[str, ...]
    within: int  # seconds
    state: str  # type
    state_name: str | None
    message: str


_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
_RULES = (
    _Rule(
        "Pixelmill: a parent flow run that falls silent has crashed",
        after=("Running", "heartbeat"),  # it may die before its first heartbeat
        expect=("heartbeat", "Suspended", *_ENDS),  # one that waits for people has no process, and is well
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
        within=15,  # so long one that cannot start at all is left alone between its starts, too
        state="SCHEDULED",
        state_name="AwaitingRetry",
        message="Its process crashed: it goes on in another one.",
    ),
)
AUTOMATIONS = tuple(rule.name for rule in _RULES)


def ensure_automations() -> None:
    """Creates the automations, or brings them up to date; one that a person has switched off stays off.

    They concern the flow runs of all deployments that the pool of parent flows has now. Shards are none of these:
    their burst watches them.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        known = {automation.name: automation for automation in client.read_automations()}
        for wanted in _automations(_parent_deployments(client)):
            if (old := known.get(wanted.name)) is None:
                client.create_automation(wanted)
            else:
                client.update_automation(old.id, wanted.model_copy(update={"enabled": old.enabled}))


def _parent_deployments(client: "SyncPrefectClient") -> list[UUID]:
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[BURST_POOL]))
    return [deployment.id for deployment in client.read_deployments(work_pool_filter=pool)]


def _automations(deployments: list[UUID]) -> "Iterator[AutomationCore]":
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore

    for rule in _RULES:
        yield AutomationCore.model_validate(
            {
                "name": rule.name,
                "description": "The process of a burst is gone. What its job has recorded is not done again.",
                "tags": ["pixelmill"],
                "enabled": True,
                "trigger": {
                    "type": "event",
                    "posture": "Proactive",
                    "match": {"prefect.resource.id": "prefect.flow-run.*"},
                    "match_related": {
                        "prefect.resource.role": "deployment",
                        "prefect.resource.id": [f"prefect.deployment.{identifier}" for identifier in deployments],
                    },
                    "for_each": ["prefect.resource.id"],
                    "after": [f"prefect.flow-run.{event}" for event in rule.after],
                    "expect": [f"prefect.flow-run.{event}" for event in rule.expect],
                    "threshold": 1,
                    "within": rule.within,
                },
                "actions": [
                    ChangeFlowRunState(state=StateType(rule.state), name=rule.state_name, message=rule.message)
                ],
            }
        )
