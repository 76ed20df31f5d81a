"""Which of the gates that come with Pixelmill an image does not pass."""

from collections.abc import Collection, Mapping, Sequence

from benchmarks.gates.judging import FACTS as JUDGED
from benchmarks.gates.judging import Judging
from benchmarks.gates.picture import Picture, StepId
from configs.catalogues.gates import find_gate
from configs.conditions import Condition, Scope
from configs.documents.fields import Item
from configs.settings.settings import Settings
from steps.contract import Fact
from steps.facts import FACTS, measure

GATES_AT: Mapping[StepId, tuple[str, ...]] = {
    "cutout": ("blank", "sharp", "whole", "solid", "cut_out", "clean", "right_object", "right_color"),
    "large": ("blank", "sharp", "whole", "clean", "seamless", "right_object", "right_color"),
}
DUPLICATE = "duplicate"  # found over the whole job, not by a condition
_BATCH = 64


class Gates:
    """The shipped gates, each at the steps of GATES_AT."""

    def __init__(self, settings: Settings) -> None:
        names = {name for listed in GATES_AT.values() for name in listed}
        self._conditions = {name: Condition.parse(find_gate(name, settings).require) for name in names}
        self._judging = Judging(settings)

    def facts(self, pictures: Sequence[Picture]) -> list[dict[StepId, dict[str, Fact]]]:
        """Facts of each picture's stages: those that the stage's gates read, and the likeness."""
        measured: list[dict[StepId, dict[str, Fact]]] = []
        for start in range(0, len(pictures), _BATCH):
            part = pictures[start : start + _BATCH]
            found: list[dict[StepId, dict[str, Fact]]] = [
                {
                    stage.step: measure(stage.image, self._names(stage.step), source=stage.source)
                    for stage in each.stages
                }
                for each in part
            ]
            stages = [(row, stage) for row, each in enumerate(part) for stage in each.stages]
            judged = self._judging.facts([stage.image for _, stage in stages], [part[row].asked for row, _ in stages])
            for (row, stage), of_stage in zip(stages, judged, strict=True):
                found[row][stage.step] |= of_stage
            measured += found
        return measured

    def fired(self, facts: Mapping[StepId, Mapping[str, Fact]]) -> frozenset[str]:
        """Names of the gates that one picture does not pass, at whichever step."""
        return frozenset(
            gate
            for step, of_step in facts.items()
            for gate in GATES_AT[step]
            if not self._conditions[gate].holds(Scope(_ITEM, {"this": of_step}))
        )

    def _names(self, step: StepId) -> Collection[str]:
        read = {name[2] for gate in GATES_AT[step] for name in self._conditions[gate].names if name[0] == "facts"}
        return (read - JUDGED) & FACTS.keys() | {"likeness"}


_ITEM = Item(index=0, name="picture", seed=0)
