"""The command line: commands about jobs and images, and those of `services`. Heavy imports are inside commands."""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from configs.settings.environment import settle_environment
from flows.cli import cleaning, services
from flows.cli.session import (
    AsJson,
    JobId,
    current_settings,
    errors_reported,
    finish,
    open_console,
    output_reported,
    print_json,
    print_table,
    progress,
    read_requested,
    session,
    show,
)

if TYPE_CHECKING:
    from flows.job.plan import Retried
    from flows.report.render import Answer
    from storage.ledger.ledger import Ledger

app = typer.Typer(
    name="pixelmill",
    help="Mill images in bulk: generate, remove backgrounds, inpaint and upscale on warm GPU workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JobOrRecipe = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="Job file: a path, an s3:// or an https:// URI. A recipe with --images or --prompts."
    ),
]
Images = Annotated[
    str | None, typer.Option(metavar="PLACE", help="Input images: a folder, a glob such as 'photos/**', or s3://…/.")
]
Prompts = Annotated[
    str | None, typer.Option(metavar="FILE", help="Prompts: a text file with one a line, or an item table.")
]
Output = Annotated[
    str | None, typer.Option(metavar="PLACE", help="Folder or s3://bucket/prefix; default: PIXELMILL_OUTPUT.")
]
JobName = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the job; default: the recipe's.")]
ItemNames = Annotated[list[str] | None, typer.Argument(metavar="[ITEM]…", help="Names of quarantined items.")]
Everything = Annotated[bool, typer.Option("--all", help="All items that wait for a decision.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Reason, kept with the decision.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; default: the login name.")]


@app.command()
def run(
    job: JobOrRecipe,
    images: Images = None,
    prompts: Prompts = None,
    output: Output = None,
    name: JobName = None,
    json: AsJson = False,
) -> None:
    """Make the images of a job file, or of a recipe and a folder; what exists already is not made again."""
    from flows.burst.run_job import run_request

    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, on_start):
        request = read_requested(job, images, prompts, output, name, settings)
        summary = run_request(request, ledger, settings, log=log, on_start=on_start)
    finish(summary, json)


@app.command()
def plan(
    job: JobOrRecipe,
    images: Images = None,
    prompts: Prompts = None,
    output: Output = None,
    name: JobName = None,
    json: AsJson = False,
) -> None:
    """Check what `run` is given and show what it would do, without doing it."""
    from flows.cli.progress import counted
    from flows.job.plan import make_plan
    from flows.report.render import plan_document, render_plan

    with session(json) as (settings, ledger, console):
        request = read_requested(job, images, prompts, output, name, settings)
        with counted("looking at input files", None, console) as advance:
            made = make_plan(request, ledger, settings, advance=advance)
    if json:
        print_json(plan_document(made, settings))
    else:
        render_plan(made, settings, open_console(stderr=False))


@app.command()
def resume(job_id: JobId, json: AsJson = False) -> None:
    """Continue a job that was interrupted; recorded results are kept."""
    from flows.burst.run_job import resume_job

    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, on_start):
        summary = resume_job(ledger.jobs.find(job_id, field="id").id, ledger, settings, log=log, on_start=on_start)
    finish(summary, json)


@app.command()
def retry(
    job_id: JobId,
    only: Annotated[
        str, typer.Option(help="Which items: failed, quarantined, both; or rejected: those that a person rejected.")
    ] = "both",
    json: AsJson = False,
) -> None:
    """Try the items again that failed or were quarantined, without those that a person rejected."""
    from flows.burst.run_job import resume_job

    which = _retried(only)
    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, on_start):
        job = ledger.jobs.find(job_id, field="id")
        summary = resume_job(job.id, ledger, settings, log=log, on_start=on_start, retried=which)
    finish(summary, json)


@app.command()
def status(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A job; without it, all jobs.")] = None,
    json: AsJson = False,
) -> None:
    """Show how far a job is, or list all jobs."""
    from flows.report.render import render_summary
    from flows.report.report import build_summary
    from storage.ledger.lease import is_interrupted
    from storage.objects.open_store import open_store

    with session(json) as (settings, ledger, console):
        if job_id is None:
            _list_jobs(ledger, json)
            return
        job = ledger.jobs.find(job_id, field="id")
        summary = build_summary(ledger, job, open_store(job.output, settings), run=None)
        if is_interrupted(job, ledger):
            hint = f"it was interrupted and does not run: `pixelmill resume {job.id}` continues it"
            console.print(hint, style="yellow", highlight=False)
        for wait in ledger.reviews.waits(job.id):
            hint = f"a burst waits for decisions about its quarantined items, until {wait.until:%Y-%m-%d %H:%M} UTC"
            console.print(hint, style="yellow", highlight=False)
    if json:
        print_json(summary.model_dump(mode="json"))
    else:
        render_summary(summary, open_console(stderr=False))


@app.command()
def cancel(job_id: JobId, json: AsJson = False) -> None:
    """Stop a running job, or its wait for decisions; finished items stay, and the job can be resumed."""
    from flows.burst.review import stop_waiting
    from storage.ledger.records import JobStatus

    with session(json) as (_, ledger, console):
        job = ledger.jobs.find(job_id, field="id")
        running = ledger.jobs.end_if_running(job.id, JobStatus.CANCELLED, "cancelled")
        waited = not running and stop_waiting(job.id, ledger)
        if json:
            print_json({"job": job.id, "status": ledger.jobs.get(job.id).status.value, "cancelled": running or waited})
        elif waited:
            console.print(f"{job.id}: its burst no longer waits for decisions, and ends", highlight=False)
        elif running:
            console.print(f"{job.id}: cancelling; `pixelmill resume {job.id}` continues it", highlight=False)
        else:
            console.print(f"{job.id} is not running: it is {job.status.value}", highlight=False)


