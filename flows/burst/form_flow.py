"""Flows that people start from a form in Prefect: how they begin, and how they end."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from prefect import Flow, State, flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from pydantic import BaseModel, Field, ValidationError

from configs.documents.problems import InvalidInput, Problem, problems_of
from configs.failures import RestartPolicy
from configs.settings.settings import Settings, load_settings
from flows.prefect_api.deployments import MOST_CRASHES, unknown_field
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
RESTARTS = RestartPolicy(most=MOST_CRASHES)


def form_flow(
    form: type[F], *, name: str, run_name: Callable[[], str] | str, description: str
) -> Callable[[Callable[[F], State[Any]]], Flow[..., State[Any]]]:
    """Turn a function of one form into a flow whose parameters are the form's fields, in order.

    The form is a flat pydantic model. Prefect reads its titles, descriptions, bounds and defaults off the signature.
    """

    def decorate(function: Callable[[F], State[Any]]) -> Flow[..., State[Any]]:
        asks = _FormFunction(form, function)
        # The form checks its answers itself, in words for people.
        made = flow(
            name=name,
            description=description,
            flow_run_name=run_name,
            persist_result=False,
            validate_parameters=False,
        )(asks)
        asks.is_made = True
        return made

    return decorate


class _FormFunction(Generic[F]):
    """The function of a form, as Prefect calls it. It refuses answers that the form does not take.

    For a parameter that the signature lacks, or a required one that is missing, Prefect raises before the flow run has
    begun. That counts as a crash of its process, which starts again. A schedule may hold parameters of an earlier form.
    """

    def __init__(self, form: type[F], function: Callable[[F], State[Any]]) -> None:
        self._form, self._function = form, function
        self.__name__, self.__module__ = function.__name__, function.__module__
        self.is_made = False  # until then Prefect imports the flow, and the API must not be asked

    @property
    def __signature__(self) -> inspect.Signature:
        """The form; in the process of a flow run, that and whatever else it was given, with nothing required."""
        asked = _signature(self._form)
        if not self.is_made or not flow_run.id:
            return asked
        kind, empty = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
        parameters = [
            each.replace(default=None) if each.default is empty else each for each in asked.parameters.values()
        ]
        besides = [name for name in _given(flow_run.id) if name not in asked.parameters]
        return asked.replace(
            parameters=[*parameters, *(inspect.Parameter(name, kind, default=None) for name in besides)]
        )

    def __call__(self, **answers: Any) -> State[Any]:
        return in_words(lambda: self._function(self.read(answers)))

    def read(self, answers: Mapping[str, Any]) -> F:
        """Return the filled-in form. Raises InvalidInput with every mistake."""
        fields = self._form.model_fields
        unknown = [name for name in answers if name not in fields]
        problems = [Problem(name, unknown_field(name, fields)) for name in unknown]
        known = {
            name: value
            for name, value in answers.items()
            if name in fields and not (value is None and fields[name].is_required())
        }
        try:
            form = self._form.model_validate(known)
        except ValidationError as error:
            problems += problems_of(error.errors(include_url=False), self._form, known)
        if problems:
            raise InvalidInput(problems)
        return form


@lru_cache(maxsize=1)
def _given(_run: str) -> tuple[str, ...]:
    """Return the names of the parameters of this process's flow run."""
    return tuple(flow_run.parameters or {})


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

    def with_settings() -> State[Any]:
        settings = load_settings()
        with closing(Ledger(settings.resolved_ledger_url, patient=True)) as ledger:
            return work(ledger, settings)

    return in_words(with_settings)


def in_words(work: Callable[[], State[Any]]) -> State[Any]:
    """Return the state that `work` returns, or a failed state with the reason of its refusal."""
    try:
        use_logs(load_settings())
        return work()
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
    """Return the final state of a job's flow run; its data is the summary, unless it failed."""
    kind = {JobStatus.CANCELLED: Cancelled, JobStatus.FAILED: Failed}.get(JobStatus(summary.status), Completed)
    reasons = "; ".join(error.message for error in summary.errors)
    waiting = f", {summary.items.waiting:,} to review" if summary.items.waiting else ""
    message = format_counts(summary.items) + waiting + (f": {reasons}" if reasons else "")
    # Prefect takes the data of a failed state for an exception, and logs a traceback of its own where it is none.
    return kind(message=message, data=None if kind is Failed else summary.model_dump(mode="json"))


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
