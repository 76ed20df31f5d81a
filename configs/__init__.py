"""Typed settings and schemas, and the recipes, models and deployments as YAML. The lowest layer: imports no other."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from configs.documents.fields import Item
    from configs.documents.problems import InvalidInput
    from configs.failures import PixelmillError
    from configs.job.job import Job
    from configs.recipe.recipe import Recipe
    from configs.settings.settings import Settings, load_settings

_HOMES = {
    "InvalidInput": "configs.documents.problems",
    "Item": "configs.documents.fields",
    "Job": "configs.job.job",
    "PixelmillError": "configs.failures",
    "Recipe": "configs.recipe.recipe",
    "Settings": "configs.settings.settings",
    "load_settings": "configs.settings.settings",
}
__all__ = ["InvalidInput", "Item", "Job", "PixelmillError", "Recipe", "Settings", "load_settings"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used: `import configs` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
