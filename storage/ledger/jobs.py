"""Queries about jobs."""

from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlmodel import Session, col

from configs.documents.problems import InvalidInput, Problem, nearest
from configs.job.job import AtReview
from configs.recipe.recipe import Recipe
from configs.recipe.source import Overrides
from storage.ledger.database import Repository, query, transaction
from storage.ledger.records import JobRecord, JobStatus
from storage.ledger.tables import JobRow, ModelLoadRow

_NAMED = 5  # jobs of one name that a message lists
_ENDED = frozenset(JobStatus) - {JobStatus.RUNNING}
# What may follow a status: a new run starts an ended job again, and a repair corrects how it ended. Only a running job
# can be canceled; its burst may have come to another end at the same moment.
_NEXT = {
    status: frozenset(JobStatus) - {status} - ({JobStatus.CANCELLED} if status in _ENDED else set())
    for status in JobStatus
}


class JobRepository(Repository):
    """Jobs and their status."""

    @query
    def get(self, session: Session, job_id: str) -> JobRecord:
        """Raise LookupError, naming the most similar known jobs, if there is none of this id."""
        return job_record(get_row(job_id, session))

    @query
    def find(self, session: Session, wanted: str, *, field: str) -> JobRecord:
        """Return the job with this id, or with this name if no other job has it. Raises InvalidInput at `field`."""
        named = session.scalars(select(JobRow).where(col(JobRow.name) == wanted).limit(2)).all()
        if len(named) == 1:
            return job_record(named[0])
        try:
            return job_record(get_row(wanted, session))
        except LookupError as unknown:
            raise InvalidInput([Problem(field, str(unknown.args[0]))]) from None

    @query
    def run_and_status(self, session: Session, job_id: str) -> tuple[int, JobStatus]:
        """Return the job's newest run and its status: cheap enough for a query each second. Raises LookupError."""
        columns = select(col(JobRow.run), col(JobRow.status)).where(col(JobRow.id) == job_id)
        found = session.execute(columns).first()
        if found is None:
            raise _unknown(job_id, session)
        return found[0], JobStatus(found[1])

    @query
    def count(self, session: Session) -> int:
        """Return the number of jobs."""
        return session.scalar(select(func.count()).select_from(JobRow)) or 0

    @query
    def all(self, session: Session) -> list[JobRecord]:
        """Return all jobs, newest start first."""
        return [job_record(row) for row in session.scalars(select(JobRow).order_by(col(JobRow.started_at).desc()))]

    @transaction
    def set_status(self, session: Session, job_id: str, status: JobStatus, error: str | None = None) -> bool:
        """Set the status and the time of the end. Returns False, changing nothing, if it may not follow the former."""
        return change_status(get_row(job_id, session, lock=True), status, error)

    @transaction
    def end_if_running(self, session: Session, job_id: str, status: JobStatus, error: str | None = None) -> bool:
        """Set the status unless the job has ended meanwhile. Returns whether it was still running."""
        row = get_row(job_id, session, lock=True)
        return row.status == JobStatus.RUNNING and change_status(row, status, error)

    @transaction
    def forget(self, session: Session, job_id: str) -> None:
        """Delete the job with its items, outcomes, decisions, shards and model loads. Artefacts stay known."""
        session.execute(delete(ModelLoadRow).where(col(ModelLoadRow.job_id) == job_id))
        session.execute(delete(JobRow).where(col(JobRow.id) == job_id))  # the database deletes what belongs to it


def change_status(row: JobRow, status: JobStatus, error: str | None = None) -> bool:
    """Set a job's status, error and end. Returns False, changing nothing, if the status may not follow the former."""
    former = JobStatus(row.status)
    if status is not former and status not in _NEXT[former]:
        return False
    row.status, row.error = status.value, error
    row.finished_at = datetime.now(UTC) if status in _ENDED else None
    return True


def get_row(job_id: str, session: Session, *, lock: bool = False) -> JobRow:
    """Return the job's row. Raises LookupError."""
    row = session.get(JobRow, job_id, with_for_update=lock)
    if row is None:
        raise _unknown(job_id, session)
    return row


def step_order(job_id: str, session: Session) -> dict[str, int]:
    """Return step id -> position in the recipe. Raises LookupError."""
    recipe = job_record(get_row(job_id, session)).recipe
    return {step.id: position for position, step in enumerate(recipe.leaves)}


def _unknown(job_id: str, session: Session) -> LookupError:
    known = session.execute(select(col(JobRow.id), col(JobRow.name))).all()
    if any(name == job_id for _, name in known):
        named = select(col(JobRow.id), col(JobRow.output)).where(col(JobRow.name) == job_id)
        newest = session.execute(named.order_by(col(JobRow.started_at).desc()).limit(_NAMED)).all()
        ids = ", ".join(f"{one} ({output})" for one, output in newest)
        return LookupError(f"More than one job is called {job_id!r}; give the id of one, such as {ids}.")
    near = nearest(job_id, {name for pair in known for name in pair}, limit=3, cutoff=40)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`pixelmill status` lists those it has."
    return LookupError(f"The ledger has no job {job_id!r}. {hint}")


def job_record(row: JobRow) -> JobRecord:
    """Return the record of a row."""
    values = {name: getattr(row, name) for name in JobRecord.__dataclass_fields__}
    values |= {"status": JobStatus(row.status), "review": AtReview(row.review)}
    values["recipe"] = Recipe.model_validate(row.recipe)
    values["overrides"] = Overrides.model_validate(row.overrides) if row.overrides is not None else None
    return JobRecord(**values)
