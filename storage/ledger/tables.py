"""The ledger's tables. Only the ledger's own modules use them: all other layers see the records.

Changing a table takes a migration in `storage/ledger/migrations/versions`; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

# Names of our own choosing let a later migration address constraints on every database.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times in and out. SQLite keeps no zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FreeText(TypeDecorator[str]):
    """Messages of any origin: characters that no database takes (NUL, lone surrogates) are replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else value.replace("\x00", "�").encode("utf-8", "replace").decode()


class Table(SQLModel, registry=registry(metadata=MetaData(naming_convention=_NAMES))):
    """Base of the ledger's tables, apart from those of other users of SQLModel in the process."""


class JobRow(Table, table=True):
    __tablename__ = "jobs"

    id: str = Field(primary_key=True)
    name: str
    output: str
    revision: str
    run: int
    recipe: dict[str, Any] = Field(sa_type=JSON)
    model_digests: dict[str, str] = Field(sa_type=JSON)
    status: str
    total: int
    budget: float | None = None
    review: str = "end"
    overrides: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))
    error: str | None = Field(default=None, sa_type=FreeText)
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ItemRow(Table, table=True):
    __tablename__ = "items"
    __table_args__: ClassVar[Any] = (Index(None, "job_id", "shard", "state"),)

    job_id: str = Field(sa_column=Column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True))
    index: int = Field(primary_key=True)
    name: str
    prompt: str | None
    negative_prompt: str | None
    seed: int = Field(sa_type=BigInteger)
    vars: dict[str, Any] = Field(sa_type=JSON)
    image: str | None
    mask: str | None
    wide_seeds: bool = False
    shard: int
    state: str
    error: str | None = Field(default=None, sa_type=FreeText)
    error_step: str | None
    finals: dict[str, str] = Field(sa_type=JSON)
    warnings: list[str] = Field(sa_type=JSON)
    refused_image: str | None = None
    refused_by: str | None = Field(default=None, sa_type=FreeText)


class ReviewRow(Table, table=True):
    """A person's decision on an image of an item. It outlives the item's row: it holds for this image alone.

    By the item's name, which stays when the job's items come in another order.
    """

    __tablename__ = "reviews"

    job_id: str = Field(sa_column=Column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True))
    item: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    verdict: str
    reason: str | None = Field(default=None, sa_type=FreeText)
    reviewer: str | None = Field(default=None, sa_type=FreeText)
    reviewed_at: datetime = Field(sa_type=UtcDateTime)


class WaitRow(Table, table=True):
    """A burst that waits for people's decisions: its flow run is suspended, and no process runs."""

    __tablename__ = "waits"
    __table_args__: ClassVar[Any] = (Index(None, "job_id"),)

    flow_run_id: str = Field(primary_key=True)
    job_id: str = Field(sa_column=Column(ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False))
    since: datetime = Field(sa_type=UtcDateTime)
    until: datetime = Field(sa_type=UtcDateTime)


class StepRunRow(Table, table=True):
    """The outcome of an item at a visit of a step. (root, fingerprint) names the artefact, whose row may be gone."""

    __tablename__ = "step_runs"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["job_id", "index"], ["items.job_id", "items.index"], ondelete="CASCADE"),
    )

    job_id: str = Field(primary_key=True)
    index: int = Field(primary_key=True)
    visit: str = Field(primary_key=True)
    run: int
    outcome: str
    seconds: float
    cost: float = 0.0
    root: str | None
    fingerprint: str | None
    error: str | None = Field(default=None, sa_type=FreeText)
    traceback: str | None = Field(default=None, sa_type=FreeText)
    recorded_at: datetime = Field(sa_type=UtcDateTime)


class ArtefactRow(Table, table=True):
    __tablename__ = "artefacts"

    root: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    key: str
    sha256: str
    size: int = Field(sa_type=BigInteger)
    width: int
    height: int
    content_type: str
    step: str
    facts: dict[str, Any] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)


class ShardRow(Table, table=True):
    """`started` lists the flow runs that were seen running, one an attempt."""

    __tablename__ = "shards"

    job_id: str = Field(sa_column=Column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True))
    index: int = Field(primary_key=True)
    state: str
    flow_run_id: str | None
    started: list[str] = Field(sa_type=JSON)
    error: str | None = Field(default=None, sa_type=FreeText)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ModelLoadRow(Table, table=True):
    """No foreign key: a model may be loaded before any job."""

    __tablename__ = "model_loads"
    __table_args__: ClassVar[Any] = (Index(None, "job_id"),)

    id: int | None = Field(default=None, primary_key=True)
    job_id: str | None
    run: int | None
    model: str
    worker: str
    seconds: float
    cost: float = 0.0
    loaded_at: datetime = Field(sa_type=UtcDateTime)


class LeaseRow(Table, table=True):
    """The owner of a name. It is alive while `heartbeat` increases: clocks are never compared."""

    __tablename__ = "leases"

    name: str = Field(primary_key=True)
    owner: str
    heartbeat: int = Field(sa_type=BigInteger)


class BatchSizeRow(Table, table=True):
    """A batch size that fits the memory of a kind of device after a larger one did not.

    `key` is a digest of step, models and image size; `fallback` is the memory fallback that it took.
    """

    __tablename__ = "batch_sizes"

    device: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    size: int
    fallback: int
    recorded_at: datetime = Field(sa_type=UtcDateTime)
