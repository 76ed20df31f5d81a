"""retry-failed: the items of a job that failed or were quarantined, once more."""

from functools import partial
from typing import Any

from prefect import State
from pydantic import Field

from configs.settings.settings import Settings
from flows.burst.burst import run_burst, with_burst
from flows.burst.form_flow import form_flow
from flows.forms.job_form import JobForm, named_by_job
from flows.job.plan import continue_job
from flows.job.retried import Retried, retry_items
from flows.report.report import Summary
from storage.ledger.job_lease import job_lease
from storage.ledger.ledger import Ledger


class RetryForm(JobForm):
    """Which of its items."""

    which: Retried = Field(
        default="both",
        title="Which items",
        description="Images that were stored already are not made again. `rejected`: those that a person rejected, "
        "which the others leave alone.",
    )


@form_flow(
    RetryForm,
    name="retry-failed",
    run_name=named_by_job("retry"),
    description="The items of a job that failed or were quarantined, once more.",
)
def retry_failed(form: RetryForm) -> State[Any]:
    """Ends as a burst does."""
    return with_burst(partial(_retry, form))


def _retry(form: RetryForm, ledger: Ledger, settings: Settings) -> Summary:
    known = form.find_job(ledger)
    with job_lease(known.id, ledger) as held:
        job = continue_job(known, ledger, settings)
        retry_items(job.id, form.which, ledger)
        return run_burst(job, ledger, settings, held)
