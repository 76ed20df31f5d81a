"""The ledger's change of a job to another recipe, with all items that come out otherwise, in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlmodel import Session, col

from configs.recipe.recipe import Recipe
from configs.recipe.source import Overrides
from configs.reporting import PixelmillError
from storage.ledger.database import Database
from storage.ledger.items import reset_items
from storage.ledger.jobs import job_record, replace_shards, written_overrides
from storage.ledger.records import JobRecord, JobStatus, Rerecord, StepOutcome
from storage.ledger.steps import end_items, forget_other_steps, upsert_outcomes
from storage.ledger.tables import ItemRow, JobRow


class JobChanged(PixelmillError):
    """The job is no longer as it was when it was decided anew; nothing was changed."""


class RecipeChange(NamedTuple):
    """The arguments of `Ledger.change_recipe`."""

    job: JobRecord
    recipe: Recipe
    overrides: Overrides | None
    revision: str
    model_digests: Mapping[str, str]
    variables: Mapping[int, Mapping[str, Any]]
    ways: Sequence[Rerecord]


def change_recipe(change: RecipeChange, *, session: Session, database: Database) -> JobRecord:
    job_id, now = change.job.id, datetime.now(UTC)
    row = session.get_one(JobRow, job_id, with_for_update=True)
    if (row.run, row.revision) != (change.job.run, change.job.revision):
        raise JobChanged(f"{job_id} went on while it was decided anew: do it again")
    row.recipe = change.recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    row.overrides = written_overrides(change.overrides)
    row.revision, row.model_digests = change.revision, dict(change.model_digests)
    row.run += 1
    row.status, row.error, row.started_at, row.finished_at = JobStatus.RUNNING.value, None, now, None
    session.flush()
    _set_variables(job_id, change.variables, session)
    # Steps that are no longer on the items' ways, and failures.
    forget_other_steps(job_id, {way.index: way.entries.keys() for way in change.ways}, session)
    reset_items(job_id, None, [way.index for way in change.ways if way.end is None], session=session)
    by_visit: dict[str, list[StepOutcome]] = {}
    for way in change.ways:
        for visit_id, entry in way.entries.items():
            by_visit.setdefault(visit_id, []).append(entry)
    for visit_id, entries in by_visit.items():
        upsert_outcomes(job_id, row.run, visit_id, entries, session, database)
    end_items(job_id, [way.end for way in change.ways if way.end is not None], session=session)
    shards = session.scalars(select(col(ItemRow.shard)).where(col(ItemRow.job_id) == job_id).distinct())
    replace_shards(job_id, list(shards), now, session)
    return job_record(row)


def _set_variables(job_id: str, variables: Mapping[int, Mapping[str, Any]], session: Session) -> None:
    rows = [{"job_id": job_id, "index": index, "vars": dict(values)} for index, values in variables.items()]
    if rows:
        session.execute(update(ItemRow), rows)  # by primary key
