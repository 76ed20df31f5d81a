"""From a recipe's text to steps that can run: classes found, parameters checked, conditions parsed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from configs.catalogue import BrokenEntry, UnknownName, load_step
from configs.conditions import Condition, ConditionError
from configs.problems import InvalidInput, Problem, did_you_mean
from configs.recipe import Recipe, RecipeStep
from configs.validation import check
from steps.contract import Step
from steps.facts import IMAGE_FACTS


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """A step of a recipe, ready to run. `name` is the step's in the catalogue."""

    id: str
    name: str
    step: Step
    when: Condition | None = None


@dataclass(frozen=True, slots=True)
class CheckedSteps:
    """What could be resolved (None: it has mistakes), and every mistake, with paths such as `steps[2].when`."""

    steps: tuple[ResolvedStep | None, ...]
    problems: list[Problem] = field(default_factory=list)


def resolve_steps(recipe: Recipe) -> tuple[ResolvedStep, ...]:
    """The recipe's steps. Raises InvalidInput with every mistake; imports the steps' modules, but no heavy library."""
    checked = check_steps(recipe)
    if checked.problems:
        raise InvalidInput(checked.problems)
    return tuple(step for step in checked.steps if step is not None)


def check_steps(recipe: Recipe, *, positions: Sequence[int] = (), unread: Collection[str | None] = ()) -> CheckedSteps:
    """Resolves what can be resolved.

    When only some entries of a file's `steps` could be read, `positions` are theirs in the file, and `unread` the ids
    of the others (None for an entry without one), about which nothing is said.
    """
    positions = positions or range(len(recipe.steps))
    entries = list(zip(positions, recipe.steps, strict=True))
    problems = _double_ids(entries)
    resolved: list[ResolvedStep | None] = []
    measured: dict[str, set[str] | None] = dict.fromkeys((name for name in unread if name is not None), None)
    later = [entry.id for entry in recipe.steps]
    for position, entry in entries:
        path = f"steps[{position}]"
        step, mistakes = _resolve(entry, path)
        condition, wrong = _parse_condition(entry, path)
        if condition is not None and None not in unread:
            wrong += _unmeasured(condition, measured, later, f"{path}.when")
        problems += mistakes + wrong
        resolved.append(None if step is None or wrong else ResolvedStep(entry.id, entry.step, step, condition))
        measured[entry.id] = None if step is None else {*IMAGE_FACTS, *step.own_facts}
    problems += _imageless(entries, resolved, complete=not unread)
    problems += _wrong_keep(recipe, unread)
    return CheckedSteps(tuple(resolved), problems)


def _resolve(entry: RecipeStep, path: str) -> tuple[Step | None, list[Problem]]:
    try:
        kind = load_step(entry.step)
    except (UnknownName, BrokenEntry) as error:
        return None, [Problem(f"{path}.step", str(error.args[0]))]
    if not issubclass(kind, Step):
        return None, [Problem(f"{path}.step", f"`{entry.step}` is in the catalogue, but no subclass of Step")]
    return check(kind, entry.parameters, path, also_known=tuple(RecipeStep.model_fields))


def _parse_condition(entry: RecipeStep, path: str) -> tuple[Condition | None, list[Problem]]:
    if entry.when is None:
        return None, []
    try:
        return Condition.parse(entry.when), []
    except ConditionError as error:
        return None, [Problem(f"{path}.when", str(error))]


def _unmeasured(
    condition: Condition, measured: dict[str, set[str] | None], ids: Sequence[str], path: str
) -> list[Problem]:
    """Facts that no earlier step measures; None stands for the facts of a step that could not be resolved."""
    problems = []
    for name in sorted(name for name in condition.names if name[0] == "facts"):
        step, fact = name[1], name[2]
        text = f"`{'.'.join(name)}`"
        if step not in measured:
            later = "comes later: only facts of earlier steps are known"
            why = f"the step `{step}` {later}" if step in ids else f"no step has the id `{step}`"
            problems.append(Problem(path, f"{text}: {why}{'' if step in ids else did_you_mean(step, measured)}"))
            continue
        known = measured[step]
        if known is not None and fact not in known:
            message = f"{text}: the step `{step}` measures no `{fact}`{did_you_mean(fact, known, limit=20)}"
            problems.append(Problem(path, message))
    return problems


def _double_ids(entries: Sequence[tuple[int, RecipeStep]]) -> list[Problem]:
    problems = []
    first: dict[str, int] = {}
    for position, entry in entries:
        if first.setdefault(entry.id, position) != position:
            message = f"the id `{entry.id}` is taken by steps[{first[entry.id]}]: choose another"
            problems.append(Problem(f"steps[{position}].id", message))
    return problems


def _imageless(
    entries: Sequence[tuple[int, RecipeStep]], resolved: Sequence[ResolvedStep | None], *, complete: bool
) -> list[Problem]:
    """Steps that come before any that could give them an image."""
    if not complete:
        return []
    problems = []
    for (position, entry), step in zip(entries, resolved, strict=True):
        if step is None or step.step.makes_image:
            break
        message = f"`{entry.step}` needs an image, but no step before it makes one: begin with generate or load"
        problems.append(Problem(f"steps[{position}]", message))
    return problems


def _wrong_keep(recipe: Recipe, unread: Collection[str | None]) -> list[Problem]:
    problems = []
    ids = {entry.id for entry in recipe.steps}
    for number, name in enumerate(recipe.keep):
        path = f"keep[{number}]"
        if name in recipe.keep[:number]:
            problems.append(Problem(path, f"`{name}` is listed twice"))
        elif name not in ids and name not in unread and None not in unread:
            problems.append(Problem(path, f"no step has the id `{name}`{did_you_mean(name, ids)}"))
    return problems
