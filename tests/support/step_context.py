"""The context of a step outside a worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from configs.catalogues.models import ModelRef
from steps.contract import MemoryFallback


@dataclass
class Context:
    """A step's context over models that are loaded when first asked for. `asked` lists every request."""

    models: Mapping[str, Any]  # role -> function that loads it
    device: str = "cpu"
    fallback: MemoryFallback = MemoryFallback.NONE
    asked: list[ModelRef] = field(default_factory=list)
    loaded: dict[str, Any] = field(default_factory=dict)

    def model(self, ref: ModelRef) -> Any:
        self.asked.append(ref)
        if ref.role not in self.loaded:
            self.loaded[ref.role] = self.models[ref.role]()
        return self.loaded[ref.role]
