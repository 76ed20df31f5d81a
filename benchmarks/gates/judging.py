"""What the default gates read of a judge, measured by the step `judge` with the starter's classifier."""

from collections.abc import Hashable, Sequence

from PIL import Image

from benchmarks.bare_process import BareContext
from benchmarks.gates.picture import Asked
from benchmarks.gates.workshop import item_of
from configs.settings.settings import Settings
from steps.contract import Fact, Frame
from steps.judge import Judge

JUDGE = Judge(model="starter", measure=("classifier",))
FACTS = frozenset(JUDGE.measured_facts())


class Judging:
    """The step in this process; its model is loaded when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._context = BareContext(settings)

    def facts(self, images: Sequence[Image.Image], wanted: Sequence[Asked]) -> list[dict[str, Fact]]:
        """Return the step's facts of each image, judged by its original prompt."""
        frames = [Frame(item_of(asked), image) for asked, image in zip(wanted, images, strict=True)]
        alike: dict[Hashable, list[int]] = {}
        for place, frame in enumerate(frames):
            alike.setdefault(JUDGE.batch_key(frame), []).append(place)
        found: list[dict[str, Fact]] = [{} for _ in frames]
        for places in alike.values():
            results = JUDGE.run([frames[place] for place in places], self._context)
            for place, result in zip(places, results, strict=True):
                found[place] = dict(result.facts)
        return found