@app.command()
def accept(
    job_id: JobId,
    items: ItemNames = None,
    everything: Everything = False,
    reason: Reason = None,
    by: By = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the job at once.")] = False,
    json: AsJson = False,
) -> None:
    """Accept images that gates refused: their items go on with the job's next run."""
    from flows.burst.run_job import resume_job

    answer = _decide("accepted", job_id, items, everything, reason, by, json)
    if resume and answer.document["items"] and answer.document["burst"] != "resumed":
        open_console(stderr=True).print(answer.text, highlight=False)
        with session(json) as (settings, ledger, console), progress(ledger, console) as (log, on_start):
            summary = resume_job(answer.document["job"], ledger, settings, log=log, on_start=on_start)
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
    """Reject images that gates refused: their items stay in quarantine, and only `retry --only rejected` runs them."""
    show(_decide("rejected", job_id, items, everything, reason, by, json), json)


@app.command()
def verify(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's id or name, or its job file.")],
    repair: Annotated[bool, typer.Option(help="Repair what is wrong, and list what has to be made again.")] = False,
    json: AsJson = False,
) -> None:
    """Read every image of a job back from the store, and compare ledger, store and manifest."""
    from flows.cli.verify import find_job_id, verify_command

    with session(json) as (settings, ledger, console):
        job_id = find_job_id(job, ledger, settings)
        answer = verify_command(job_id, job, ledger, settings, repair=repair, console=console)
    show(answer, json)


@app.command()
def explain(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or its name where only one job has it.")],
    item: Annotated[str, typer.Argument(metavar="ITEM", help="An item's name, its index, or its final image.")],
    json: AsJson = False,
) -> None:
    """Explain an item's result: every decision on its path through the recipe, with the values used."""
    from flows.cli.items import explain_command

    with session(json) as (_, ledger, _):
        answer = explain_command(ledger.jobs.find(job_id, field="id"), item, ledger)
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
    apply: Annotated[bool, typer.Option("--apply", help="Apply this recipe to the job.")] = False,
    fail_on_change: Annotated[bool, typer.Option("--fail-on-change", help="Exit 3 if anything would change.")] = False,
    json: AsJson = False,
) -> None:
    """Decide a job's items again under another recipe, from recorded facts, and show what changes."""
    from flows.cli.regate import regate_command

    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, on_start):
        answer = regate_command(
            ledger.jobs.find(job_id, field="id").id,
            recipe,
            set or [],
            ledger,
            settings,
            applies=apply,
            fail_on_change=fail_on_change,
            log=log,
            on_start=on_start,
        )
    show(answer, json)


@app.command()
def reproduce(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A path, an s3:// or an https:// URI.")],
    input: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="An input image or mask of the item; may be given several times."),
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the new image.")] = None,
    tolerance: Annotated[int, typer.Option(min=0, max=255, help="How far a channel may be off, of 255.")] = 0,
    json: AsJson = False,
) -> None:
    """Make an image again from the recipe in its file, and compare the pixels."""
    from flows.cli.reproduce import reproduce_command

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
) -> "Answer":
    """Record a person's decisions."""
    from flows.cli.items import decide_command
    from storage.ledger.records import ReviewVerdict

    with session(json) as (settings, ledger, _):
        job = ledger.jobs.find(wanted, field="id")
        return decide_command(
            job,
            items or [],
            ReviewVerdict(verdict),
            everything=everything,
            reason=reason,
            by=by,
            ledger=ledger,
            settings=settings,
        )


def _retried(only: str) -> "Retried":
    from typing import cast, get_args

    from flows.job.plan import Retried

    if only not in (choices := get_args(Retried)):
        raise typer.BadParameter(f"choose one of {', '.join(choices)}", param_hint="--only")
    return cast("Retried", only)


def _list_jobs(ledger: "Ledger", json: bool) -> None:
    """Print all jobs, newest first."""
    from dataclasses import asdict

    from storage.ledger.lease import interrupted_jobs

    rows = ledger.lists.jobs()
    interrupted = interrupted_jobs(rows, ledger)
    if json:
        jobs = [
            {
                "job": job.id,
                "name": job.name,
                "status": job.status.value,
                "interrupted": job.id in interrupted,
                "items": {**asdict(job.progress), "waiting": job.waiting},
            }
            for job in rows
        ]
        print_json({"jobs": jobs})
    elif not rows:
        open_console(stderr=False).print("No jobs yet: `pixelmill run JOB` starts one.")
    else:
        print_table(
            ("job", "status", "done", "failed", "quarantined", "started"),
            (
                (
                    job.id,
                    "interrupted" if job.id in interrupted else job.status.value,
                    f"{job.progress.done:,} of {job.progress.total:,}",
                    f"{job.progress.failed:,}",
                    f"{job.progress.quarantined:,}" + (f", {job.waiting:,} to review" if job.waiting else ""),
                    f"{job.started_at:%Y-%m-%d %H:%M} UTC",
                )
                for job in rows
            ),
            wraps=("started",),
        )


app.add_typer(cleaning.app)
app.add_typer(services.app)


def main() -> None:
    """Entry point of the `pixelmill` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None where the caller has closed it
            stream.reconfigure(errors="replace")  # a terminal may lack a character
    settle_environment()
    with output_reported():
        app(prog_name="pixelmill")


if __name__ == "__main__":
    main()
