"""What `pixelmill reproduce` does with its arguments."""

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from configs.documents.problems import InvalidInput
from configs.documents.uris import shown
from configs.settings.settings import Settings
from flows.cli.reproduce_report import (
    describe_refusal,
    describe_reproduction,
    exit_status,
    refusal_document,
    reproduction_document,
)
from flows.cli.stage_progress import stages
from flows.report.answer import Answer
from flows.reproduce.reproduce import ReproductionResult, reproduce
from gpu_worker.monitor.logs import use_logs


def reproduce_command(
    image: str, inputs: Sequence[str], save: Path | None, tolerance: int, settings: Settings, *, console: Console
) -> Answer:
    """Makes the image again. Exit status 0: the same within the tolerance; 1: different; 2: it cannot be made here.

    Reasons of the last go to `console` as well.
    """
    use_logs(settings, quiet=True)
    try:
        with stages(console) as log:
            done = reproduce(image, inputs=inputs, tolerance=tolerance, save=save, settings=settings, log=log)
    except InvalidInput as refusal:
        for problem in refusal.problems:
            console.print(Text(str(problem)), soft_wrap=True)
        return Answer(
            refusal_document(shown(image), refusal), describe_refusal(), exit_status(ReproductionResult.CANNOT)
        )
    except KeyboardInterrupt:
        raise typer.Abort from None  # there is no job that could go on
    return Answer(reproduction_document(done), describe_reproduction(done), exit_status(done.verdict))
