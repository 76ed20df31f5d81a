"""Forms about existing jobs and workers: retry-failed, review, verify and warm-up."""

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from prefect import State, get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import BaseModel, Field
from rich.console import Console

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings, load_settings
from flows.burst.burst import run_burst, with_burst
from flows.burst.form_flow import form_flow, with_ledger
from flows.burst.publish import publish_text, publish_waiting
from flows.burst.review import decide, drop_ended_waits, resume_if_decided
from flows.cli.verify import verify_command
from flows.job.plan import Retried, continue_job, retry_items
from flows.pages.review_page import refresh_review_page
from flows.report.report import EXIT_DONE, Summary
from gpu_worker.device.runtime import get_runtime
from storage.ledger.lease import job_run
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, ReviewVerdict

ALL = "all"
_VERDICTS = {"accept": ReviewVerdict.ACCEPTED, "reject": ReviewVerdict.REJECTED}


class JobForm(BaseModel):
    """Form about one job."""

    job: str = Field(title="Job", description="Its id, or its name where only one job has it.", min_length=1)

    def find_job(self, ledger: Ledger) -> JobRecord:
        """Return the form's job. Raises InvalidInput."""
        return ledger.jobs.find(self.job.strip(), field="job")


def named_by_job(verb: str) -> Callable[[], str]:
    """Return a function that names a flow run after a verb and its job."""
    return lambda: f"{verb} {(flow_run.parameters or {}).get('job')}"


class RetryForm(JobForm):
    """Job and items to retry."""

    which: Retried = Field(
        default="both",
        title="Which items",
        description="Stored images are not made again. `rejected`: items that a person rejected, which the other "
        "choices leave alone.",
    )


@form_flow(
    RetryForm,
    name="retry-failed",
    run_name=named_by_job("retry"),
    description="Runs the items of a job again that failed or were quarantined.",
)
def retry_failed(form: RetryForm) -> State[Any]:
    """Return the final state of the burst."""
    return with_burst(partial(_retry, form))


def _retry(form: RetryForm, ledger: Ledger, settings: Settings) -> Summary:
    known = form.find_job(ledger)
    with job_run(known.id, ledger) as held:
        job = continue_job(known, ledger, settings)
        retry_items(job.id, form.which, ledger)
        return run_burst(job, ledger, settings, held)


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
    with job_run(job.id, ledger) as held:
        return run_burst(continue_job(ledger.jobs.get(job.id), ledger, settings), ledger, settings, held)


def _listed(job: JobRecord, ledger: Ledger, settings: Settings, done: str) -> State[Any]:
    waiting = publish_waiting(job, ledger, settings)
    left = f"{waiting:,} {'waits' if waiting == 1 else 'wait'} for a decision" if waiting else "Nothing waits"
    return Completed(message=f"{done} {left}.")


class VerifyForm(JobForm):
    """Job to verify or repair."""

    repair: bool = Field(
        default=False, title="Repair", description="Repair what is wrong; lost images have to be made again afterwards."
    )


@form_flow(
    VerifyForm,
    name="verify",
    run_name=named_by_job("verify"),
    description="Reads every image of a job back, and compares store, ledger and manifest.",
)
def verify(form: VerifyForm) -> State[Any]:
    """Return Completed if nothing is wrong; Failed if something is, or has to be made again."""
    return with_ledger(partial(_verify, form))


def _verify(form: VerifyForm, ledger: Ledger, settings: Settings) -> State[Any]:
    job = form.find_job(ledger)
    answer = verify_command(job.id, job.id, ledger, settings, repair=form.repair, console=Console(quiet=True))
    screen = Console(width=120, force_terminal=False)
    with screen.capture() as printed:
        screen.print(answer.text, highlight=False)
    text = printed.get().strip()
    publish_text("verify", job.name, text, f"Findings of `verify` in {job.id}")
    head = text.splitlines()[0] if text else ""
    return Completed(message=head) if answer.exit_status == EXIT_DONE else Failed(message=head)


class WarmUpForm(BaseModel):
    """Models to load."""

    models: str = Field(
        default="starter", title="Models", description="Names of models, separated by commas or lines.", min_length=1
    )


@form_flow(
    WarmUpForm,
    name="warm-up",
    run_name="warm-up",
    description="Loads models on one idle GPU worker before work comes.",
)
def warm_up(form: WarmUpForm) -> State[Any]:
    """Return Completed, or Failed with all unknown names, and then nothing is loaded."""
    runtime = get_runtime(load_settings())
    names = [name for name in re.split(r"[\s,]+", form.models) if name]
    wrong = []
    for name in names:
        try:
            runtime.catalogue.get(name)
        except (LookupError, InvalidInput) as error:
            wrong.append(str(error.args[0] if isinstance(error, LookupError) else error))
    if wrong or not names:
        return Failed(message="; ".join(wrong) or "name at least one model")
    logger = get_run_logger()
    loaded = []
    for ref in runtime.refs(names):
        if ref not in runtime.resident():
            began = time.monotonic()
            runtime.load(ref)
            loaded.append(f"{ref} in {time.monotonic() - began:.1f} s")
            logger.info("loaded %s", loaded[-1])
    return Completed(message=f"{runtime.name}: " + ("loaded " + ", ".join(loaded) if loaded else "all were loaded"))
