"""Conditions of a recipe: parsed, and their names compared with the steps and facts that there are."""

from collections.abc import Collection, Iterator, Sequence

from configs.conditions import THIS, Condition, ConditionError
from configs.documents.problems import Problem, did_you_mean
from configs.recipe.recipe import Gate, RecipeStep, RequirementSpec
from steps.facts import FACTS
from steps.recipe.draft import ProgramDraft
from steps.recipe.program import Requirement
from steps.recipe.scope import CompileScope


class Conditions:
    """Reads conditions at their places. What they ask for will be measured.

    `ids` are those of all steps; `unread` those of entries that could not be read, None for one that is not known.
    """

    def __init__(self, draft: ProgramDraft, ids: Collection[str], unread: Collection[str | None]) -> None:
        self._draft, self._ids = draft, ids
        self._knows_all_ids = None not in unread
        # Facts by step id; None: of a step that could not be read or found.
        self._measured: dict[str, Collection[str] | None] = {name: None for name in unread if name is not None}
        self._visits: dict[str, list[str]] = {}  # step id -> visit ids
        self._parsed: dict[str, Condition] = {}  # by text: loops come to the same ones again

    def visited(self, step_id: str, visit: str, measured: Collection[str] | None) -> None:
        """From here on there are facts of this visit. `measured` None: nobody knows which."""
        self._measured[step_id] = measured
        self._visits.setdefault(step_id, []).append(visit)

    def read(self, text: str, path: str, scope: CompileScope) -> Condition | None:
        """None: it has been complained of. So have names that mean nothing, but those stay in it."""
        try:
            condition = self._parsed[text] = self._parsed.get(text) or Condition.parse(text)
        except ConditionError as error:
            self._draft.complain(scope, path, str(error))
            return None
        if not scope.is_again:
            self._draft.conditions.append((path, condition))
        if self._knows_all_ids:
            self._check_names(condition, path, scope)
        return condition

    def requirements(self, entry: Gate | RecipeStep, path: str, scope: CompileScope) -> tuple[Requirement, ...]:
        """What the gate at this path asks of an image."""
        found = []
        for place, one in enumerate(entry.require):
            form = RequirementSpec(that=one) if isinstance(one, str) else one
            where = f"{path}.require[{place}]" + ("" if isinstance(one, str) else ".that")
            condition = self.read(form.that, where, scope)
            if condition is not None:
                found.append(Requirement(condition, form.because, form.gate))
        return tuple(found)

    def _check_names(self, condition: Condition, path: str, scope: CompileScope) -> None:
        for name in sorted(condition.names):
            if name[0] == "facts" and name[1] == THIS:
                self._want_of_image(name, path, scope)
            elif name[0] in ("facts", "steps"):
                self._want_of_step(name, path, scope)

    def _want_of_step(self, name: tuple[str, ...], path: str, scope: CompileScope) -> None:
        step, fact = name[1], name[2]
        text = f"`{'.'.join(name)}`"
        if step not in self._measured:
            later = "comes later: only facts of earlier steps are known"
            known = step in self._ids
            why = f"the step `{step}` {later}" if known else f"no step has the id `{step}`"
            hint = "" if known else did_you_mean(step, self._measured)
            self._draft.complain(scope, path, f"{text}: {why}{hint}")
            return
        measured = self._measured[step]
        if name[0] == "steps" or measured is None:
            return
        if fact not in measured:
            hint = did_you_mean(fact, measured, limit=20)
            self._draft.complain(scope, path, f"{text}: the step `{step}` measures no `{fact}`{hint}")
        self._draft.want(self._visits.get(step, ()), fact)

    def _want_of_image(self, name: tuple[str, ...], path: str, scope: CompileScope) -> None:
        """A fact of the image that the item has then, whichever step made it."""
        fact, origin = name[2], scope.origin
        if not origin.makers:
            if not origin.has_image:
                self._draft.complain(scope, path, f"`{'.'.join(name)}`: no step before makes an image")
            return
        self._draft.want(origin.visits, fact)
        known = set(FACTS)
        for visit in origin.visits:
            measured = self._measured.get(visit.partition("~")[0])
            if measured is None:
                return
            known.update(measured)
        if fact not in known:
            hint = did_you_mean(fact, known, limit=20)
            self._draft.complain(scope, path, f"`{'.'.join(name)}`: no step here measures `{fact}`{hint}")


def unknown_facts(facts: Sequence[str], path: str) -> Iterator[Problem]:
    """Those of a list of facts to measure that the catalogue does not have."""
    for place, fact in enumerate(facts):
        if fact not in FACTS:
            yield Problem(f"{path}[{place}]", f"unknown fact `{fact}`{did_you_mean(fact, FACTS)}")
