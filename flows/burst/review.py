"""People's decisions about images that gates refused, and bursts that wait for them."""

import getpass
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from configs.documents.problems import InvalidInput, Problem, nearest
from configs.job.job import AtReview
from configs.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState, JobRecord, JobStatus, Review, ReviewVerdict, Wait

Wanted = Mapping[str, str | None]  # item -> fingerprint of the image that the person saw, or None for the present one
logger = logging.getLogger(__name__)
# Prefect fails a flow run that is never resumed; before that, the supervisor of bursts ends the wait in order.
GRACE = timedelta(days=1)


class ReviewOutcome(NamedTuple):
    """Names of the items with a new decision, and the number of items that still wait."""

    items: tuple[str, ...]
    waiting: int


def decide(
    job_id: str,
    wanted: Wanted | None,
    verdict: ReviewVerdict,
    *,
    reason: str | None,
    reviewer: str | None,
    ledger: Ledger,
) -> ReviewOutcome:
    """Record the verdict about the images of these items, or with `wanted=None` of all that wait.

    A decision can be changed while the item is quarantined. Raises InvalidInput with every mistake, and then nothing is
    recorded.
    """
    refused = ledger.reviews.refused_images(job_id)
    if wanted is None:
        chosen = {name: image for name, (image, decided) in refused.items() if decided is None}
    elif problems := _problems(job_id, wanted, refused, ledger):
        raise InvalidInput(problems)
    else:
        chosen = {name: refused[name][0] for name in wanted}
    now = datetime.now(UTC)
    reviews = [Review(name, image, verdict, reason or None, reviewer, now) for name, image in chosen.items()]
    ledger.reviews.add(job_id, reviews)
    return ReviewOutcome(tuple(chosen), ledger.reviews.count_waiting(job_id))


def _problems(
    job_id: str, wanted: Wanted, refused: Mapping[str, tuple[str, ReviewVerdict | None]], ledger: Ledger
) -> list[Problem]:
    if not wanted:
        return [Problem("items", "name at least one, or all that wait (`--all`)")]
    problems = []
    unknown = [name for name in wanted if name not in refused]
    if unknown:
        records = {record.item.name: record for record in ledger.items.find(job_id)}
        for name in unknown:
            if (record := records.get(name)) is None:
                near = nearest(name, refused) or nearest(name, records)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                problems.append(Problem(name, f"the job has no such item{hint}"))
            elif record.state is ItemState.QUARANTINED:
                message = f"no gate refused an image of it, so there is nothing to decide: {record.error}"
                problems.append(Problem(name, message))
            else:
                problems.append(Problem(name, f"is not quarantined: it is {record.state.value}"))
    for name, seen in wanted.items():
        if name in refused and seen is not None and seen != refused[name][0]:
            problems.append(Problem(name, "has another image by now: look at that one first"))
    return problems


def login_name() -> str:
    """Return the login name of the user of this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


def suspend_for_review(job: JobRecord, ledger: Ledger, settings: Settings) -> None:
    """Suspend the flow run of this process, by Prefect's Pause, if its job has `review: wait` and items wait.

    Returns if the burst has to end instead: nothing waits, no worker could resume it, or another burst of the job waits
    already. A suspended burst has no process; the ledger records the wait, and the job is incomplete meanwhile.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import State
    from prefect.context import FlowRunContext
    from prefect.exceptions import Abort, Pause
    from prefect.states import Suspended
    from prefect.utilities.engine import propose_state_sync

    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    if run is None or run.deployment_id is None or run.parent_task_run_id is not None:
        return
    drop_ended_waits(ledger)
    others = any(wait.flow_run_id != str(run.id) for wait in ledger.reviews.waits(job.id))
    if job.review is not AtReview.WAIT or job.status is not JobStatus.INCOMPLETE or others:
        return
    verdicts = [verdict for _, verdict in ledger.reviews.refused_images(job.id).values()]
    waiting = verdicts.count(None)
    if not waiting and ReviewVerdict.ACCEPTED not in verdicts:  # an image accepted just now has to go on
        return
    now = datetime.now(UTC)
    wait = Wait(str(run.id), job.id, now, now + timedelta(seconds=settings.review_timeout))
    ledger.reviews.set_wait(wait)
    some = "1 item waits" if waiting == 1 else f"{waiting:,} items wait"
    suspended: State[Any] = Suspended(
        message=f"{some} for a person, until {wait.until:%Y-%m-%d %H:%M} UTC: accept or reject them "
        f"(`pixelmill accept {job.id} ITEM`, the review page, or the deployment `review`)",
        pause_expiration_time=wait.until + GRACE,
        pause_key=str(uuid4()),
    )
    with get_client(sync_client=True) as client:
        try:
            state = propose_state_sync(client=client, state=suspended, flow_run_id=run.id)
        except Abort as refusal:
            logger.warning("%s: the burst cannot wait for decisions: %s", job.name, refusal)
            state = None
        if state is None or not state.is_paused():
            ledger.reviews.drop_wait(wait.flow_run_id)
            return
        if is_over(wait, ledger):  # decided before the flow run was suspended: only this process can resume it
            client.resume_flow_run(run.id)
    raise Pause(state=state)


