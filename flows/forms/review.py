"""review: a person's decisions about images that gates refused, as a form."""

from functools import partial
from typing import Any, Literal

from prefect import State
from prefect.states import Completed
from pydantic import Field

from configs.settings.settings import Settings
from flows.burst.burst import run_burst, with_burst
from flows.burst.form_flow import form_flow
from flows.burst.publish import publish_waiting
from flows.burst.review import decide, drop_ended_waits, resume_if_decided
from flows.forms.upkeep import JobForm, named_by_job
from flows.job.plan import continue_job
from flows.pages.review_page import refresh_review_page
from flows.report.report import Summary
from storage.ledger.lease import job_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, ReviewVerdict

ALL = "all"
_VERDICTS = {"accept": ReviewVerdict.ACCEPTED, "reject": ReviewVerdict.REJECTED}


class ReviewForm(JobForm):
    """Job, items and decision."""

    items: str = Field(
        default="",
        title="Items",
        description=f"One name per line, or `{ALL}` for all that wait. Empty: only list the items that wait.",
    )
    decision: Literal["accept", "reject"] = Field(
        default="accept", title="Decision", description="Accepted images go on; rejected ones stay in quarantine."
    )
    reason: str = Field(default="", title="Reason", description="Kept with the decision.")
    by: str = Field(default="", title="Who decides", description="A name; the server has no logins.")
    resume: bool = Field(
        default=True, title="Go on", description="Continue with accepted images at once, unless a burst waits for them."
    )


@form_flow(
    ReviewForm,
    name="review",
    run_name=named_by_job("review"),
    description="Accepts or rejects images that gates refused.",
)
def review(form: ReviewForm) -> State[Any]:
    """Return Completed, the state of a burst that goes on, or Failed after a mistake; then nothing was decided."""
    return with_burst(partial(_review, form))


def _review(form: ReviewForm, ledger: Ledger, settings: Settings) -> Summary | State[Any]:
    job = form.find_job(ledger)
    names = [line.strip() for line in form.items.splitlines() if line.strip()]
    if not names:
        return _listed(job, ledger, settings, "Nothing was decided.")
    verdict = _VERDICTS[form.decision]
    decided = decide(
        job.id,
        None if names == [ALL] else dict.fromkeys(names),
        verdict,
        reason=form.reason.strip(),
        reviewer=form.by.strip() or None,
        ledger=ledger,
    )
    done = f"{len(decided.items):,} {verdict.value}." if decided.items else "Nothing was decided."
    refresh_review_page(job, ledger, settings)
    if resume_if_decided(job.id, ledger):
        return _listed(job, ledger, settings, f"{done} The burst that waited for this goes on.")
    if not (form.resume and decided.items and verdict is ReviewVerdict.ACCEPTED):
        return _listed(job, ledger, settings, done)
    drop_ended_waits(ledger)
    if ledger.reviews.waits(job.id):
        return _listed(job, ledger, settings, f"{done} A burst waits, and goes on after the last decision.")
    if ledger.jobs.get(job.id).status is JobStatus.RUNNING:
        return _listed(job, ledger, settings, f"{done} The job runs, and continues with it at its end.")
    with job_lease(job.id, ledger) as held:
        return run_burst(continue_job(ledger.jobs.get(job.id), ledger, settings), ledger, settings, held)


def _listed(job: JobRecord, ledger: Ledger, settings: Settings, done: str) -> State[Any]:
    waiting = publish_waiting(job, ledger, settings)
    left = f"{waiting:,} {'waits' if waiting == 1 else 'wait'} for a decision" if waiting else "Nothing waits"
    return Completed(message=f"{done} {left}.")
