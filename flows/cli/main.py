"""The command line: its commands about jobs, and all others. Every heavy import is inside a command."""

import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import answer_commands, service_commands
from flows.cli.command_session import (
    AsJson,
    JobId,
    find_job,
    finish,
    open_console,
    output_reported,
    print_json,
    progress,
    session,
)

if TYPE_CHECKING:
    from flows.job.retried import Retried
    from storage.ledger.ledger import Ledger

app = typer.Typer(
    name="pixelmill",
    help="Mill images in bulk: generate, remove backgrounds, inpaint and upscale on warm GPU workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JobFile = Annotated[str, typer.Argument(metavar="JOB", help="Job file: a path, an s3:// or an https:// URI.")]


@app.command()
def run(job: JobFile, json: AsJson = False) -> None:
    """Make the images of a job file; what exists already is not made again."""
    from flows.burst.run_job import run_job

    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, watch):
        summary = run_job(job, ledger, settings, log=log, watch=watch)
    finish(summary, json)


@app.command()
def plan(job: JobFile, json: AsJson = False) -> None:
    """Check a job file and say what a run would do, without doing it."""
    from flows.job.plan import make_plan, read_plan_request
    from flows.report.plan_report import plan_document, render_plan

    with session(json) as (settings, ledger, _):
        made = make_plan(read_plan_request(job, settings), ledger, settings)
    if json:
        print_json(plan_document(made, settings))
    else:
        render_plan(made, settings, open_console(stderr=False))


@app.command()
def resume(job_id: JobId, json: AsJson = False) -> None:
    """Go on with a job that was interrupted; nothing that was recorded is done again."""
    from flows.burst.run_job import resume_job

    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, watch):
        summary = resume_job(find_job(ledger, job_id).id, ledger, settings, log=log, watch=watch)
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
    from flows.burst.run_job import retry_job

    which = _retried(only)
    with session(json) as (settings, ledger, console), progress(ledger, console) as (log, watch):
        summary = retry_job(find_job(ledger, job_id).id, which, ledger, settings, log=log, watch=watch)
    finish(summary, json)


@app.command()
def status(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A job; without it, all jobs.")] = None,
    json: AsJson = False,
) -> None:
    """Show how far a job is, or list all jobs."""
    from flows.report.report import build_summary, render_summary
    from storage.ledger.job_lease import is_interrupted
    from storage.objects.open_store import open_store

    with session(json) as (settings, ledger, console):
        if job_id is None:
            _list_jobs(ledger, json)
            return
        job = find_job(ledger, job_id)
        summary = build_summary(ledger, job, open_store(job.output, settings), run=None)
        if is_interrupted(job, ledger):
            hint = f"it was interrupted, nobody runs it: `pixelmill resume {job.id}` goes on with it"
            console.print(hint, style="yellow", highlight=False)
        for wait in ledger.waits(job.id):
            hint = f"a burst waits for decisions about its quarantined items, until {wait.until:%Y-%m-%d %H:%M} UTC"
            console.print(hint, style="yellow", highlight=False)
    if json:
        print_json(summary.model_dump(mode="json"))
    else:
        render_summary(summary, open_console(stderr=False))


@app.command()
def cancel(job_id: JobId, json: AsJson = False) -> None:
    """Stop a running job, or its waiting for decisions; finished items stay, and the job can be resumed."""
    from flows.burst.review_wait import stop_waiting
    from storage.ledger.records import JobStatus

    with session(json) as (_, ledger, console):
        job = find_job(ledger, job_id)
        running = job.status is JobStatus.RUNNING
        if running:
            ledger.set_job_status(job.id, JobStatus.CANCELLED, "cancelled")
        waited = not running and stop_waiting(job.id, ledger)
        if json:
            print_json({"job": job.id, "status": ledger.job(job.id).status.value, "cancelled": running or waited})
        elif waited:
            console.print(f"{job.id}: its burst waits for no decision any more, and ends", highlight=False)
        elif running:
            console.print(f"{job.id}: cancelling; go on with it by `pixelmill resume {job.id}`", highlight=False)
        else:
            console.print(f"{job.id} is not running: it is {job.status.value}", highlight=False)


def _retried(only: str) -> "Retried":
    from typing import cast, get_args

    from flows.job.retried import Retried

    if only not in (choices := get_args(Retried)):
        raise typer.BadParameter(f"choose one of {', '.join(choices)}", param_hint="--only")
    return cast("Retried", only)


def _list_jobs(ledger: "Ledger", json: bool) -> None:
    from dataclasses import asdict

    from flows.cli.job_list import render_jobs

    rows = [(job, ledger.progress(job.id)) for job in ledger.jobs()]
    if json:
        print_json(
            {
                "jobs": [
                    {"job": job.id, "name": job.name, "status": job.status.value, "items": asdict(progress)}
                    for job, progress in rows
                ]
            }
        )
    else:
        render_jobs(rows, open_console(stderr=False))


app.add_typer(answer_commands.app)
app.add_typer(service_commands.app)


def main() -> None:
    """Entry point of the `pixelmill` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None where the caller has closed it
            stream.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to fail
    with output_reported():
        app(prog_name="pixelmill")


if __name__ == "__main__":
    main()
