"""Where the entries of a recipe are: which branches and loops they are in, by the places that operations name."""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple

from configs.documents.problems import child
from configs.recipe.recipe import BestOf, Gate, Group, OnFail, Recipe, RecipeNode, RecipeStep, Repeat, Switch


class Inside(Enum):
    """What a list of steps belongs to."""

    BRANCH = auto()  # the steps for which a condition holds, or does not
    CASE = auto()
    LOOP = auto()
    CHOICE = auto()
    REPAIR = auto()


class ListFrame(NamedTuple):
    """A list of steps within an entry. `label` tells apart the lists of one entry."""

    kind: Inside
    place: str
    label: bool | str = True


Frames = tuple[ListFrame, ...]


class Spot(NamedTuple):
    """An entry with the lists that it is in, outermost first, and its number in the last."""

    entry: RecipeNode
    frames: Frames
    number: int

    def inside(self, place: str) -> Frames:
        """The lists that what the entry itself does is in: its own condition is one."""
        has_condition = isinstance(self.entry, RecipeStep | Gate) and self.entry.when is not None
        return (*self.frames, ListFrame(Inside.BRANCH, place)) if has_condition else self.frames


def outline(recipe: Recipe) -> dict[str, Spot]:
    """By place, such as `steps[2].else[0]`."""
    return dict(_spots(recipe.steps, "steps", ()))


def _spots(entries: Sequence[RecipeNode], path: str, frames: Frames) -> Iterator[tuple[str, Spot]]:
    for number, entry in enumerate(entries):
        place = f"{path}[{number}]"
        spot = Spot(entry, frames, number)
        yield place, spot
        for inner, at, frame in _lists(entry, place):
            around = spot.inside(place) if frame.kind is Inside.REPAIR else frames
            yield from _spots(inner, at, (*around, frame))


def _lists(entry: RecipeNode, place: str) -> Iterator[tuple[Sequence[RecipeNode], str, ListFrame]]:
    """The lists within an entry, with where the recipe has them."""
    if isinstance(entry, Repeat | BestOf):
        kind = Inside.LOOP if isinstance(entry, Repeat) else Inside.CHOICE
        yield entry.steps, f"{place}.steps", ListFrame(kind, place)
    if isinstance(entry, Group):
        yield entry.steps, f"{place}.steps", ListFrame(Inside.BRANCH, place)
    if isinstance(entry, Group | RecipeStep):
        yield entry.otherwise, f"{place}.else", ListFrame(Inside.BRANCH, place, False)
    if isinstance(entry, Switch):
        for name, steps in entry.cases.items():
            yield steps, child(f"{place}.cases", name), ListFrame(Inside.CASE, place, name)
        yield entry.default, f"{place}.default", ListFrame(Inside.CASE, place, "")
    if isinstance(entry, RecipeStep | Gate) and isinstance(entry.on_fail, OnFail):
        yield entry.on_fail.repair, f"{place}.on_fail.repair", ListFrame(Inside.REPAIR, place)
