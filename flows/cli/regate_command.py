"""What `pixelmill regate` does with its arguments."""

from collections.abc import Sequence

from configs.documents.problems import InvalidInput, Problem
from configs.reporting import Log
from configs.settings.settings import Settings
from flows.burst.run_job import Watch, run_pending
from flows.cli.regate_report import describe_regate, regate_document
from flows.regate.apply import Applied, apply
from flows.regate.recipe import NewRecipe
from flows.regate.regate import decide
from flows.report.answer import Answer
from flows.report.report import EXIT_DONE, EXIT_ERROR, EXIT_INCOMPLETE
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState, JobStatus


def regate_command(
    job_id: str,
    recipe: str | None,
    parameters: Sequence[str],
    ledger: Ledger,
    settings: Settings,
    *,
    applies: bool,
    fail_on_change: bool,
    log: Log,
    watch: Watch,
) -> Answer:
    """Decides the job again, and brings it under the recipe if it `applies`.

    Exit status 0; 3 with `fail_on_change` if anything would change, or if an item failed in the steps that had to run;
    1 if their run stopped before its end.
    """
    if applies and fail_on_change:
        raise InvalidInput([Problem("--fail-on-change", "is for a look without --apply: leave one of them out")])
    wanted = NewRecipe(recipe, tuple(parameters))
    if applies:
        applied = apply(
            job_id,
            wanted,
            ledger,
            settings,
            run=lambda job: run_pending(job, ledger, settings, log, watch),
            log=log,
        )
        status = _status_after(applied, ledger)
    else:
        applied = Applied(decide(job_id, wanted, ledger, settings))
        status = EXIT_INCOMPLETE if fail_on_change and applied.decided.changed else EXIT_DONE
    return Answer(regate_document(applied, asked=applies), describe_regate(applied, asked=applies), status)


def _status_after(applied: Applied, ledger: Ledger) -> int:
    if applied.summary is None:
        return EXIT_DONE
    if applied.summary.status not in (JobStatus.DONE, JobStatus.INCOMPLETE):
        return EXIT_ERROR
    ran = {each.item.index for each in applied.decided.items if not each.change.is_settled}
    failed = {record.item.index for record in ledger.items(applied.decided.job.id, states=[ItemState.FAILED])}
    return EXIT_INCOMPLETE if ran & failed else EXIT_DONE
