"""`pixelmill accept` and `pixelmill reject`."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings
from flows.burst.review import ReviewOutcome, decide, login_name, resume_if_decided
from flows.pages.review_page import refresh_review_page
from flows.report.render import Answer
from flows.report.report import EXIT_DONE
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, ReviewVerdict


def decide_command(
    job: JobRecord,
    items: Sequence[str],
    verdict: ReviewVerdict,
    *,
    everything: bool,
    reason: str | None,
    by: str | None,
    ledger: Ledger,
    settings: Settings,
) -> Answer:
    """Record the verdict, and resume a burst that waited for it. Raises InvalidInput with every mistake."""
    if everything and items:
        raise InvalidInput([Problem("items", "name items or give --all, not both")])
    wanted = None if everything else dict.fromkeys(items)
    decided = decide(job.id, wanted, verdict, reason=reason, reviewer=by or login_name(), ledger=ledger)
    goes_on = resume_if_decided(job.id, ledger) if decided.items else False
    refresh_review_page(job, ledger, settings)
    document = {
        "job": job.id,
        "verdict": verdict.value,
        "items": list(decided.items),
        "waiting": decided.waiting,
        "burst": "resumed" if goes_on else "waits" if ledger.reviews.waits(job.id) else None,
    }
    return Answer(document, _describe(job, decided, verdict, goes_on, ledger), EXIT_DONE)


def _describe(
    job: JobRecord, decided: ReviewOutcome, verdict: ReviewVerdict, goes_on: bool | None, ledger: Ledger
) -> RenderableType:
    if not decided.items:
        return Text(f"Nothing of {job.name} waits for a decision.")
    lines = [
        f"{len(decided.items):,} {verdict.value}; "
        + (f"{decided.waiting:,} still wait" if decided.waiting else "nothing waits any longer")
    ]
    if goes_on:
        lines.append("The burst that waited for this goes on.")
    elif goes_on is None:
        lines.append(
            "A burst waited for this: it goes on once `pixelmill up`, or `pixelmill serve --revive`, resumes it."
        )
    elif decided.waiting and ledger.reviews.waits(job.id):
        lines.append("A burst waits for the others, then goes on.")
    elif verdict is ReviewVerdict.ACCEPTED and ledger.jobs.get(job.id).status is JobStatus.RUNNING:
        lines.append("The job runs: it continues with them at its end.")
    elif verdict is ReviewVerdict.ACCEPTED:
        lines.append(f"`pixelmill resume {job.id}` continues with them.")
    return Group(*(Text(line) for line in lines))
