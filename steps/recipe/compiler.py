"""A recipe as a whole: its program, or every mistake in it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from configs.conditions import Condition
from configs.documents.problems import InvalidInput, Problem, did_you_mean
from configs.recipe.recipe import DISTINCT, Recipe
from steps.recipe.conditions import Conditions, unknown_facts
from steps.recipe.draft import ProgramDraft
from steps.recipe.entries import Placed
from steps.recipe.lists import Lists
from steps.recipe.program import Program, ResolvedStep
from steps.recipe.scope import CompileScope, Origin
from steps.recipe.visits import Visits


@dataclass(frozen=True, slots=True)
class Compiled:
    """The program (None: the recipe has mistakes), its steps with their paths in the document, and every mistake."""

    program: Program | None
    steps: tuple[tuple[str, ResolvedStep], ...]
    conditions: tuple[tuple[str, Condition], ...]  # likewise
    problems: list[Problem]


def compile_recipe(recipe: Recipe, *, positions: Sequence[int] = (), unread: Collection[str | None] = ()) -> Compiled:
    """Compiles what can be compiled.

    When only some entries of a file's `steps` could be read, `positions` are theirs in the file, and `unread` the ids
    of the others (None for an entry without one), about which nothing is said.
    """
    ids = frozenset(step.id for step in recipe.leaves)
    draft = ProgramDraft()
    conditions = Conditions(draft, ids, unread)
    visits = Visits(recipe, draft, conditions)
    places = positions or range(len(recipe.steps))
    entries = [Placed(entry, f"steps[{place}]") for entry, place in zip(recipe.steps, places, strict=True)]
    Lists(draft, conditions, visits).write(entries, CompileScope(origin=Origin(unread=bool(unread))))
    draft.problems += _mistakes_of_the_whole(recipe, ids, unread, visits)
    program = None if draft.problems else Program(tuple(draft.operations()))
    return Compiled(program, tuple(draft.steps), tuple(draft.conditions), list(dict.fromkeys(draft.problems)))


def resolve_program(recipe: Recipe) -> Program:
    """The recipe's program. Imports its steps' modules, but nothing heavy. Raises InvalidInput with every mistake."""
    compiled = compile_recipe(recipe)
    if compiled.program is None:
        raise InvalidInput(compiled.problems)
    return compiled.program


def _mistakes_of_the_whole(
    recipe: Recipe, ids: Collection[str], unread: Collection[str | None], visits: Visits
) -> Iterator[Problem]:
    for number, name in enumerate(recipe.keep):
        path = f"keep[{number}]"
        if name in recipe.keep[:number]:
            yield Problem(path, f"`{name}` is listed twice")
        elif name not in ids and name not in unread and None not in unread:
            yield Problem(path, f"no step has the id `{name}`{did_you_mean(name, ids)}")
    yield from unknown_facts(recipe.facts, "facts")
    if recipe.distinction and DISTINCT in visits.first:
        message = f"the id `{DISTINCT}` is that of the recipe's own `{DISTINCT}` in reports: choose another"
        yield Problem(f"{visits.first[DISTINCT]}.id", message)
