"""Session of a command: settings, a ledger, a console, and errors as messages and exit statuses.

Heavy imports are inside functions: `--help` must answer at once.
"""

import codecs
import json as json_format
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.documents.problems import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from configs.settings.settings import Settings
    from flows.job.request import JobRequest
    from flows.report.render import Answer
    from flows.report.report import Summary
    from storage.ledger.ledger import Ledger

EXIT_ERROR, EXIT_INVALID, EXIT_STOPPED = 1, 2, 130

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or its name where only one job has it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]


@contextmanager
def session(json: bool, *, quiet: bool = True) -> "Iterator[tuple[Settings, Ledger, Console]]":
    """Yield settings, an open ledger and the console for messages; turn errors into messages and exit statuses."""
    with errors_reported(json):
        from gpu_worker.monitor.logs import use_logs
        from storage.ledger.ledger import Ledger

        settings = current_settings()
        quiet_prefect(settings, quiet=quiet)
        use_logs(settings, quiet=quiet)
        ledger = Ledger(settings.resolved_ledger_url)
        try:
            yield settings, ledger, open_console(stderr=True)
        finally:
            ledger.close()


def current_settings() -> "Settings":
    from configs.settings.environment import settle_settings
    from configs.settings.settings import load_settings

    settings = load_settings()
    settle_settings(settings)
    return settings


def quiet_prefect(settings: "Settings", *, quiet: bool = True) -> None:
    """Keep Prefect's state out of the user's home and its logs out of our output, unless the environment sets them."""
    os.environ.setdefault("PREFECT_HOME", str(settings.home / "prefect"))
    if quiet:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def open_console(*, stderr: bool) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def read_requested(
    job: str, images: str | None, prompts: str | None, output: str | None, name: str | None, settings: "Settings"
) -> "JobRequest":
    """Return the checked request of a job file, or of a recipe with images or prompts. Raises InvalidInput."""
    from configs.documents.problems import Problem
    from flows.job.plan import BulkRequest, read_plan_request

    if images is not None and prompts is not None:
        raise InvalidInput([Problem("--prompts", "give `--images` or `--prompts`, not both; a table may hold both")])
    place, option = (images, "--images") if images is not None else (prompts, "--prompts")
    if place is not None:
        return BulkRequest(job, place, option, output or settings.output, name).read(settings)
    alone = [option for option, value in (("--output", output), ("--name", name)) if value]
    if alone:
        message = "goes with `--images` or `--prompts`; a job file says it itself"
        raise InvalidInput([Problem(option, message) for option in alone])
    return read_plan_request(job, settings)


def progress(ledger: "Ledger", console: "Console") -> AbstractContextManager[Any]:
    from flows.cli.progress import progress_bar

    return progress_bar(ledger, console)


@contextmanager
def errors_reported(json: bool) -> Iterator[None]:
    """Turn exceptions into a message, a JSON object with `json`, and an exit status."""
    try:
        yield
    except InvalidInput as refusal:
        for problem in refusal.problems:
            typer.echo(str(problem), err=True)
        if json:
            from flows.report.report import refusal_summary

            print_json(refusal_summary(refusal).model_dump(mode="json"))
        raise typer.Exit(EXIT_INVALID) from None
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        typer.echo("stopped; `pixelmill status` shows the job, `pixelmill resume` continues it", err=True)
        raise typer.Exit(EXIT_STOPPED) from None
    except Exception as failure:
        if os.environ.get("PIXELMILL_DEBUG"):
            traceback.print_exc()
        typer.echo(f"error: {failure or type(failure).__name__}", err=True)
        if json:
            with suppress(OSError):  # the output itself may have failed
                print_json({"status": "failed", "errors": [{"path": "", "message": str(failure)}]})
        raise typer.Exit(EXIT_ERROR) from failure


@contextmanager
def output_reported() -> Iterator[None]:
    """Report output that cannot be written, as on a full disk, in one line and with an exit status."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # None where the caller has closed it
                sys.stdout.flush()
    except OSError as failure:
        ended = failure.__context__
        if not isinstance(failure, BrokenPipeError) and not (isinstance(ended, SystemExit) and ended.code):
            typer.echo(f"error: the output cannot be written: {failure.strerror}", err=True)
        # The interpreter writes the rest when it ends, and would report the error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_ERROR) from None


def finish(summary: "Summary", json: bool) -> None:
    from flows.report.render import render_summary
    from flows.report.report import exit_status

    if json:
        print_json(summary.model_dump(mode="json"))
    else:
        render_summary(summary, open_console(stderr=False))
    raise typer.Exit(exit_status(summary))


def print_json(document: dict[str, Any]) -> None:
    ascii_only = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    sys.stdout.write(json_format.dumps(document, ensure_ascii=ascii_only) + "\n")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, wraps: Sequence[str] = ()) -> None:
    """Print rows of cells on standard output; only those of the columns in `wraps` are ever broken."""
    from flows.report.tables import FittedTable

    open_console(stderr=False).print(FittedTable(headers, rows, wraps=wraps, lines=True))


def show(answer: "Answer", json: bool) -> None:
    if json:
        print_json(answer.document)
    else:
        open_console(stderr=False).print(answer.text, highlight=False)
    raise typer.Exit(answer.exit_status)
