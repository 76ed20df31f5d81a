"""Steps as they are visited: the condition, the step with its parameters, and what is known of the image after it."""

from configs.documents.problems import Problem
from configs.recipe.recipe import Recipe, RecipeStep
from steps.contract import Step
from steps.facts import FACTS
from steps.recipe.conditions import Conditions, unknown_facts
from steps.recipe.draft import ProgramDraft
from steps.recipe.program import ResolvedStep, Visit
from steps.recipe.scope import CompileScope
from steps.recipe.step_classes import make_step

MAX_VISITS = 256  # with all loops written out


class Visits:
    """Writes visits down. `first` maps the ids of steps to the paths at which they were first met."""

    def __init__(self, recipe: Recipe, draft: ProgramDraft, conditions: Conditions) -> None:
        self._draft, self._conditions = draft, conditions
        self._asked = (*recipe.facts, *(("likeness",) if recipe.distinction else ()))
        self._count = 0
        self.first: dict[str, str] = {}

    @property
    def are_too_many(self) -> bool:
        """Whether the recipe has been refused for that."""
        return self._count > MAX_VISITS

    def write(self, entry: RecipeStep, path: str, scope: CompileScope) -> CompileScope:
        """The step's condition and the step itself. Returns the scope of those who visit it."""
        draft = self._draft
        first = self.first.setdefault(entry.id, path)
        if first != path:
            draft.complain(scope, f"{path}.id", f"the id `{entry.id}` is taken by {first}: choose another")
        condition, visiting = None, scope
        if entry.when is not None:
            condition = self._conditions.read(entry.when, f"{path}.when", scope)
        if condition is not None:
            visiting = scope.where(draft.decide(f"{entry.id}.when", condition, scope, f"{path}.when"))
        step = make_step(entry, path, scope, draft)
        if step is not None:
            if not scope.is_again:
                draft.steps.append((path, ResolvedStep(entry.id, entry.step, step, condition)))
            if not step.makes_image and not scope.origin.has_image:
                message = f"`{entry.step}` needs an image, but no step before it makes one: begin with generate or load"
                draft.complain(scope, path, message)
        for problem in unknown_facts(entry.facts, f"{path}.facts"):
            draft.complain(scope, problem.path, problem.message)
        visit = self._add(entry, step, path, visiting)
        keeps_image = step is not None and step.keeps_image
        origin = scope.origin.judged(visit) if keeps_image else scope.origin.made(visit)
        return visiting.having(origin if condition is None else origin.join(scope.origin))

    def _add(self, entry: RecipeStep, step: Step | None, path: str, scope: CompileScope) -> str:
        """Returns the visit's id."""
        visit = self._draft.name(entry.id)
        self._count += 1
        if self._count == MAX_VISITS + 1:
            message = f"with all loops written out the recipe has more than {MAX_VISITS} steps: let them run less often"
            self._draft.problems.append(Problem("steps", message))
        if step is None:
            self._conditions.visited(entry.id, visit, None)
            return visit
        measured = {*step.measured_facts(), *(() if step.keeps_image else FACTS)}
        self._conditions.visited(entry.id, visit, measured)
        asked = () if step.keeps_image else FACTS.keys() & {*self._asked, *entry.facts}
        self._draft.add(
            Visit(
                id=visit,
                step_id=entry.id,
                name=entry.step,
                step=step,
                seeds=scope.loops.label,
                facts=frozenset(asked),
                guards=scope.guards,
                place=path,
            )
        )
        return visit
