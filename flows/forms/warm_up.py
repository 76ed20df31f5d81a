"""warm-up: loads models on the GPU worker that takes the flow run, before work comes."""

import re
import time
from typing import Any

from prefect import State, get_run_logger
from prefect.states import Completed, Failed
from pydantic import BaseModel, Field

from configs.documents.problems import InvalidInput
from configs.settings.settings import load_settings
from flows.burst.form_flow import form_flow
from gpu_worker.device.runtime import get_runtime


class WarmUpForm(BaseModel):
    """Which models."""

    models: str = Field(
        default="starter", title="Models", description="Names of models, separated by commas or lines.", min_length=1
    )


@form_flow(
    WarmUpForm,
    name="warm-up",
    run_name="warm-up",
    description="Loads models on one idle GPU worker before work comes.",
)
def warm_up(form: WarmUpForm) -> State[Any]:
    """Names that no model has fail it, all at once; then nothing is loaded."""
    runtime = get_runtime(load_settings())
    names = [name for name in re.split(r"[\s,]+", form.models) if name]
    wrong = []
    for name in names:
        try:
            runtime.catalogue.get(name)
        except (LookupError, InvalidInput) as error:
            wrong.append(str(error.args[0] if isinstance(error, LookupError) else error))
    if wrong or not names:
        return Failed(message="; ".join(wrong) or "name at least one model")
    logger = get_run_logger()
    loaded = []
    for ref in runtime.refs(names):
        if ref not in runtime.resident():
            began = time.monotonic()
            runtime.load(ref)
            loaded.append(f"{ref} in {time.monotonic() - began:.1f} s")
            logger.info("loaded %s", loaded[-1])
    return Completed(message=f"{runtime.name}: " + ("loaded " + ", ".join(loaded) if loaded else "all were loaded"))
