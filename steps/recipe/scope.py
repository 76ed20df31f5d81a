"""What is known at a place of a recipe: who comes there, within which loops, and whose image he may have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.recipe.recipe import OnFail
from steps.recipe.program import Guard, Guards

Changes = Mapping[str, Mapping[str, Sequence[Any]]]  # step id -> parameter -> values


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops that a list of steps is in."""

    times: tuple[tuple[str, int], ...] = ()  # name of each loop, and the how-manieth seed of it this is, from 1
    changes: tuple[tuple[Changes, int], ...] = ()  # and which value of them

    def time(self, name: str, number: int, *, new_seed: bool, change: Changes) -> "Loops":
        """Within the loop of this name for the `number`th time, from 1."""
        times = (*self.times, (name, number if new_seed else 1))
        changes = (*self.changes, (change, number - 2)) if change and number > 1 else self.changes
        return Loops(times, changes)

    def retry(self, name: str, number: int, plan: OnFail) -> "Loops":
        """Once more for the gate of this name; `number` 2 is its first retry."""
        again = self.time(name, number, new_seed=True, change=plan.change)
        return again if plan.seed == "new" else replace(again, times=self.times)

    @property
    def label(self) -> str:
        """Of the seeds. Empty where they are the items' own.

        As soon as one loop goes on, all have their number: the second time of an outer loop must not have the seed of
        the second time of an inner one that begins with the same step.
        """
        is_first = all(number == 1 for _, number in self.times)
        return "" if is_first else "/".join(f"{name}:{number}" for name, number in self.times)

    def parameters(self, step_id: str) -> dict[str, Any]:
        """Those that the loops change for this step."""
        return {
            name: values[min(place, len(values) - 1)]
            for change, place in self.changes
            for name, values in change.get(step_id, {}).items()
        }


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the image may come from that items have."""

    makers: frozenset[str] = frozenset()  # visits that may have made it
    judges: frozenset[str] = frozenset()  # visits that measured it since
    unread: bool = False  # there are entries that could not be read: any of them may have made it

    @property
    def has_image(self) -> bool:
        """Whether it is possible that there is one."""
        return bool(self.makers) or self.unread

    @property
    def visits(self) -> frozenset[str]:
        """All that its facts may be of."""
        return self.makers | self.judges

    def made(self, visit: str) -> "Origin":
        """Once this visit has made another image."""
        return replace(self, makers=frozenset({visit}), judges=frozenset())

    def judged(self, visit: str) -> "Origin":
        """Once this visit has measured it."""
        return replace(self, judges=self.judges | {visit})

    def join(self, *others: "Origin") -> "Origin":
        """Of items that come from here and from there."""
        every = (self, *others)
        makers = frozenset[str]().union(*(each.makers for each in every))
        judges = frozenset[str]().union(*(each.judges for each in every))
        return Origin(makers, judges, any(each.unread for each in every))


@dataclass(frozen=True, slots=True)
class CompileScope:
    """A place of a recipe, as one comes to it with all its loops written out."""

    guards: Guards = ()
    origin: Origin = Origin()
    loops: Loops = Loops()
    candidate_of: str | None = None  # the innermost `best_of` around
    depth: int = 0  # how many branches and loops are around
    is_again: bool = False  # a loop has come here before: mistakes have been told

    def where(self, decision: str, value: bool | str = True) -> "CompileScope":
        """Of those for whom this decision comes out so."""
        return replace(self, guards=(*self.guards, Guard(decision, value)))

    def having(self, origin: Origin) -> "CompileScope":
        """With another image."""
        return replace(self, origin=origin)

    def within(self) -> "CompileScope":
        """In a list of an entry of this one."""
        return replace(self, depth=self.depth + 1)

    def once_more(self, loops: Loops, number: int = 2) -> "CompileScope":
        """Within these loops, of which one begins its `number`th time."""
        return replace(self, loops=loops, is_again=self.is_again or number > 1)
