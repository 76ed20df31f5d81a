"""verify: reads every image of a job back, and says what it found in an artifact."""

from functools import partial
from typing import Any

from prefect import State
from prefect.states import Completed, Failed
from pydantic import Field
from rich.console import Console

from configs.settings.settings import Settings
from flows.burst.artifacts import publish_text
from flows.burst.flow_end import with_ledger
from flows.burst.form_flow import form_flow
from flows.cli.verify_command import verify_command
from flows.forms.job_form import JobForm, named_by_job
from flows.report.report import EXIT_DONE
from storage.ledger.ledger import Ledger


class VerifyForm(JobForm):
    """Whether to mend it."""

    repair: bool = Field(
        default=False, title="Repair", description="Mend what is wrong; what is lost has to be made again afterwards."
    )


@form_flow(
    VerifyForm,
    name="verify",
    run_name=named_by_job("verify"),
    description="Reads every image of a job back, and compares store, ledger and manifest.",
)
def verify(form: VerifyForm) -> State[Any]:
    """Completed if nothing is wrong; Failed if something is, or has to be made again."""
    return with_ledger(partial(_verify, form))


def _verify(form: VerifyForm, ledger: Ledger, settings: Settings) -> State[Any]:
    job = form.find_job(ledger)
    answer = verify_command(job.id, job.id, ledger, settings, repair=form.repair, console=Console(quiet=True))
    screen = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
    with screen.capture() as said:
        screen.print(answer.text, highlight=False)
    text = said.get().strip()
    publish_text("verify", job.name, text, f"What `verify` found in {job.id}")
    head = text.splitlines()[0] if text else ""
    return Completed(message=head) if answer.exit_status == EXIT_DONE else Failed(message=head)
