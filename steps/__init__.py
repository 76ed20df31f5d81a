"""Images in, images and facts out: no Prefect, no S3 and no SQL."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steps.contract import Frame, Step, StepContext, StepResult, Transform
    from steps.recipe import resolve_program

__all__ = ["Frame", "Step", "StepContext", "StepResult", "Transform", "resolve_program"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used: `import steps` stays light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("steps.recipe" if name == "resolve_program" else "steps.contract"), name)
