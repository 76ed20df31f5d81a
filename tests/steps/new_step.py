"""Any step of the catalogue, with what it needs."""

from typing import Any

from configs.catalogues import catalogue
from steps.contract import Step

# Those that a step needs besides a model, and some that keep its tests short.
PARAMETERS: dict[str, dict[str, Any]] = {
    "generate": {"steps": 2},
    "inpaint": {"steps": 2, "mask": "holes"},
    "resize": {"width": 20},
    "judge": {"model": "tiny", "measure": ["classifier", "clip", "aesthetic", "nsfw"], "palette": ["#ff0000", "teal"]},
}


def new_step(name: str, **parameters: Any) -> Step:
    kind = catalogue.load_step(name)
    model = kind.model_fields.get("model")
    required = {"model": "tiny"} if model is not None and model.is_required() else {}
    return kind.model_validate({**required, **PARAMETERS.get(name, {}), **parameters})
