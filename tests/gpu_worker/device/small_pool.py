"""A pool of models of 40 MB each, none of which is there."""

from collections.abc import Mapping
from typing import Any

from configs.catalogues.models import ModelPart, ModelRef
from gpu_worker.device.device import Device
from gpu_worker.device.model_pool import ModelPool

CPU = Device("cpu", "test", 1000)
A, B, C = (ModelRef(name, "diffusion") for name in "abc")


class Parts:
    """Models of 40 MB each; `overrides` replaces some."""

    def __init__(self, overrides: Mapping[ModelRef, ModelPart] | None = None) -> None:
        self._overrides = overrides or {}

    def part(self, ref: ModelRef) -> ModelPart:
        return self._overrides.get(ref) or ModelPart(engine="test", source=ref.name, memory_mb=40)


def make_pool(budget_mb: int = 100, loader: Any = None, parts: Parts | None = None) -> ModelPool:
    return ModelPool(
        parts or Parts(),
        CPU,
        budget_mb=budget_mb,
        load_engine=lambda _: loader or (lambda source, options, device: [source, device]),
    )
