"""A job by its id or its name. Loads no Prefect, for commands."""

from configs.documents.problems import InvalidInput, Problem
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord


def job_named(wanted: str, ledger: Ledger, *, field: str) -> JobRecord:
    """Return the job with this id, or with this name if no other job has it. Raises InvalidInput at `field`."""
    named = [job for job in ledger.jobs.all() if job.name == wanted]
    if len(named) == 1:
        return named[0]
    try:
        return ledger.jobs.get(wanted)
    except LookupError as unknown:
        raise InvalidInput([Problem(field, str(unknown.args[0]))]) from None
