"""Queries about runs of a job: how one begins, its shards, and what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlmodel import Session, col

from configs.documents.fields import Item
from configs.failures import PixelmillError
from configs.job.job import AtReview
from configs.recipe.recipe import Recipe
from configs.recipe.source import Overrides
from storage.ledger.database import Repository, query, single_transaction, slices, transaction
from storage.ledger.items import PENDING_IN_SHARD, reset_items
from storage.ledger.jobs import change_status, job_record
from storage.ledger.records import (
    ItemResult,
    ItemState,
    JobRecord,
    JobStatus,
    ModelLoads,
    Rerecord,
    ShardRecord,
    ShardState,
    StepOutcome,
)
from storage.ledger.steps import end_items, forget_other_visits, result_values, upsert_outcomes
from storage.ledger.tables import ItemRow, JobRow, ModelLoadRow, ShardRow, StepRunRow

_INSERT_SLICE = 2000  # rows that are in memory at once while a job is written


class JobChanged(PixelmillError):
    """Raised if the job has changed since it was re-evaluated; nothing was written."""


class RunRepository(Repository):
    """Runs of jobs, their shards and model loads."""

    @single_transaction
    def start(
        self,
        session: Session,
        *,
        job_id: str,
        name: str,
        output: str,
        revision: str,
        recipe: Recipe,
        model_digests: Mapping[str, str],
        items: Sequence[tuple[Item, int]],  # with the shard each belongs to
        budget: float | None = None,
        review: AtReview = AtReview.END,
        overrides: Overrides | None = None,
    ) -> JobRecord:
        """Begin a run of the job, in one transaction: create the job or add 1 to its `run`.

        If the ledger holds the same revision, items keep their state. If recipe, items or models changed, items and
        step outcomes are replaced, all pending; artefacts stay. Status becomes RUNNING, and all shards pending, without
        attempts. `overrides` are part of the recipe already and only kept; None means unknown.
        """
        now = datetime.now(UTC)
        contents = {
            "name": name,
            "output": output,
            "revision": revision,
            "recipe": _recipe_document(recipe),
            "model_digests": dict(model_digests),
            "total": len(items),
            "budget": budget,
            "review": review.value,
            "overrides": _overrides_document(overrides),
            "started_at": now,
        }
        # If two processes start a new job at once, one waits here for the other.
        fresh = {"id": job_id, "run": 0, "created_at": now, "status": JobStatus.RUNNING.value, **contents}
        session.execute(self.database.insert(JobRow).on_conflict_do_nothing(), [fresh])
        row = session.get_one(JobRow, job_id, with_for_update=True)
        same = row.run > 0 and row.revision == revision
        row.sqlmodel_update(contents)
        change_status(row, JobStatus.RUNNING)
        row.run += 1
        session.flush()
        if same:
            _update_items(job_id, items, session)
        else:
            _replace_items(job_id, items, session)
        _replace_shards(job_id, {shard for _, shard in items}, now, session)
        return job_record(row)

    @single_transaction
    def change_recipe(
        self,
        session: Session,
        job: JobRecord,
        *,
        recipe: Recipe,
        overrides: Overrides | None,
        revision: str,
        model_digests: Mapping[str, str],
        variables: Mapping[int, Mapping[str, Any]],
        items: Sequence[Rerecord],
    ) -> JobRecord:
        """Begin a run of the job under another recipe, replacing the records of the items that it changes (`items`).

        One transaction; status becomes RUNNING. All other items stay, except for new `variables` (by item). Raises
        JobChanged if the job differs from `job` by now.
        """
        now = datetime.now(UTC)
        row = session.get_one(JobRow, job.id, with_for_update=True)
        if (row.run, row.revision) != (job.run, job.revision):
            raise JobChanged(f"{job.id} has changed since it was re-evaluated: repeat the command")
        row.recipe, row.overrides = _recipe_document(recipe), _overrides_document(overrides)
        row.revision, row.model_digests = revision, dict(model_digests)
        row.run += 1
        row.started_at = now
        change_status(row, JobStatus.RUNNING)
        session.flush()
        if variables:
            rows = [{"job_id": job.id, "index": index, "vars": dict(values)} for index, values in variables.items()]
            session.execute(update(ItemRow), rows)  # by primary key
        self._record_again(job.id, row.run, items, session)
        shards = session.scalars(select(col(ItemRow.shard)).where(col(ItemRow.job_id) == job.id).distinct())
        _replace_shards(job.id, set(shards), now, session)
        return job_record(row)

    def _record_again(self, job_id: str, run: int, items: Sequence[Rerecord], session: Session) -> None:
        # Deletes failures, and steps that are no longer on the items' paths.
        forget_other_visits(job_id, {item.index: item.entries.keys() for item in items}, session)
        reset_items(job_id, None, [item.index for item in items if item.end is None], session)
        by_visit: dict[str, list[StepOutcome]] = {}
        for item in items:
            for visit, outcome in item.entries.items():
                by_visit.setdefault(visit, []).append(outcome)
        for visit, outcomes in by_visit.items():
            upsert_outcomes(job_id, run, visit, outcomes, session, self.database)
        end_items(job_id, {item.index: item.end for item in items if item.end is not None}, session)

    @query
    def shards(self, session: Session, job_id: str) -> list[ShardRecord]:
        """Return the job's shards in order. `items` counts those that are still pending."""
        counts = (
            select(col(ShardRow.index), func.count(col(ItemRow.index)))
            .outerjoin(ItemRow, PENDING_IN_SHARD)
            .where(col(ShardRow.job_id) == job_id)
            .group_by(col(ShardRow.index))
        )
        items = {index: int(count) for index, count in session.execute(counts)}
        rows = session.scalars(select(ShardRow).where(col(ShardRow.job_id) == job_id).order_by(col(ShardRow.index)))
        return [
            ShardRecord(
                index=row.index,
                state=ShardState(row.state),
                items=items[row.index],
                attempts=len(row.started),
                flow_run_id=row.flow_run_id,
                error=row.error,
                updated_at=row.updated_at,
            )
            for row in rows
        ]

    @transaction
    def set_shard(
        self,
        session: Session,
        job_id: str,
        shard: int,
        state: ShardState,
        *,
        flow_run_id: str | None = None,
        error: str | None = None,
    ) -> None:
        """Set a shard's state and `updated_at` (a heartbeat). RUNNING with a new flow_run_id adds an attempt.

        A flow run that has been followed by another changes nothing. Raises LookupError for an unknown shard.
        """
        row = session.get(ShardRow, (job_id, shard), with_for_update=True)
        if row is None:
            raise LookupError(f"The ledger has no shard {shard} of job {job_id!r}.")
        if flow_run_id is not None and flow_run_id in row.started[:-1]:
            return
        if state is ShardState.RUNNING and flow_run_id is not None and flow_run_id not in row.started:
            row.started = [*row.started, flow_run_id]
        row.state, row.error, row.updated_at = state.value, error, datetime.now(UTC)
        row.flow_run_id = flow_run_id or row.flow_run_id

    @single_transaction
    def record_model_load(
        self,
        session: Session,
        job_id: str | None,
        run: int | None,
        model: str,
        worker: str,
        seconds: float,
        cost: float = 0.0,
    ) -> None:
        """Record that a worker loaded `model`, a str(ModelRef). Loads before any job (keep_warm) have no job."""
        now = datetime.now(UTC)
        session.add(
            ModelLoadRow(job_id=job_id, run=run, model=model, worker=worker, seconds=seconds, cost=cost, loaded_at=now)
        )

    @query
    def model_loads(self, session: Session, job_id: str, run: int | None = None) -> dict[str, ModelLoads]:
        """Return loads by model, of all runs or of one."""
        loads = select(
            col(ModelLoadRow.model), func.count(), func.sum(col(ModelLoadRow.seconds)), func.sum(col(ModelLoadRow.cost))
        ).where(col(ModelLoadRow.job_id) == job_id)
        if run is not None:
            loads = loads.where(col(ModelLoadRow.run) == run)
        rows = session.execute(loads.group_by(col(ModelLoadRow.model)))
        return {model: ModelLoads(int(count), seconds, cost) for model, count, seconds, cost in rows}

    @query
    def cost(self, session: Session, job_id: str, run: int) -> float:
        """Return what the run has cost so far: its images and its model loads."""
        total = 0.0
        for table in (StepRunRow, ModelLoadRow):
            costs = select(func.sum(col(table.cost))).where(col(table.job_id) == job_id, col(table.run) == run)
            total += session.scalar(costs) or 0.0
        return total


