"""What the ledger takes and gives: plain records, so that no other layer handles SQL rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from configs.item import Item
from configs.recipe import Recipe


class JobStatus(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"  # every item done
    INCOMPLETE = "incomplete"  # ended, with items failed or quarantined
    CANCELLED = "cancelled"
    FAILED = "failed"  # stopped before its end; `error` says why


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


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the ledger knows it.

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


@dataclass(frozen=True, slots=True)
class ItemRecord:
    item: Item
    shard: int
    state: ItemState
    error: str | None = None
    error_step: str | None = None
    finals: Mapping[str, str] = field(default_factory=dict)  # step id -> final key


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
class StepEntry:
    """What became of one item at one step."""

    index: int  # of the item
    outcome: Outcome
    seconds: float = 0.0  # the item's share of compute time; 0 unless computed
    artefact: ArtefactRecord | None = None  # of this step's image, for computed and reused
    error: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """The item has reached its end: no step is left for it."""

    index: int
    state: ItemState
    finals: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    error_step: str | None = None


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
    """Frames that fitted a device together, and the relief (steps.contract.Relief) that it took."""

    size: int
    relief: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a name, and how often that has been confirmed. Two that are equal: no sign of life in between."""

    holder: str
    beat: int


@dataclass(frozen=True, slots=True)
class Progress:
    total: int
    pending: int
    done: int
    failed: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class StepCounts:
    computed: int = 0
    reused: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ItemReport:
    """An item with all its step outcomes and artefacts: a row of the manifest."""

    record: ItemRecord
    steps: Mapping[str, StepEntry]
