"""Finds items of a job that repeat an earlier one, for a recipe's `distinct`, from stored facts alone."""

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

    Without a measured `likeness` (None) an item repeats nothing, and nothing repeats it. `accepted`: a person has
    accepted this very image, which then never counts as a repetition.
    """

    index: int
    name: str
    likeness: str | None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Repetition:
    """The item that is repeated, and the distance of its image, in levels of 255."""

    index: int  # of the item that is repeated
    name: str
    distance: float

    @property
    def reason(self) -> str:
        return f"{OPENING}{self.name}{_DISTANCE}{self.distance:.1f})"


def repeated_in(reason: str) -> str | None:
    """Return the name of the item that an item repeats, or None if the reason is another one."""
    return reason.removeprefix(OPENING).rpartition(_DISTANCE)[0] if reason.startswith(OPENING) else None


def repetitions(rule: Distinct, items: Iterable[Finished]) -> dict[int, Repetition]:
    """Return index of an item -> the earlier item that it repeats.

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
    """Return the fact `likeness` of the image that a visit made, or None if it was never measured."""
    entry = entries.get(visit)
    fact = entry.artefact.facts.get("likeness") if entry is not None and entry.artefact is not None else None
    return fact if isinstance(fact, str) else None
