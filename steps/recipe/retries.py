"""Retries: at which step of the list a gate's begins, and the steps from there on written out once more."""

from collections.abc import Sequence
from dataclasses import dataclass

from configs.documents.problems import did_you_mean
from configs.recipe.recipe import Gate, OnFail, RecipeStep
from steps.recipe.branches import write_else
from steps.recipe.entries import Compiling, Placed, title_of
from steps.recipe.program import Return
from steps.recipe.scope import CompileScope, Origin
from steps.recipe.step_classes import reads_seed
from steps.recipe.visits import Visits


def start_of_retry(compiling: Compiling, entries: Sequence[Placed], scope: CompileScope) -> int | None:
    """The place in the list at which a retry for its last entry's gate begins; None: there is none."""
    entry, path = entries[-1]
    if not isinstance(entry, RecipeStep | Gate) or not isinstance(entry.on_fail, OnFail) or not entry.on_fail.retry:
        return None
    plan, place = entry.on_fail, f"{path}.on_fail"
    if plan.start is None and isinstance(entry, Gate):
        compiling.draft.complain(scope, f"{place}.from", "is missing: name the step that a retry begins with")
        return None
    steps = {each.id: at for at, (each, _) in enumerate(entries) if isinstance(each, RecipeStep)}
    begin = len(entries) - 1 if plan.start is None else steps.get(plan.start)
    if begin is None:
        message = (
            f"no step `{plan.start}` stands before this one in the same list{did_you_mean(str(plan.start), steps)}"
        )
        compiling.draft.complain(scope, f"{place}.from", message)
        return None
    again = [each for each, _ in entries[begin:]]
    # The gate's own repair comes after its retries: a change of it would change nothing.
    redone = [*again[:-1], entry.model_copy(update={"on_fail": plan.then})]
    compiling.check_changes(plan.change, redone, place, "the retry goes through", scope)
    visited = [each for each in again if isinstance(each, RecipeStep)]
    if plan.seed == "new" and not plan.change and not any(reads_seed(each) for each in visited):
        ids = ", ".join(f"`{each.id}`" for each in visited)
        message = f"another seed changes nothing: {ids} read none; begin `from` an earlier step, or `change` parameters"
        compiling.draft.complain(scope, f"{place}.retry", message)
    return begin


@dataclass(frozen=True, slots=True)
class Start:
    """A place of a list that retries go back to. `saved`: under which name. `origin`: of the image that items have."""

    saved: str
    origin: Origin


class Retries:
    """Writes retries out. Tells gates without an id apart, of which two may send items back to the same step."""

    def __init__(self, compiling: Compiling, visits: Visits) -> None:
        self._compiling, self._visits = compiling, visits
        self._gates: dict[str, int] = {}  # path of a gate without an id -> which of them it is

    def write(self, stretch: Sequence[Placed], start: Start, number: int, failing: CompileScope) -> CompileScope:
        """Makes the image anew. `stretch`: from the step that the gate names to the one with the gate, or the gate.

        `number` 2 is the first retry. Returns the scope of those who come to the gate again.
        """
        entry, path = stretch[-1]
        assert isinstance(entry, RecipeStep | Gate) and isinstance(entry.on_fail, OnFail)
        self._compiling.draft.add(Return(key=start.saved, guards=failing.guards, place=path))
        loops = failing.loops.retry(self._name(entry, path), number, entry.on_fail)
        again = failing.once_more(loops).having(start.origin)
        again = again.having(self._compiling.write_list(stretch[:-1], again))
        if isinstance(entry, Gate):
            return again
        visiting = self._visits.write(entry, path, again)
        turned_away = write_else(self._compiling, entry, path, again, visiting)
        return visiting.having(visiting.origin.join(turned_away)) if entry.otherwise else visiting

    def _name(self, entry: RecipeStep | Gate, path: str) -> str:
        """What its retries are called in labels of seeds."""
        if isinstance(entry, RecipeStep) or entry.id is not None:
            return title_of(entry)
        number = self._gates.setdefault(path, len(self._gates) + 1)
        return title_of(entry) if number == 1 else f"{title_of(entry)} {number}"
