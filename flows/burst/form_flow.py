"""Flows that people start from a form in Prefect: how they begin, and how they end."""

import inspect
from collections.abc import Callable
from contextlib import closing
from typing import Annotated, Any, TypeVar
from uuid import UUID

from prefect import Flow, State, flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from pydantic import BaseModel, Field

from configs.documents.problems import InvalidInput
from configs.failures import RestartPolicy
from configs.settings.settings import Settings, load_settings
from flows.report.render import format_counts, plural
from flows.report.report import Summary
from gpu_worker.monitor.logs import use_logs
from storage.ledger.database import LedgerError
from storage.ledger.lease import JobIsRunning, JobTakenOver
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus
from storage.objects.artefacts import StoreError

F = TypeVar("F", bound=BaseModel)
TAKEN_OVER = "TakenOver"  # the state of a burst whose job another one has
# Of the processes of one flow run: an automation starts it again each time.
RESTARTS = RestartPolicy(most=4)


def form_flow(
    form: type[F], *, name: str, run_name: Callable[[], str] | str, description: str
) -> Callable[[Callable[[F], State[Any]]], Flow[..., State[Any]]]:
    """Turn a function of one form into a flow whose parameters are the form's fields, in order.

    The form is a flat pydantic model. Prefect reads its titles, descriptions, bounds and defaults off the signature.
    """

    def decorate(function: Callable[[F], State[Any]]) -> Flow[..., State[Any]]:
        def from_answers(**answers: Any) -> State[Any]:
            return function(form.model_validate(answers))

        from_answers.__signature__ = _signature(form)  # type: ignore[attr-defined]
        from_answers.__name__ = function.__name__
        from_answers.__module__ = function.__module__
        named = flow(name=name, description=description, flow_run_name=run_name, persist_result=False)
        return named(from_answers)

    return decorate


def _signature(form: type[BaseModel]) -> inspect.Signature:
    parameters = []
    for name, field in form.model_fields.items():
        # Prefect overwrites a field's own title and description, but merges the rest of its schema.
        words = {"title": field.title or name, "description": field.description or ""}
        annotation = Annotated[field.annotation, *field.metadata, Field(json_schema_extra=words)]  # type: ignore[name-defined]
        default = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
    return inspect.Signature(parameters)


def with_ledger(work: Callable[[Ledger, Settings], State[Any]]) -> State[Any]:
    """Return the state that `work` returns, or a failed state with a message instead of a traceback."""
    if not RESTARTS.allows(deaths := _deaths()):
        return Failed(
            message=f"Its process has died {deaths} times in a row; the log of the bursts' worker has the reason. "
            "Correct it (memory?), then retry this flow run. Recorded results are kept."
        )
    try:
        settings = load_settings()
        use_logs(settings)
        with closing(Ledger(settings.resolved_ledger_url, patient=True)) as ledger:
            return work(ledger, settings)
    except InvalidInput as refusal:
        for problem in refusal.problems:
            get_run_logger().error("%s", problem)
        head = f"Nothing was started. {plural(len(refusal.problems), 'mistake')}"
        return Failed(message=f"{head}: " + "; ".join(str(problem) for problem in refusal.problems))
    except (JobIsRunning, LedgerError, StoreError) as error:
        return Failed(message=str(error))
    except JobTakenOver as error:
        return Failed(message=str(error), name=TAKEN_OVER)


def state_of(summary: Summary) -> State[Any]:
    """Return the final state of a job's flow run; its data is the summary."""
    kind = {JobStatus.CANCELLED: Cancelled, JobStatus.FAILED: Failed}.get(JobStatus(summary.status), Completed)
    reasons = "; ".join(error.message for error in summary.errors)
    waiting = f", {summary.items.waiting:,} to review" if summary.items.waiting else ""
    message = format_counts(summary.items) + waiting + (f": {reasons}" if reasons else "")
    return kind(message=message, data=summary.model_dump(mode="json"))


def _deaths() -> int:
    """Return how many processes of this flow run have died since it last ended in order."""
    if flow_run.run_count < 2:
        return 0
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(str(flow_run.id)))
    deaths = 0
    for state in sorted(states, key=lambda state: state.timestamp, reverse=True):
        if state.is_crashed():
            deaths += 1
        elif state.is_final() or state.is_paused():  # a burst that waited for decisions has ended in order
            break
    return deaths
