"""regate: what another recipe, parameter or threshold would make of a job, filled in as a form."""

from functools import partial
from pathlib import Path
from typing import Any

from prefect import State, get_run_logger
from prefect.states import Completed
from pydantic import Field

from configs.documents.problems import InvalidInput
from configs.documents.uris import resolve
from configs.recipe.source import is_recipe_path
from configs.settings.settings import Settings
from flows.burst.burst import run_burst, with_burst
from flows.burst.form_flow import form_flow
from flows.forms.job_form import JobForm, named_by_job
from flows.forms.regate_page import publish_regate
from flows.regate.apply import Applied, apply
from flows.regate.changes import read_changes, text_lines
from flows.regate.recipe import NewRecipe
from flows.regate.regate import RegatePlan, decide
from flows.regate.words import outcome
from flows.report.report import Summary
from storage.ledger.job_lease import job_lease
from storage.ledger.ledger import Ledger

LABEL = "changes:"  # what a line of the form's field is called where it is wrong


class RegateForm(JobForm):
    """What would be another, and whether it shall be."""

    recipe: str = Field(
        default="",
        title="Recipe",
        description="A name, a path or an s3:// URI; the job's own parameters hold in it. Empty: the job's own recipe.",
    )
    changes: str = Field(
        default="",
        title="Changes",
        description="One a line: a parameter as `large.scale=2`, gates as `base.require=facts.this.contrast >= 0.3`, "
        "one gate by its name as `base.require.sharp=facts.this.edge_width <= 0.06`.",
    )
    apply: bool = Field(
        default=False,
        title="Apply",
        description="Bring the job under this recipe: what is missing is made on the GPU workers, the rest recorded. "
        "Off: only say what would change.",
    )


@form_flow(
    RegateForm,
    name="regate",
    run_name=named_by_job("regate"),
    description="Decides a job's items again by another recipe or threshold, from what was measured.",
)
def regate(form: RegateForm) -> State[Any]:
    """Completed after a look; as a burst does where it is applied; Failed if there was a mistake."""
    return with_burst(partial(_regate, form))


def _regate(form: RegateForm, ledger: Ledger, settings: Settings) -> Summary | State[Any]:
    wanted = NewRecipe(_recipe(form.recipe.strip(), settings), text_lines(form.changes), LABEL)
    try:
        job = form.find_job(ledger)
    except InvalidInput as unknown:  # the lines can be checked all the same
        raise InvalidInput([*unknown.problems, *read_changes(wanted.changes, LABEL)[1]]) from None
    if form.apply:
        return _apply(job.id, wanted, ledger, settings)
    decided = decide(job.id, wanted, ledger, settings)
    publish_regate(Applied(decided), settings, asked=False)
    return Completed(message=f"Nothing was changed: {outcome(decided)}.")


def _recipe(text: str, settings: Settings) -> str | None:
    """Relative paths start where those of job files do."""
    return resolve(text, str(settings.working_folder or Path.cwd())) if is_recipe_path(text) else text or None


def _apply(job_id: str, wanted: NewRecipe, ledger: Ledger, settings: Settings) -> Summary | State[Any]:
    def log(text: str) -> None:
        get_run_logger().info("%s", text)

    def tell(decided: RegatePlan) -> None:
        log(f"{decided.job.id}: {outcome(decided)}")
        if not decided.is_applied:
            publish_regate(Applied(decided), settings, asked=True)

    with job_lease(job_id, ledger, log=log) as held:
        applied = apply(
            job_id,
            wanted,
            ledger,
            settings,
            run=lambda job: run_burst(job, ledger, settings, held),
            tell=tell,
        )
        publish_regate(applied, settings, asked=True)
    return applied.summary or Completed(message="Nothing to do: the job is as this recipe has it.")
