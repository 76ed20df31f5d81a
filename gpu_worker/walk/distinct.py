"""Which items of a job repeat an earlier one: what a recipe's `distinct` says, from stored facts alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from configs.recipe.recipe import Distinct
from steps.facts.likeness import distance_between, near_duplicates
from storage.ledger.records import StepOutcome

OPENING = "near-duplicate of item "  # of every reason
_DISTANCE = " (distance "


@dataclass(frozen=True, slots=True)
class Finished:
    """An item that came to the recipe's end, with the fact `likeness` of its last final image.

    None: nobody measured it; such an item repeats nothing, and nothing repeats it. `accepted`: a person has accepted
    this very image, which is then no repetition whatever it looks like.
    """

    index: int
    name: str
    likeness: str | None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Repetition:
    """Which item is repeated, and how far its image is away, in levels of 255."""

    index: int  # of the item that is repeated
    name: str
    distance: float

    @property
    def reason(self) -> str:
        return f"{OPENING}{self.name}{_DISTANCE}{self.distance:.1f})"


def repeated_in(reason: str) -> str | None:
    """The name of the item that an item repeats, by the reason that it was given. None: it is no such reason."""
    return reason.removeprefix(OPENING).rpartition(_DISTANCE)[0] if reason.startswith(OPENING) else None


def repetitions(rule: Distinct, items: Iterable[Finished]) -> dict[int, Repetition]:
    """By index of the item: which earlier one it repeats.

    Of images that are alike the first in the job's order stays, whatever order `items` come in, and whichever was made
    first.
    """
    ordered = sorted(items, key=lambda item: item.index)
    likenesses = [item.likeness for item in ordered]
    kept = [place for place, item in enumerate(ordered) if item.accepted]
    found: dict[int, Repetition] = {}
    for place, first in enumerate(near_duplicates(likenesses, rule.distance, kept=kept)):
        if first is not None:
            distance = distance_between(str(likenesses[place]), str(likenesses[first]))
            found[ordered[place].index] = Repetition(ordered[first].index, ordered[first].name, distance)
    return found


def likeness_of(visit: str, entries: Mapping[str, StepOutcome]) -> str | None:
    """The fact `likeness` of the image that a visit made; None where it was never measured."""
    entry = entries.get(visit)
    fact = entry.artefact.facts.get("likeness") if entry is not None and entry.artefact is not None else None
    return fact if isinstance(fact, str) else None
