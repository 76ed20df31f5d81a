"""What the forms about one job share: the job itself, and what their flow runs are called."""

from collections.abc import Callable

from prefect.runtime import flow_run
from pydantic import BaseModel, Field

from flows.job.job_named import job_named
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord


class JobForm(BaseModel):
    """Which job."""

    job: str = Field(title="Job", description="Its id, or its name where only one job has it.", min_length=1)

    def find_job(self, ledger: Ledger) -> JobRecord:
        """The job that is meant. Raises InvalidInput."""
        return job_named(self.job.strip(), ledger, field="job")


def named_by_job(verb: str) -> Callable[[], str]:
    """The name of a flow run: what it does, and to which job."""
    return lambda: f"{verb} {(flow_run.parameters or {}).get('job')}"
