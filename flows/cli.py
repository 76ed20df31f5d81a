"""The command line. Every heavy import is inside a command: `--help` must answer at once."""

import json as json_format
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.problems import InvalidInput, Problem

if TYPE_CHECKING:
    from rich.console import Console

    from configs.settings import Settings
    from flows.report import Summary
    from storage.ledger import Ledger
    from storage.records import ItemState, JobRecord

EXIT_ERROR, EXIT_INVALID = 1, 2

app = typer.Typer(
    name="pixelmill",
    help="Mill images in bulk: generate, remove backgrounds, inpaint and upscale on warm GPU workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
worker_app = typer.Typer(help="GPU workers.", no_args_is_help=True)
models_app = typer.Typer(help="The models that recipes can name.", no_args_is_help=True)
app.add_typer(worker_app, name="worker")
app.add_typer(models_app, name="models")

JobFile = Annotated[str, typer.Argument(metavar="JOB", help="Job file: a path or an s3:// URI.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or its name where only one job has it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]


@app.command()
def run(job: JobFile, json: AsJson = False) -> None:
    """Make the images of a job file; what exists already is not made again."""
    from flows.run_job import run_job

    with _session(json) as (settings, ledger, console), _progress(ledger, console) as (say, watch):
        summary = run_job(job, ledger, settings, say=say, watch=watch)
    _finish(summary, json)


@app.command()
def plan(job: JobFile, json: AsJson = False) -> None:
    """Check a job file and say what a run would do, without doing it."""
    from flows.plan import make_plan, read_plan_request
    from flows.plan_report import plan_document, render_plan

    with _session(json) as (settings, ledger, _):
        made = make_plan(read_plan_request(job, settings), ledger, settings)
    if json:
        _print_json(plan_document(made, settings))
    else:
        render_plan(made, settings, _console(stderr=False))


@app.command()
def resume(job_id: JobId, json: AsJson = False) -> None:
    """Go on with a job that was interrupted; nothing that was recorded is done again."""
    from flows.run_job import resume_job

    with _session(json) as (settings, ledger, console), _progress(ledger, console) as (say, watch):
        summary = resume_job(_find_job(ledger, job_id).id, ledger, settings, say=say, watch=watch)
    _finish(summary, json)


@app.command()
def retry(
    job_id: JobId,
    only: Annotated[str, typer.Option(help="Which items: failed, quarantined, or both.")] = "both",
    json: AsJson = False,
) -> None:
    """Try the items again that failed or were quarantined."""
    from flows.run_job import retry_job

    states = _states(only)
    with _session(json) as (settings, ledger, console), _progress(ledger, console) as (say, watch):
        summary = retry_job(_find_job(ledger, job_id).id, states, ledger, settings, say=say, watch=watch)
    _finish(summary, json)


@app.command()
def status(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A job; without it, all jobs.")] = None,
    json: AsJson = False,
) -> None:
    """Show how far a job is, or list all jobs."""
    from flows.job_lease import is_interrupted
    from flows.report import build_summary, render_summary
    from storage.open_store import open_store

    with _session(json) as (settings, ledger, console):
        if job_id is None:
            _list_jobs(ledger, json)
            return
        job = _find_job(ledger, job_id)
        summary = build_summary(ledger, job, open_store(job.output, settings), run=None)
        if is_interrupted(job, ledger):
            hint = f"it was interrupted, nobody runs it: `pixelmill resume {job.id}` goes on with it"
            console.print(hint, style="yellow", highlight=False)
    if json:
        _print_json(summary.model_dump(mode="json"))
    else:
        render_summary(summary, _console(stderr=False))


@app.command()
def cancel(job_id: JobId, json: AsJson = False) -> None:
    """Stop a running job; finished items stay, and the job can be resumed."""
    from storage.records import JobStatus

    with _session(json) as (_, ledger, console):
        job = _find_job(ledger, job_id)
        running = job.status is JobStatus.RUNNING
        if running:
            ledger.set_job_status(job.id, JobStatus.CANCELLED, "cancelled")
        if json:
            _print_json({"job": job.id, "status": ledger.job(job.id).status.value, "cancelled": running})
        elif running:
            console.print(f"{job.id}: cancelling; go on with it by `pixelmill resume {job.id}`", highlight=False)
        else:
            console.print(f"{job.id} is not running: it is {job.status.value}", highlight=False)


@app.command()
def verify(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's id or name, or its job file.")],
    repair: Annotated[bool, typer.Option(help="Mend what is wrong, and say what has to be made again.")] = False,
    json: AsJson = False,
) -> None:
    """Read every image of a job back from the store, and compare ledger, store and manifest."""
    from flows.verify_command import find_job_id, verify_command

    with _session(json) as (settings, ledger, console):
        job_id = find_job_id(job, ledger, settings) or _find_job(ledger, job).id
        answer = verify_command(job_id, job, ledger, settings, repair=repair, console=console)
    if json:
        _print_json(answer.document)
    else:
        _console(stderr=False).print(answer.text, highlight=False)
    raise typer.Exit(answer.exit_status)


@app.command()
def up(port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI and the API.")] = 4200) -> None:
    """Run the Prefect server with its UI, the deployments and a worker, until Ctrl-C."""
    from flows.up import serve_forever

    with _session(json=False) as (settings, _, console):
        serve_forever(settings, port=port, say=lambda text: console.print(text, highlight=False))


@worker_app.command("start")
def worker_start(
    pool: Annotated[str | None, typer.Option(help="Work pool to take shards from.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the worker.")] = None,
    parent: Annotated[int | None, typer.Option(hidden=True, help="End with the process of this number.")] = None,
) -> None:
    """Take shards from the work pool and run them on this machine's device, models resident."""
    from gpu_worker.prefect_worker import start_worker

    with _errors_reported(json=False):
        settings = _settings()
        raise typer.Exit(start_worker(pool or settings.work_pool, settings, name=name, parent=parent))


@models_app.command("list")
def models_list(json: AsJson = False) -> None:
    """List the models of the catalogue and whether their weights are here."""
    from flows.model_list import model_rows, render_models

    with _errors_reported(json):
        rows = model_rows(_settings())
        if json:
            _print_json({"models": rows})
        else:
            render_models(rows, _console(stderr=False))


def main() -> None:
    """Entry point of the `pixelmill` command."""
    app(prog_name="pixelmill")


@contextmanager
def _session(json: bool) -> "Iterator[tuple[Settings, Ledger, Console]]":
    """Settings, an open ledger and the console for messages; errors become messages and exit statuses."""
    with _errors_reported(json):
        from storage.ledger import Ledger

        settings = _settings()
        _quiet_prefect(settings)
        ledger = Ledger(settings.resolved_ledger_url)
        try:
            yield settings, ledger, _console(stderr=True)
        finally:
            ledger.close()


def _settings() -> "Settings":
    from configs.settings import load_settings

    return load_settings()


def _quiet_prefect(settings: "Settings") -> None:
    """Keeps Prefect's own state out of the user's home and its chatter out of our output; both can be set."""
    os.environ.setdefault("PREFECT_HOME", str(settings.home / "prefect"))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


@contextmanager
def _progress(ledger: "Ledger", console: "Console") -> Iterator[Any]:
    from flows.progress_bar import progress_bar

    with progress_bar(ledger, console) as hooks:
        yield hooks


@contextmanager
def _errors_reported(json: bool) -> Iterator[None]:
    """Turns what a command raises into a message, a JSON object where one was asked for, and an exit status."""
    try:
        yield
    except InvalidInput as refusal:
        _refuse(refusal, json)
        raise typer.Exit(EXIT_INVALID) from None
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        typer.echo("interrupted; `pixelmill status` shows the job, `pixelmill resume` goes on with it", err=True)
        raise typer.Exit(EXIT_ERROR) from None
    except Exception as failure:
        if os.environ.get("PIXELMILL_DEBUG"):
            traceback.print_exc()
        typer.echo(f"error: {failure or type(failure).__name__}", err=True)
        if json:
            _print_json({"status": "failed", "errors": [{"path": "", "message": str(failure)}]})
        raise typer.Exit(EXIT_ERROR) from failure


def _refuse(refusal: InvalidInput, json: bool) -> None:
    for problem in refusal.problems:
        typer.echo(str(problem), err=True)
    if json:
        from flows.report import refusal_summary

        _print_json(refusal_summary(refusal).model_dump(mode="json"))


def _finish(summary: "Summary", json: bool) -> None:
    from flows.report import exit_status, render_summary

    if json:
        _print_json(summary.model_dump(mode="json"))
    else:
        render_summary(summary, _console(stderr=False))
    raise typer.Exit(exit_status(summary))


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(json_format.dumps(document, ensure_ascii=False) + "\n")


def _find_job(ledger: "Ledger", wanted: str) -> "JobRecord":
    named = [job for job in ledger.jobs() if job.name == wanted]
    if len(named) == 1:
        return named[0]
    try:
        return ledger.job(wanted)
    except LookupError as unknown:
        raise InvalidInput([Problem("id", str(unknown.args[0]))]) from None


def _states(only: str) -> "list[ItemState]":
    from storage.records import ItemState

    choices = {
        "failed": [ItemState.FAILED],
        "quarantined": [ItemState.QUARANTINED],
        "both": [ItemState.FAILED, ItemState.QUARANTINED],
    }
    if only not in choices:
        raise typer.BadParameter(f"choose one of {', '.join(choices)}", param_hint="--only")
    return choices[only]


def _list_jobs(ledger: "Ledger", json: bool) -> None:
    from dataclasses import asdict

    from flows.job_list import render_jobs

    rows = [(job, ledger.progress(job.id)) for job in ledger.jobs()]
    if json:
        _print_json(
            {
                "jobs": [
                    {"job": job.id, "name": job.name, "status": job.status.value, "items": asdict(progress)}
                    for job, progress in rows
                ]
            }
        )
    else:
        render_jobs(rows, _console(stderr=False))


if __name__ == "__main__":
    main()