def _recipe_document(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _overrides_document(overrides: Overrides | None) -> dict[str, Any] | None:
    return overrides.model_dump(mode="json") if overrides is not None else None


def _replace_items(job_id: str, items: Sequence[tuple[Item, int]], session: Session) -> None:
    session.execute(delete(StepRunRow).where(col(StepRunRow.job_id) == job_id))
    session.execute(delete(ItemRow).where(col(ItemRow.job_id) == job_id))
    for some in slices((_item_row(job_id, item, shard) for item, shard in items), _INSERT_SLICE):
        session.execute(insert(ItemRow), some)


def _item_row(job_id: str, item: Item, shard: int) -> dict[str, Any]:
    return {
        **{name: getattr(item, name) for name in Item.model_fields},
        "job_id": job_id,
        "shard": shard,
        **result_values(ItemResult(ItemState.PENDING)),
    }


def _update_items(job_id: str, items: Sequence[tuple[Item, int]], session: Session) -> None:
    """Move items to other shards if the shard size changed, and add those whose rows were lost, pending."""
    known = select(col(ItemRow.index), col(ItemRow.shard)).where(col(ItemRow.job_id) == job_id)
    shards = {index: shard for index, shard in session.execute(known)}  # noqa: C416 - dict() would look for keys
    moved: Iterator[dict[str, Any]] = (
        {"job_id": job_id, "index": item.index, "shard": shard}
        for item, shard in items
        if shards.get(item.index, shard) != shard
    )
    for some in slices(moved, _INSERT_SLICE):
        session.execute(update(ItemRow), some)  # by primary key
    added = (_item_row(job_id, item, shard) for item, shard in items if item.index not in shards)
    for some in slices(added, _INSERT_SLICE):
        session.execute(insert(ItemRow), some)


def _replace_shards(job_id: str, shards: set[int], now: datetime, session: Session) -> None:
    """Make all shards pending, without attempts."""
    session.execute(delete(ShardRow).where(col(ShardRow.job_id) == job_id))
    fresh: dict[str, Any] = {
        "state": ShardState.PENDING.value,
        "flow_run_id": None,
        "started": [],
        "error": None,
        "updated_at": now,
    }
    for some in slices(({"job_id": job_id, "index": shard, **fresh} for shard in sorted(shards)), _INSERT_SLICE):
        session.execute(insert(ShardRow), some)
