"""A program as it grows: its visits and decisions in order, facts to measure, mistakes; and each place on the way."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.conditions import THIS, Condition, ConditionError
from configs.documents.fields import Item
from configs.documents.problems import Problem, check, did_you_mean
from configs.recipe.recipe import DISTINCT, Gate, OnFail, Recipe, RecipeStep, RequirementSpec, VisitId
from steps.contract import Step
from steps.facts import FACTS
from steps.recipe.program import Decision, Requirement, ResolvedStep, Visit

_ANY_ITEM = Item(index=0, name="any", prompt="any", seed=0, image="any", mask="any")
MAX_VISITS = 256  # with all loops written out
_STEP_FIELDS = tuple(info.alias or name for name, info in RecipeStep.model_fields.items())
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
    moved_by: str | None = None  # id of a step since which it may show another part than the item's mask

    @property
    def has_image(self) -> bool:
        """Whether there may be an image."""
        return bool(self.makers) or self.unread

    @property
    def visits(self) -> frozenset[VisitId]:
        """All visits that its facts may come from."""
        return self.makers | self.judges

    def made(self, visit: VisitId, step: Step | None) -> "ImageOrigin":
        """Return the origin once this visit of a step, None for an unreadable one, has made another image."""
        framing = "kept" if step is None else step.framing
        moved_by = {"moved": visit.step, "new": None}.get(framing, self.moved_by)
        return replace(self, makers=frozenset({visit}), judges=frozenset(), moved_by=moved_by)

    def judged(self, visit: VisitId) -> "ImageOrigin":
        """Return the origin once this visit has measured the image."""
        return replace(self, judges=self.judges | {visit})

    def join(self, *others: "ImageOrigin") -> "ImageOrigin":
        """Return the origin of items that come from here or from one of the others."""
        every = (self, *others)
        makers = frozenset[VisitId]().union(*(each.makers for each in every))
        judges = frozenset[VisitId]().union(*(each.judges for each in every))
        moved_by = next((each.moved_by for each in every if each.moved_by), None)
        return ImageOrigin(makers, judges, any(each.unread for each in every), moved_by)


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


class ProgramDraft:
    """Collects what the compiler finds.

    `steps` and `conditions` come with their paths in the document, each once, however often loops write them out.
    `objections` are mistakes of recipes that can be followed nevertheless: jobs may have begun with one.
    `first` maps ids of steps to the paths at which they were first met. `unread` are the ids of entries that could not
    be read, None for an entry without one.
    """

    def __init__(self, recipe: Recipe, unread: Collection[str | None]) -> None:
        self.steps: list[tuple[str, ResolvedStep]] = []
        self.conditions: list[tuple[str, Condition]] = []
        self.problems: list[Problem] = []
        self.objections: list[Problem] = []
        self.visits: list[Visit] = []
        self.decisions: list[Decision] = []
        self.first: dict[str, str] = {}
        self._facts = FACTS.keys() & {*recipe.facts, *(("likeness",) if recipe.distinction else ())}
        self._ids = {step.id for step in recipe.leaves}
        self._knows_all_ids = None not in unread
        self._numbers: dict[str, int] = {}  # step id -> visits so far
        self._wanted: dict[VisitId, set[str]] = {}
        # Facts by step id; None for a step that could not be read or found.
        self._measured: dict[str, Collection[str] | None] = {name: None for name in unread if name is not None}
        self._parsed: dict[str, Condition] = {}  # by text: loops come to the same ones again

    @property
    def is_too_long(self) -> bool:
        """Whether the recipe has been refused for its number of visits."""
        return sum(self._numbers.values()) > MAX_VISITS

    def complain(self, scope: CompileScope, path: str, message: str) -> None:
        """Add a mistake at this path: once, however often loops come there."""
        if not scope.is_again:
            self.problems.append(Problem(path, message))

    def mistakes_of_the_whole(self, recipe: Recipe, unread: Collection[str | None]) -> Iterator[Problem]:
        """Yield mistakes in `keep`, in `facts` and in ids."""
        for number, name in enumerate(recipe.keep):
            path = f"keep[{number}]"
            if name in recipe.keep[:number]:
                yield Problem(path, f"`{name}` is listed twice")
            elif name not in self._ids and name not in unread and None not in unread:
                yield Problem(path, f"no step has the id `{name}`{did_you_mean(name, self._ids)}")
        yield from unknown_facts(recipe.facts, "facts")
        if recipe.distinction and DISTINCT in self.first:
            message = f"the id `{DISTINCT}` is that of the recipe's own `{DISTINCT}` in reports: choose another"
            yield Problem(f"{self.first[DISTINCT]}.id", message)

    # -- visits --------------------------------------------------------------------------------------------------------
    def make_step(self, entry: RecipeStep, path: str, scope: CompileScope) -> Step | None:
        """Make the step with the parameters that the loops around give it, or report its mistakes and return None."""
        try:
            kind = _class_of(entry)
        except (UnknownName, BrokenEntry) as error:
            self.complain(scope, f"{path}.step", str(error.args[0]))
            return None
        changed = scope.loops.parameters(entry.id)
        step, mistakes = check(kind, {**entry.parameters, **changed}, path, also_known=_STEP_FIELDS)
        if not scope.is_again:
            self.problems += mistakes
        elif changed:
            values = ", ".join(f"{name}: {value}" for name, value in changed.items())
            self.problems += [Problem(each.path, f"with {values} of a loop: {each.message}") for each in mistakes]
        if step is not None and scope.origin.moved_by is not None and "mask" in step.item_files(_ANY_ITEM):
            message = (
                f"the item's mask is drawn over the whole picture, and the step `{scope.origin.moved_by}` changes "
                "which part of it the image shows: put this step before that one"
            )
            self.objections.append(Problem(path, message))  # also where only a loop's later pass comes to it
        return step

    def visit(
        self, entry: RecipeStep, step: Step | None, path: str, scope: CompileScope
    ) -> tuple[VisitId, Visit | None]:
        """Add the next visit of a step, or count it if `step` is None because it has mistakes."""
        number = self._numbers[entry.id] = self._numbers.get(entry.id, 0) + 1
        visit = VisitId(entry.id, number)
        if sum(self._numbers.values()) == MAX_VISITS + 1:
            message = f"with all loops written out the recipe has more than {MAX_VISITS} steps: let them run less often"
            self.problems.append(Problem("steps", message))
        self._measured[entry.id] = _facts_of(entry, step)
        if step is None:
            return visit, None
        if not step.keeps_image:
            self._wanted[visit] = {*self._facts, *(FACTS.keys() & entry.facts)}
        made = Visit(
            id=str(visit),
            step_id=entry.id,
            name=entry.step,
            step=step,
            seeds=scope.loops.label,
            facts=self._wanted.get(visit, frozenset()),
            path=path,
            at=len(self.visits),
        )
        self.visits.append(made)
        return visit, made

    def _want(self, visits: Iterable[VisitId], fact: str) -> None:
        """Have the fact measured on the images of these visits."""
        for visit in visits:
            if visit in self._wanted and fact in FACTS:
                self._wanted[visit].add(fact)

    # -- conditions ----------------------------------------------------------------------------------------------------
    def decision(self, text: str, path: str, scope: CompileScope) -> Decision | None:
        """Add the decision that comes next, or return None after reporting a mistake in it."""
        condition = self._read(text, path, scope)
        return None if condition is None else self._decide(condition, path)

    def requirements(self, entry: Gate | RecipeStep, path: str, scope: CompileScope) -> tuple[Requirement, ...]:
        """Add the decisions of the gate at this path."""
        found = []
        for index, one in enumerate(entry.require):
            form = RequirementSpec(that=one) if isinstance(one, str) else one
            where = f"{path}.require[{index}]"
            condition = self._read(form.that, where if isinstance(one, str) else f"{where}.that", scope)
            if condition is not None:
                self._decide(condition, where)
                found.append(Requirement(condition, form.because, form.gate))
        return tuple(found)

    def _decide(self, condition: Condition, path: str) -> Decision:
        decision = Decision(condition, path, len(self.visits))
        self.decisions.append(decision)
        return decision

    def _read(self, text: str, path: str, scope: CompileScope) -> Condition | None:
        """Parse a condition. Unknown names are reported but kept; a syntax error is reported and gives None."""
        try:
            condition = self._parsed[text] = self._parsed.get(text) or Condition.parse(text)
        except ConditionError as error:
            self.complain(scope, path, str(error))
            return None
        if not scope.is_again:
            self.conditions.append((path, condition))
        if self._knows_all_ids:
            for name in sorted(condition.names):
                if name[0] == "facts" and name[1] == THIS:
                    self._want_of_image(name, path, scope)
                elif name[0] in ("facts", "steps"):
                    self._want_of_step(name, path, scope)
        return condition

    def _want_of_step(self, name: tuple[str, ...], path: str, scope: CompileScope) -> None:
        step, fact = name[1], name[2]
        text = f"`{'.'.join(name)}`"
        if step not in self._measured:
            if step in self._ids:
                why = f"the step `{step}` comes later: only facts of earlier steps are known"
            else:
                why = f"no step has the id `{step}`{did_you_mean(step, self._measured)}"
            self.complain(scope, path, f"{text}: {why}")
            return
        measured = self._measured[step]
        if name[0] == "steps" or measured is None:
            return
        if fact not in measured:
            hint = did_you_mean(fact, measured, limit=20)
            self.complain(scope, path, f"{text}: the step `{step}` measures no `{fact}`{hint}")
        self._want((VisitId(step, number + 1) for number in range(self._numbers.get(step, 0))), fact)

    def _want_of_image(self, name: tuple[str, ...], path: str, scope: CompileScope) -> None:
        """Check a fact of the image that the item has then, whichever step made it."""
        fact, origin = name[2], scope.origin
        if not origin.makers:
            if not origin.has_image:
                self.complain(scope, path, f"`{'.'.join(name)}`: no step before makes an image")
            return
        self._want(origin.visits, fact)
        known = set(FACTS)
        for visit in origin.visits:
            measured = self._measured.get(visit.step)
            if measured is None:
                return
            known.update(measured)
        if fact not in known:
            hint = did_you_mean(fact, known, limit=20)
            self.complain(scope, path, f"`{'.'.join(name)}`: no step here measures `{fact}`{hint}")


def reads_seed(entry: RecipeStep) -> bool:
    """Return whether another seed makes another image; true for a step that cannot be made."""
    try:
        step, _ = check(_class_of(entry), entry.parameters)
        other = _ANY_ITEM.model_copy(update={"seed": 1})
        return step is None or step.identity(_ANY_ITEM) != step.identity(other)
    except Exception:
        return True


def _facts_of(entry: RecipeStep, step: Step | None) -> Collection[str] | None:
    """Return the facts that the entry's images may have, or None if there is no such step.

    Of a step that could not be made, those that its class may measure: conditions on others are mistakes either way.
    """
    try:
        kind = step or _class_of(entry)
    except (UnknownName, BrokenEntry):
        return None
    own = kind.own_facts if step is None else step.measured_facts()
    return {*own, *(() if kind.keeps_image else FACTS)}


def _class_of(entry: RecipeStep) -> type[Step]:
    kind = load_step(entry.step)
    if not issubclass(kind, Step):
        raise BrokenEntry(f"`{entry.step}` is in the catalogue, but no subclass of Step")
    return kind


def unknown_facts(facts: Sequence[str], path: str) -> Iterator[Problem]:
    """Yield a problem for each fact to measure that the catalogue lacks."""
    for index, fact in enumerate(facts):
        if fact not in FACTS:
            yield Problem(f"{path}[{index}]", f"unknown fact `{fact}`{did_you_mean(fact, FACTS)}")
