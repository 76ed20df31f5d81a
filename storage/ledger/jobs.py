"""The ledger's queries about jobs."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select, update
from sqlmodel import Session, col

from configs.documents.fields import Item
from configs.job.job import AtReview
from configs.recipe.recipe import Recipe
from configs.recipe.source import Overrides
from storage.ledger.database import Database
from storage.ledger.records import ItemState, JobRecord, JobStatus, ShardState
from storage.ledger.tables import ItemRow, JobRow, ShardRow, StepRunRow

_INSERT_SLICE = 2000  # rows that are in memory at once while a job is written
_NAMED = 5  # jobs of one name that a message lists
_ENDED = {JobStatus.DONE, JobStatus.INCOMPLETE, JobStatus.CANCELLED, JobStatus.FAILED}


class RunStart(NamedTuple):
    """The arguments of `Ledger.start_run`."""

    job_id: str
    name: str
    output: str
    revision: str
    recipe: Recipe
    model_digests: Mapping[str, str]
    items: Sequence[tuple[Item, int]]
    budget: float | None
    review: AtReview
    overrides: Overrides | None


def start_run(start: RunStart, *, session: Session, database: Database) -> JobRecord:
    now = datetime.now(UTC)
    contents = _contents(start, now)
    # Of two that start a new job at once, one waits here for the other.
    fresh = {"id": start.job_id, "run": 0, "created_at": now, **contents}
    session.execute(database.insert(JobRow).on_conflict_do_nothing(), [fresh])
    row = session.get_one(JobRow, start.job_id, with_for_update=True)
    same = row.run > 0 and row.revision == start.revision
    row.sqlmodel_update(contents)
    row.run += 1
    session.flush()
    if same:
        _move_items(start, session)
    else:
        _replace_items(start, session)
    replace_shards(start.job_id, (shard for _, shard in start.items), now, session)
    return job_record(row)


def _contents(start: RunStart, now: datetime) -> dict[str, Any]:
    return {
        "name": start.name,
        "output": start.output,
        "revision": start.revision,
        "recipe": start.recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "model_digests": dict(start.model_digests),
        "status": JobStatus.RUNNING.value,
        "total": len(start.items),
        "budget": start.budget,
        "review": start.review.value,
        "overrides": written_overrides(start.overrides),
        "error": None,
        "started_at": now,
        "finished_at": None,
    }


def written_overrides(overrides: Overrides | None) -> dict[str, Any] | None:
    """As the row has them."""
    return overrides.model_dump(mode="json") if overrides is not None else None


def _replace_items(start: RunStart, session: Session) -> None:
    session.execute(delete(StepRunRow).where(col(StepRunRow.job_id) == start.job_id))
    session.execute(delete(ItemRow).where(col(ItemRow.job_id) == start.job_id))
    rows = (_item_row(start.job_id, item, shard) for item, shard in start.items)
    for some in _slices(rows):
        session.execute(insert(ItemRow), some)


def _item_row(job_id: str, item: Item, shard: int) -> dict[str, Any]:
    return {
        **{name: getattr(item, name) for name in Item.model_fields},
        "job_id": job_id,
        "shard": shard,
        "state": ItemState.PENDING.value,
        "error": None,
        "error_step": None,
        "finals": {},
        "warnings": [],
        "refused_image": None,
        "refused_by": None,
    }


def _move_items(start: RunStart, session: Session) -> None:
    """Another shard size spreads the same items differently. Items whose rows were lost come back, pending."""
    known = select(col(ItemRow.index), col(ItemRow.shard)).where(col(ItemRow.job_id) == start.job_id)
    shards = {index: shard for index, shard in session.execute(known)}  # noqa: C416 - dict() would look for keys
    rows: Iterator[dict[str, Any]] = (
        {"job_id": start.job_id, "index": item.index, "shard": shard}
        for item, shard in start.items
        if shards.get(item.index, shard) != shard
    )
    for some in _slices(rows):
        session.execute(update(ItemRow), some)  # by primary key
    lost = (_item_row(start.job_id, item, shard) for item, shard in start.items if item.index not in shards)
    for some in _slices(lost):
        session.execute(insert(ItemRow), some)


def replace_shards(job_id: str, shards: Iterable[int], now: datetime, session: Session) -> None:
    """All shards begin anew: pending, without attempts."""
    session.execute(delete(ShardRow).where(col(ShardRow.job_id) == job_id))
    rows: Iterator[dict[str, Any]] = (
        {
            "job_id": job_id,
            "index": shard,
            "state": ShardState.PENDING.value,
            "flow_run_id": None,
            "started": [],
            "error": None,
            "updated_at": now,
        }
        for shard in sorted(set(shards))
    )
    for some in _slices(rows):
        session.execute(insert(ShardRow), some)


def _slices(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while some := list(islice(rows, _INSERT_SLICE)):
        yield some


def get_job(job_id: str, *, session: Session) -> JobRecord:
    row = session.get(JobRow, job_id)
    if row is None:
        raise _unknown(job_id, session)
    return job_record(row)


def get_standing(job_id: str, *, session: Session) -> tuple[int, JobStatus]:
    found = session.execute(select(col(JobRow.run), col(JobRow.status)).where(col(JobRow.id) == job_id)).first()
    if found is None:
        raise _unknown(job_id, session)
    return found[0], JobStatus(found[1])


def all_jobs(*, session: Session) -> list[JobRecord]:
    return [job_record(row) for row in session.scalars(select(JobRow).order_by(col(JobRow.started_at).desc()))]


def set_status(job_id: str, status: JobStatus, error: str | None, *, session: Session) -> None:
    row = session.get(JobRow, job_id, with_for_update=True)
    if row is None:
        raise _unknown(job_id, session)
    row.status, row.error = status.value, error
    row.finished_at = datetime.now(UTC) if status in _ENDED else None


def _unknown(job_id: str, session: Session) -> LookupError:
    known = session.execute(select(col(JobRow.id), col(JobRow.name))).all()
    if any(name == job_id for _, name in known):
        named = select(col(JobRow.id), col(JobRow.output)).where(col(JobRow.name) == job_id)
        newest = session.execute(named.order_by(col(JobRow.started_at).desc()).limit(_NAMED)).all()
        ids = ", ".join(f"{one} ({output})" for one, output in newest)
        return LookupError(f"More than one job is called {job_id!r}; give the id of one, such as {ids}.")
    near = difflib.get_close_matches(job_id, {name for pair in known for name in pair}, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`pixelmill status` lists those it has."
    return LookupError(f"The ledger has no job {job_id!r}. {hint}")


def job_record(row: JobRow) -> JobRecord:
    return JobRecord(
        id=row.id,
        name=row.name,
        output=row.output,
        revision=row.revision,
        run=row.run,
        recipe=Recipe.model_validate(row.recipe),
        model_digests=row.model_digests,
        status=JobStatus(row.status),
        total=row.total,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        budget=row.budget,
        review=AtReview(row.review),
        overrides=Overrides.model_validate(row.overrides) if row.overrides is not None else None,
    )
