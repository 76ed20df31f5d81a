"""Plain records for all that goes in and out of the ledger, so that no other layer handles SQL rows."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from configs.documents.fields import Item
from configs.job.job import AtReview
from configs.recipe.recipe import Recipe, VisitId
from configs.recipe.source import Overrides
from storage.objects.keys import final_key


class JobStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"  # every item done
    INCOMPLETE = "incomplete"  # ended, with items failed or quarantined
    CANCELLED = "cancelled"
    FAILED = "failed"  # stopped before its end; `error` is the reason


class ItemState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Outcome(StrEnum):
    COMPUTED = "computed"
    REUSED = "reused"
    SKIPPED = "skipped"  # its condition was false
    FAILED = "failed"


class ShardState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ReviewVerdict(StrEnum):
    """A person's decision on an image that a gate refused."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job in the ledger.

    `revision` is the digest of recipe, items and models; `run` counts its runs from 1.
    """

    id: str
    name: str
    output: str  # the store's root
    revision: str
    run: int
    recipe: Recipe
    model_digests: Mapping[str, str]  # str(ModelRef) -> SHA-256
    status: JobStatus
    total: int
    error: str | None
    created_at: datetime  # UTC, as all times here
    started_at: datetime
    finished_at: datetime | None
    budget: float | None = None  # what one run may cost; None: no limit
    review: AtReview = AtReview.END
    overrides: Overrides | None = None  # what in the recipe the job has set; None: begun before that was kept


@dataclass(frozen=True, slots=True)
class ItemResult:
    """How an item ended. `finals` is empty unless it is done."""

    state: ItemState
    error: str | None = None
    error_step: str | None = None
    finals: Mapping[str, str] = field(default_factory=dict)  # visit id -> final key
    warnings: tuple[str, ...] = ()  # of steps, and of gates that let it pass
    refused_image: str | None = None  # fingerprint of the image that a gate refused, or None if no gate did
    refused_by: str | None = None  # the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord(ItemResult):
    """An item with its result; PENDING until it has ended."""

    item: Item
    shard: int


@dataclass(frozen=True, slots=True)
class ArtefactRecord:
    """An image in a store. Its facts live as long as it does, whichever job reads it."""

    root: str
    fingerprint: str
    key: str
    sha256: str
    size: int  # bytes
    width: int
    height: int
    content_type: str
    step: str  # the step's name in the catalogue
    facts: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The outcome of one item at one step."""

    index: int  # of the item
    outcome: Outcome
    seconds: float = 0.0  # the item's share of compute time; 0 unless computed
    artefact: ArtefactRecord | None = None  # of this step's image, for computed and reused
    error: str | None = None
    traceback: str | None = None
    cost: float = 0.0  # what those seconds cost, by the price of the worker's device


@dataclass(frozen=True, slots=True)
class Review:
    """A person's decision on an image of an item."""

    item: str  # its name
    fingerprint: str  # of the image
    verdict: ReviewVerdict
    reason: str | None
    reviewer: str | None
    reviewed_at: datetime

    @property
    def accepted(self) -> bool:
        return self.verdict is ReviewVerdict.ACCEPTED


@dataclass(frozen=True, slots=True)
class Wait:
    """A burst that waits for decisions, its flow run suspended."""

    flow_run_id: str
    job_id: str
    since: datetime
    until: datetime  # then it ends without them


@dataclass(frozen=True, slots=True)
class Rerecord:
    """A new record of an item after a re-evaluation; `end=None` makes it pending."""

    index: int
    entries: Mapping[str, StepOutcome]  # by visit id: all that stays of its outcomes
    end: ItemResult | None


@dataclass(frozen=True, slots=True)
class ShardRecord:
    index: int
    state: ShardState
    items: int
    attempts: int
    flow_run_id: str | None
    error: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Number of frames that fit a device together, with a memory fallback (steps.contract.MemoryFallback)."""

    size: int
    fallback: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The owner of a name, and the count of its heartbeats: two equal leases had no heartbeat in between."""

    owner: str
    heartbeat: int


@dataclass(frozen=True, slots=True)
class Progress:
    total: int
    pending: int
    done: int
    failed: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job as lists show it."""

    id: str
    name: str
    output: str
    run: int
    status: JobStatus
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    progress: Progress
    waiting: int  # of the quarantined items: those about which a person may decide


@dataclass(frozen=True, slots=True)
class JobSample:
    """One of the images that stand for a job: a final's, or one that a gate refused."""

    item: str  # its name
    fingerprint: str
    key: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """The open work of all running jobs."""

    jobs: Mapping[JobStatus, int]  # of all jobs, by status
    running: tuple[str, ...]  # ids
    shards: Mapping[ShardState, int]  # of running jobs; pending: with items to do, and no worker has begun it
    oldest_waiting: datetime | None  # since when the shard waits that has waited longest


@dataclass(frozen=True, slots=True)
class StepCounts:
    computed: int = 0
    reused: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def __add__(self, other: "StepCounts") -> "StepCounts":
        return StepCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class ModelLoads:
    """How often a model was loaded, and what that took."""

    count: int
    seconds: float
    cost: float


@dataclass(frozen=True, slots=True)
class ItemReport:
    """An item with all its step outcomes and artefacts: a row of the manifest."""

    record: ItemRecord
    steps: Mapping[str, StepOutcome]  # by visit id, in the recipe's order

    @property
    def artefacts(self) -> dict[str, ArtefactRecord]:
        """Visit id -> the image of the item there."""
        return {visit: entry.artefact for visit, entry in self.steps.items() if entry.artefact is not None}


@dataclass(frozen=True, slots=True)
class RefusedItem(ItemReport):
    """A quarantined item with the image that a gate refused, and what a person has decided about that image so far."""

    review: Review | None  # None: it waits


def final_keys(job: JobRecord, item: str, images: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return visit id -> key of the final. `images`: visit id and artefact key of each of the item's images, in order.

    Final are the images of the steps that the recipe keeps, as far as the item visited them, or else its last image.
    """
    made = dict(images)
    kept = [visit for visit in made if step_of(visit) in job.recipe.keep] or list(made)[-1:]
    named_by_step = len(job.recipe.keep) > 1
    return {
        visit: final_key(job.name, item, made[visit].rpartition(".")[2], step=step_of(visit) if named_by_step else None)
        for visit in kept
    }


def step_of(visit: str) -> str:
    """Return the id of a visit's step: `base` for `base~2`."""
    return VisitId.parse(visit).step


def in_order(visit: str, order: Mapping[str, int]) -> tuple[int, int]:
    """Return a sort key of visits: position of the step in the recipe, then number of the visit."""
    step, number = VisitId.parse(visit)
    return order.get(step, len(order)), number
