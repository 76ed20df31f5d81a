"""Flows whose parameters are a form: a flat pydantic model that the Prefect UI shows and the API enforces."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from prefect import Flow, State, flow
from pydantic import BaseModel, Field

F = TypeVar("F", bound=BaseModel)


def form_flow(
    form: type[F], *, name: str, run_name: Callable[[], str] | str, description: str
) -> Callable[[Callable[[F], State[Any]]], Flow[..., State[Any]]]:
    """Makes a flow of a function of one form. The flow's parameters are the form's fields, in order.

    Prefect reads titles, descriptions, bounds and defaults off the signature, wherever the flow is deployed from.
    """

    def decorate(function: Callable[[F], State[Any]]) -> Flow[..., State[Any]]:
        def from_answers(**answers: Any) -> State[Any]:
            return function(form.model_validate(answers))

        from_answers.__signature__ = _signature(form)  # type: ignore[attr-defined]
        from_answers.__name__ = function.__name__
        from_answers.__module__ = function.__module__
        return flow(
            name=name,
            description=description,
            flow_run_name=run_name,
            persist_result=False,
            validate_parameters=True,
        )(from_answers)

    return decorate


def _signature(form: type[BaseModel]) -> inspect.Signature:
    parameters = []
    for name, field in form.model_fields.items():
        # Prefect overwrites a field's own title and description, but merges what else its schema says.
        words = {"title": field.title or name, "description": field.description or ""}
        annotation = Annotated[field.annotation, *field.metadata, Field(json_schema_extra=words)]  # type: ignore[name-defined]
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty
                if field.is_required()
                else field.get_default(call_default_factory=True),
                annotation=annotation,
            )
        )
    return inspect.Signature(parameters)
