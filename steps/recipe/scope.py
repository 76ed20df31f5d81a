"""What is known at a place of a recipe while it is compiled: the loops around it and the source of the image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.recipe.recipe import OnFail, VisitId

Changes = Mapping[str, Mapping[str, Sequence[Any]]]  # step id -> parameter -> values


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops around a list of steps."""

    times: tuple[tuple[str, int], ...] = ()  # name of each loop, and the number of its seed, from 1
    changes: tuple[tuple[Changes, int], ...] = ()  # and the index of the values to take

    def time(self, name: str, number: int, *, new_seed: bool, change: Changes) -> "Loops":
        """Enter the loop of this name for the `number`th time, from 1."""
        times = (*self.times, (name, number if new_seed else 1))
        changes = (*self.changes, (change, number - 2)) if change and number > 1 else self.changes
        return Loops(times, changes)

    def retry(self, name: str, number: int, plan: OnFail) -> "Loops":
        """Enter a retry of the gate of this name; `number` 2 is its first retry."""
        again = self.time(name, number, new_seed=True, change=plan.change)
        return again if plan.seed == "new" else replace(again, times=self.times)

    @property
    def label(self) -> str:
        """Label of the seeds; empty for the items' own.

        As soon as one loop goes on, all have their number: the second time of an outer loop must not have the seed of
        the second time of an inner one that begins with the same step.
        """
        is_first = all(number == 1 for _, number in self.times)
        return "" if is_first else "/".join(f"{name}:{number}" for name, number in self.times)

    def parameters(self, step_id: str) -> dict[str, Any]:
        """Return the parameters that the loops change for this step."""
        return {
            name: values[min(index, len(values) - 1)]
            for change, index in self.changes
            for name, values in change.get(step_id, {}).items()
        }


@dataclass(frozen=True, slots=True)
class ImageOrigin:
    """Where the image that items have may come from."""

    makers: frozenset[VisitId] = frozenset()  # visits that may have made it
    judges: frozenset[VisitId] = frozenset()  # visits that measured it since
    unread: bool = False  # entries that could not be read may have made it

    @property
    def has_image(self) -> bool:
        """Whether there may be an image."""
        return bool(self.makers) or self.unread

    @property
    def visits(self) -> frozenset[VisitId]:
        """All visits that its facts may come from."""
        return self.makers | self.judges

    def made(self, visit: VisitId) -> "ImageOrigin":
        """Return the origin once this visit has made another image."""
        return replace(self, makers=frozenset({visit}), judges=frozenset())

    def judged(self, visit: VisitId) -> "ImageOrigin":
        """Return the origin once this visit has measured the image."""
        return replace(self, judges=self.judges | {visit})

    def join(self, *others: "ImageOrigin") -> "ImageOrigin":
        """Return the origin of items that come from here or from one of the others."""
        every = (self, *others)
        makers = frozenset[VisitId]().union(*(each.makers for each in every))
        judges = frozenset[VisitId]().union(*(each.judges for each in every))
        return ImageOrigin(makers, judges, any(each.unread for each in every))


@dataclass(frozen=True, slots=True)
class CompileScope:
    """A place of a recipe, as items come to it with all loops written out."""

    origin: ImageOrigin = ImageOrigin()
    loops: Loops = Loops()
    depth: int = 0  # how many branches and loops are around
    is_again: bool = False  # a loop has come here before: mistakes have been reported

    def having(self, origin: ImageOrigin) -> "CompileScope":
        """Return the scope with another image."""
        return replace(self, origin=origin)

    def once_more(self, loops: Loops, number: int = 2) -> "CompileScope":
        """Return the scope within these loops, whose innermost begins for the `number`th time."""
        return replace(self, loops=loops, is_again=self.is_again or number > 1)