def is_over(wait: Wait, ledger: Ledger) -> bool:
    """Return whether the burst can go on: all is decided or its time is up, and no other burst runs the job."""
    if ledger.jobs.run_and_status(wait.job_id)[1] is JobStatus.RUNNING:
        return False
    return has_expired(wait) or not ledger.reviews.count_waiting(wait.job_id)


def has_expired(wait: Wait) -> bool:
    """Return whether the burst has to end with the decisions made so far."""
    return datetime.now(UTC) >= wait.until


def wake(wait: Wait, ledger: Ledger) -> bool:
    """Resume the flow run. If it has ended for good, drop the wait and return False.

    Needs a configured API. Raises the errors of Prefect's client.
    """
    from prefect.client.orchestration import get_client

    from flows.prefect_api.shard_runs import has_ended, read_runs

    identifier = UUID(wait.flow_run_id)
    with get_client(sync_client=True) as client:
        run = read_runs(client, [identifier]).get(identifier)
        if run is None or run.state is None or has_ended(run):
            ledger.reviews.drop_wait(wait.flow_run_id)
            return False
        if run.state.is_paused():
            client.resume_flow_run(run.id)
            logger.info("%s: all is decided: %s goes on", wait.job_id, run.name)
        return True


def wake_due(ledger: Ledger, awaken: Callable[[Wait, Ledger], bool] = wake) -> list[str]:
    """Resume every burst whose wait is over, one per job at a time. Returns the ids of their jobs.

    Safe in any number of processes at once. Raises the ledger's errors and those of `awaken`.
    """
    first: dict[str, Wait] = {}
    for wait in ledger.reviews.waits():
        first.setdefault(wait.job_id, wait)
    return [wait.job_id for wait in first.values() if is_over(wait, ledger) and awaken(wait, ledger)]


def drop_ended_waits(ledger: Ledger) -> None:
    """Drop the waits of flow runs that were cancelled or deleted. Needs a configured API."""
    from prefect.client.orchestration import get_client

    from flows.prefect_api.shard_runs import has_ended, read_runs

    waits = {UUID(wait.flow_run_id): wait for wait in ledger.reviews.waits()}
    if not waits:
        return
    with get_client(sync_client=True) as client:
        known = read_runs(client, waits)
    for identifier, wait in waits.items():
        if identifier not in known or has_ended(known[identifier]):
            ledger.reviews.drop_wait(wait.flow_run_id)


def resume_if_decided(job_id: str, ledger: Ledger) -> bool | None:
    """Resume the burst that waits for the job's decisions, if all are made. Returns whether one goes on now.

    Returns None if one could go on, but no API is configured here or it fails: `pixelmill up` or
    `pixelmill serve --revive` then resumes it within seconds.
    """
    from flows.prefect_api.api import configured_api_url

    over = [wait for wait in ledger.reviews.waits(job_id)[:1] if is_over(wait, ledger)]
    if not over:
        return False
    if configured_api_url() is None:
        return None
    try:
        return wake(over[0], ledger)
    except Exception as error:
        logger.warning("cannot resume the burst of %s: %s", job_id, error)
        return None


def stop_waiting(job_id: str, ledger: Ledger) -> bool:
    """End the wait of the job's burst; its items stay quarantined. Returns whether a burst waits."""
    if not ledger.reviews.waits(job_id):
        return False
    ledger.reviews.shorten_waits(job_id, datetime.now(UTC))
    resume_if_decided(job_id, ledger)
    return True
