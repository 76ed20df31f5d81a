"""Commands about images that are there: what people decide, and answers to how and why they were made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.command_session import (
    AsJson,
    JobId,
    current_settings,
    errors_reported,
    find_job,
    finish,
    open_console,
    progress,
    session,
    show,
)

if TYPE_CHECKING:
    from flows.report.answer import Answer

app = typer.Typer()

ItemNames = Annotated[list[str] | None, typer.Argument(metavar="[ITEM]…", help="Names of quarantined items.")]
Everything = Annotated[bool, typer.Option("--all", help="All items that wait for a decision.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for whoever looks later.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; default: the login name.")]


@app.command()
def accept(
    job_id: JobId,
    items: ItemNames = None,
    everything: Everything = False,
    reason: Reason = None,
    by: By = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the job at once.")] = False,
    json: AsJson = False,
) -> None:
    """Take images that gates refused as they are: their items go on with the job's next run."""
    from flows.burst.run_job import resume_job

    answer, job = _decide("accepted", job_id, items, everything, reason, by, json)
    if resume and answer.document["items"] and answer.document["burst"] != "resumed":
        open_console(stderr=True).print(answer.text, highlight=False)
        with session(json) as (settings, ledger, console), progress(ledger, console) as (log, watch):
            summary = resume_job(job, ledger, settings, log=log, watch=watch)
        finish(summary, json)
    show(answer, json)


@app.command()
def reject(
    job_id: JobId,
    items: ItemNames = None,
    everything: Everything = False,
    reason: Reason = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Agree with the gates: the items stay in quarantine, and no retry takes them up unless it is asked to."""
    show(_decide("rejected", job_id, items, everything, reason, by, json)[0], json)


@app.command()
def verify(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's id or name, or its job file.")],
    repair: Annotated[bool, typer.Option(help="Mend what is wrong, and say what has to be made again.")] = False,
    json: AsJson = False,
) -> None:
    """Read every image of a job back from the store, and compare ledger, store and manifest."""
    from flows.cli.verify_command import find_job_id, verify_command

    with session(json) as (settings, ledger, console):
        job_id = find_job_id(job, ledger, settings) or find_job(ledger, job).id
        answer = verify_command(job_id, job, ledger, settings, repair=repair, console=console)
    show(answer, json)


@app.command()
def explain(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or its name where only one job has it.")],
    item: Annotated[str, typer.Argument(metavar="ITEM", help="An item's name, its index, or its final image.")],
    json: AsJson = False,
) -> None:
    """Say why an item came out so: every decision on its way, with the values that it saw."""
    from flows.cli.explain_command import explain_command

    with session(json) as (_, ledger, _):
        answer = explain_command(find_job(ledger, job_id), item, ledger)
    show(answer, json)


@app.command()
def regate(
    job_id: JobId,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="R", help="Name or path of a recipe; default: the job's own."),
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE=VALUE",
            help="A parameter (STEP.NAME), gates (STEP.require), a condition (STEP.when); may be given several times.",
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Bring the job under this recipe.")] = False,
    fail_on_change: Annotated[bool, typer.Option("--fail-on-change", help="Exit 3 if anything would change.")] = False,
    json: AsJson = False,
) -> None:
    """Decide a job's items again under another recipe, from what was measured, and show what changes."""
    from flows.cli.regate_command import regate_command

    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, watch):
        answer = regate_command(
            find_job(ledger, job_id).id,
            recipe,
            set or [],
            ledger,
            settings,
            applies=apply,
            fail_on_change=fail_on_change,
            log=log,
            watch=watch,
        )
    show(answer, json)


@app.command()
def reproduce(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A path, an s3:// or an https:// URI.")],
    input: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="An input image or mask of the item's; may be given several times."),
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the new image.")] = None,
    tolerance: Annotated[int, typer.Option(min=0, max=255, help="How far a channel may be off, of 255.")] = 0,
    json: AsJson = False,
) -> None:
    """Make an image again from what its file says of itself, and compare the pixels."""
    from flows.cli.reproduce_command import reproduce_command

    with errors_reported(json):
        answer = reproduce_command(
            image, input or [], save, tolerance, current_settings(), console=open_console(stderr=True)
        )
    show(answer, json)


def _decide(
    verdict: str,
    wanted: str,
    items: list[str] | None,
    everything: bool,
    reason: str | None,
    by: str | None,
    json: bool,
) -> "tuple[Answer, str]":
    """Records what a person decided. Returns what there is to say, and the job's id."""
    from flows.burst.review_command import decide_command
    from storage.ledger.records import ReviewVerdict

    with session(json) as (settings, ledger, _):
        job = find_job(ledger, wanted)
        answer = decide_command(
            job,
            items or [],
            ReviewVerdict(verdict),
            everything=everything,
            reason=reason,
            by=by,
            ledger=ledger,
            settings=settings,
        )
    return answer, job.id
