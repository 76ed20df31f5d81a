"""From a recipe to its program, or to every mistake in it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.conditions import Condition
from configs.documents.problems import InvalidInput, Problem, child, did_you_mean
from configs.recipe.recipe import (
    MAX_DEPTH,
    BestOf,
    Gate,
    Group,
    OnFail,
    Recipe,
    RecipeNode,
    RecipeStep,
    Repeat,
    Switch,
    leaves_of,
)
from steps.recipe.draft import Changes, CompileScope, ImageOrigin, ProgramDraft, reads_seed, unknown_facts
from steps.recipe.program import (
    BestOfNode,
    Block,
    GateNode,
    GroupNode,
    LoopPass,
    Node,
    Program,
    RepeatNode,
    Requirement,
    ResolvedStep,
    RetryNode,
    StepNode,
    SwitchNode,
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled recipe: its steps with their paths in the document, and every mistake.

    `program` is None for a recipe with mistakes that keep it from being followed.
    """

    program: Program | None
    steps: tuple[tuple[str, ResolvedStep], ...]
    conditions: tuple[tuple[str, Condition], ...]  # likewise
    problems: tuple[Problem, ...]


def compile_recipe(recipe: Recipe, *, positions: Sequence[int] = (), unread: Collection[str | None] = ()) -> Compiled:
    """Compile what can be compiled. Recipes that were read whole are compiled once in a process.

    When only some entries of a file's `steps` could be read, `positions` are their indices in the file, and `unread`
    the ids of the others (None for an entry without one), which are not reported as unknown.
    """
    if not unread and tuple(positions) in ((), tuple(range(len(recipe.steps)))):
        try:
            return _compile_once(
                _CompileKey(recipe, repr(recipe), tuple(load_step(each.step) for each in recipe.leaves))
            )
        except (UnknownName, BrokenEntry):
            pass
    return _compile(recipe, positions, unread)


def resolve_program(recipe: Recipe) -> Program:
    """Return the recipe's program. Imports its steps' modules, but nothing heavy.

    Raises InvalidInput with every mistake.
    """
    compiled = compile_recipe(recipe)
    if compiled.program is None:
        raise InvalidInput(compiled.problems)
    return compiled.program


@dataclass(frozen=True, slots=True)
class _CompileKey:
    """A recipe, equal to others of the same text and classes of steps: catalogues may change."""

    recipe: Recipe = field(compare=False)
    text: str
    classes: tuple[type, ...]


@lru_cache(maxsize=64)
def _compile_once(source: _CompileKey) -> Compiled:
    return _compile(source.recipe, (), ())


def _compile(recipe: Recipe, positions: Sequence[int], unread: Collection[str | None]) -> Compiled:
    draft = ProgramDraft(recipe, unread)
    indices = positions or range(len(recipe.steps))
    entries = [_Placed(entry, f"steps[{index}]") for entry, index in zip(recipe.steps, indices, strict=True)]
    root, _ = _Compiler(draft).block(entries, CompileScope(origin=ImageOrigin(unread=bool(unread))))
    draft.problems += draft.mistakes_of_the_whole(recipe, unread)
    program = None if draft.problems else Program(root, tuple(draft.visits), tuple(draft.decisions))
    problems = tuple(dict.fromkeys([*draft.problems, *draft.objections]))
    return Compiled(program, tuple(draft.steps), tuple(draft.conditions), problems)


class _Placed(NamedTuple):
    """An entry, and its path in the document."""

    entry: RecipeNode
    path: str


class _Stretch(NamedTuple):
    """The entries of a list that a retry repeats, from index `begin`; items begin them with the image of `origin`."""

    begin: int
    entries: Sequence[_Placed]
    origin: ImageOrigin


class _Compiler:
    """Compiles lists of entries, and all lists within them.

    Methods return the node of an entry, None after reporting a mistake, and where images may come from behind it.
    """

    def __init__(self, draft: ProgramDraft) -> None:
        self._draft = draft
        self._gates: dict[str, int] = {}  # path of a gate without an id that retries -> its number among them

    def block(self, entries: Sequence[_Placed], scope: CompileScope) -> tuple[Block, ImageOrigin]:
        """Compile entries one after the other."""
        if entries and scope.depth > MAX_DEPTH:
            message = f"branches and loops are more than {MAX_DEPTH} deep: make two recipes of it"
            self._draft.complain(scope, entries[0].path, message)
            return Block(), scope.origin
        begins = [self._begin_of_retry(entries[: index + 1], scope) for index in range(len(entries))]
        starts: dict[int, ImageOrigin] = {}
        nodes: list[Node | None] = []
        for index, (entry, path) in enumerate(entries):
            if index in begins:
                starts[index] = scope.origin
            begin, stretch = begins[index], None
            if begin is not None:
                stretch = _Stretch(begin, entries[begin : index + 1], starts[begin])
            node, origin = self._node(entry, path, scope, stretch)
            nodes.append(node)
            scope = scope.having(origin)
        return Block(tuple(node for node in nodes if node is not None), frozenset(starts)), scope.origin

    def _node(
        self, entry: RecipeNode, path: str, scope: CompileScope, stretch: _Stretch | None
    ) -> tuple[Node | None, ImageOrigin]:
        if self._draft.is_too_long:
            return None, scope.origin
        if isinstance(entry, RecipeStep):
            return self._step(entry, path, scope, stretch)
        if isinstance(entry, Gate):
            return self._lone_gate(entry, path, scope, stretch)
        return _COMPILE[type(entry)](self, entry, path, scope)

    def _within(self, entries: Sequence[RecipeNode], path: str, scope: CompileScope) -> tuple[Block, ImageOrigin]:
        placed = [_Placed(entry, f"{path}[{index}]") for index, entry in enumerate(entries)]
        return self.block(placed, replace(scope, depth=scope.depth + 1))

    # -- steps ---------------------------------------------------------------------------------------------------------
    def _step(
        self, entry: RecipeStep, path: str, scope: CompileScope, stretch: _Stretch | None
    ) -> tuple[StepNode | None, ImageOrigin]:
        node, origin, turned_away = self._visit(entry, path, scope)
        if entry.require:
            gate, origin = self._gate(entry, path, scope.having(origin), stretch)
            node = node and replace(node, gate=gate)
        elif entry.on_fail != "quarantine":
            message = "there is no `require`: say what the image has to meet"
            self._draft.complain(scope, f"{path}.on_fail", message)
        return node, origin.join(turned_away) if entry.otherwise else origin

    def _visit(
        self, entry: RecipeStep, path: str, scope: CompileScope
    ) -> tuple[StepNode | None, ImageOrigin, ImageOrigin]:
        """Compile a step without its gate. Returns the origin for items that visit it, and for those that do not."""
        draft = self._draft
        first = draft.first.setdefault(entry.id, path)
        if first != path:
            draft.complain(scope, f"{path}.id", f"the id `{entry.id}` is taken by {first}: choose another")
        when = None if entry.when is None else draft.decision(entry.when, f"{path}.when", scope)
        step = draft.make_step(entry, path, scope)
        if step is not None:
            if not scope.is_again:
                resolved = ResolvedStep(entry.id, entry.step, step, when.condition if when else None)
                draft.steps.append((path, resolved))
            if not step.makes_image and not scope.origin.has_image:
                message = f"`{entry.step}` needs an image, but no step before it makes one: begin with generate or load"
                draft.complain(scope, path, message)
        for problem in unknown_facts(entry.facts, f"{path}.facts"):
            draft.complain(scope, problem.path, problem.message)
        visit_id, visit = draft.visit(entry, step, path, scope)
        keeps_image = step is not None and step.keeps_image
        origin = scope.origin.judged(visit_id) if keeps_image else scope.origin.made(visit_id, step)
        origin = origin if when is None else origin.join(scope.origin)
        otherwise, turned_away = Block(), scope.origin
        if entry.otherwise and entry.when is None:
            draft.complain(scope, f"{path}.else", "there is no `when`: every item visits the step")
        elif entry.otherwise:
            otherwise, turned_away = self._within(entry.otherwise, f"{path}.else", scope)
        node = None if visit is None else StepNode(entry.id, visit, when, otherwise)
        return node, origin, turned_away

    # -- branches ------------------------------------------------------------------------------------------------------
    def _group(self, entry: Group, path: str, scope: CompileScope) -> tuple[GroupNode | None, ImageOrigin]:
        when = self._draft.decision(entry.when, f"{path}.when", scope)
        if when is None:
            return None, scope.origin
        steps, met = self._within(entry.steps, f"{path}.steps", scope)
        otherwise, unmet = self._within(entry.otherwise, f"{path}.else", scope)
        return GroupNode(_title(entry), path, when, steps, otherwise), met.join(unmet)

    def _switch(self, entry: Switch, path: str, scope: CompileScope) -> tuple[SwitchNode | None, ImageOrigin]:
        value = self._draft.decision(entry.switch, f"{path}.switch", scope)
        if value is None:
            return None, scope.origin
        cases = {name: self._within(steps, child(f"{path}.cases", name), scope) for name, steps in entry.cases.items()}
        default, origin = self._within(entry.default, f"{path}.default", scope)
        blocks = {name: block for name, (block, _) in cases.items()}
        return SwitchNode(_title(entry), path, value, blocks, default), origin.join(
            *(each for _, each in cases.values())
        )

    # -- gates ---------------------------------------------------------------------------------------------------------
    def _lone_gate(
        self, entry: Gate, path: str, scope: CompileScope, stretch: _Stretch | None
    ) -> tuple[GateNode | None, ImageOrigin]:
        if not scope.origin.has_image:
            self._draft.complain(scope, path, "no step before this gate makes an image")
        when = None if entry.when is None else self._draft.decision(entry.when, f"{path}.when", scope)
        if entry.when is not None and when is None:
            return None, scope.origin
        gate, origin = self._gate(entry, path, scope, stretch)
        return replace(gate, when=when), origin

    def _gate(
        self, entry: Gate | RecipeStep, path: str, scope: CompileScope, stretch: _Stretch | None
    ) -> tuple[GateNode, ImageOrigin]:
        """Compile test, retries, repair and verdict; `stretch` None disables retries."""
        plan = entry.on_fail if isinstance(entry.on_fail, OnFail) else OnFail(then=entry.on_fail)
        again = replace(scope, is_again=True)
        requirements, at = self._test(entry, path, scope)
        if plan.change and not plan.retry:
            self._draft.complain(scope, f"{path}.on_fail.change", "there is no `retry` that it could be for")
        origin, retries = scope.origin, list[RetryNode]()
        for number in range(2, plan.retry + 2):
            if stretch is None:
                break
            retry, made = self._retry(stretch, number, scope)
            _, asked_at = self._test(entry, path, again.having(made))
            retries.append(replace(retry, at=asked_at))
            origin = origin.join(made)
        repair, repaired_at = Block(), 0
        if plan.repair:
            repair, mended = self._within(plan.repair, f"{path}.on_fail.repair", scope.having(origin))
            _, repaired_at = self._test(entry, path, again.having(mended))
            origin = origin.join(mended)
        gate = GateNode(
            title=_title(entry),
            path=path,
            requirements=requirements,
            at=at,
            of=entry.id if isinstance(entry, RecipeStep) else None,
            tries=plan.retry + 1,
            begin=stretch.begin if stretch is not None else 0,
            start=plan.start or _title(entry),
            retries=tuple(retries),
            repair=repair,
            repaired_at=repaired_at,
            verdict=plan.then,
        )
        return gate, origin

    def _test(self, entry: Gate | RecipeStep, path: str, scope: CompileScope) -> tuple[tuple[Requirement, ...], int]:
        return self._draft.requirements(entry, path, scope), len(self._draft.visits)

    def _begin_of_retry(self, entries: Sequence[_Placed], scope: CompileScope) -> int | None:
        """Return the index at which a retry for the gate of the last of these entries begins, or None without one."""
        entry, path = entries[-1]
        if not isinstance(entry, RecipeStep | Gate) or not isinstance(entry.on_fail, OnFail) or not entry.on_fail.retry:
            return None
        plan, path = entry.on_fail, f"{path}.on_fail"
        if plan.start is None and isinstance(entry, Gate):
            self._draft.complain(scope, f"{path}.from", "is missing: name the step that a retry begins with")
            return None
        steps = {each.id: index for index, (each, _) in enumerate(entries) if isinstance(each, RecipeStep)}
        begin = len(entries) - 1 if plan.start is None else steps.get(plan.start)
        if begin is None:
            hint = did_you_mean(str(plan.start), steps)
            message = f"no step `{plan.start}` stands before this one in the same list{hint}"
            self._draft.complain(scope, f"{path}.from", message)
            return None
        again = [each for each, _ in entries[begin:]]
        # The gate's own repair comes after its retries: a change of it would change nothing.
        redone = [*again[:-1], entry.model_copy(update={"on_fail": plan.then})]
        self._check_changes(plan.change, redone, path, "the retry goes through", scope)
        visited = [each for each in again if isinstance(each, RecipeStep)]
        if plan.seed == "new" and not plan.change and not any(reads_seed(each) for each in visited):
            ids = ", ".join(f"`{each.id}`" for each in visited)
            advice = "begin `from` an earlier step, or `change` parameters"
            message = f"another seed changes nothing: {ids} read none; {advice}"
            self._draft.complain(scope, f"{path}.retry", message)
        return begin

    def _retry(self, stretch: _Stretch, number: int, scope: CompileScope) -> tuple[RetryNode, ImageOrigin]:
        """Compile the stretch once more; `number` 2 is the first retry. Returns the origin of what is tested then."""
        entry, path = stretch.entries[-1]
        assert isinstance(entry, RecipeStep | Gate) and isinstance(entry.on_fail, OnFail)
        loops = scope.loops.retry(self._name_of_retries(entry, path), number, entry.on_fail)
        again = scope.once_more(loops).having(stretch.origin)
        block, origin = self.block(stretch.entries[:-1], again)
        if isinstance(entry, Gate):
            return RetryNode(block, None, 0), origin
        step, origin, turned_away = self._visit(entry, path, again.having(origin))
        return RetryNode(block, step, 0), origin.join(turned_away) if entry.otherwise else origin

    def _name_of_retries(self, entry: RecipeStep | Gate, path: str) -> str:
        """Return the name in labels of seeds: gates without an id may send items back to the same step."""
        if isinstance(entry, RecipeStep) or entry.id is not None:
            return _title(entry)
        number = self._gates.setdefault(path, len(self._gates) + 1)
        return _title(entry) if number == 1 else f"{_title(entry)} {number}"

    # -- loops ---------------------------------------------------------------------------------------------------------
    def _repeat(self, entry: Repeat, path: str, scope: CompileScope) -> tuple[RepeatNode | None, ImageOrigin]:
        from_start = entry.start == "same"
        passes, origin = self._passes(
            entry, path, scope, entry.repeat, decided_by=(entry.until, f"{path}.until"), from_start=from_start
        )
        return (RepeatNode(_title(entry), path, passes, from_start) if passes else None), origin

    def _best_of(self, entry: BestOf, path: str, scope: CompileScope) -> tuple[BestOfNode | None, ImageOrigin]:
        candidates, origin = self._passes(
            entry, path, scope, entry.best_of, decided_by=(entry.by, f"{path}.by"), from_start=True
        )
        return (BestOfNode(_title(entry), path, candidates) if candidates else None), origin

    def _passes(
        self,
        entry: Repeat | BestOf,
        path: str,
        scope: CompileScope,
        times: int,
        *,
        decided_by: tuple[str, str],
        from_start: bool,
    ) -> tuple[tuple[LoopPass, ...], ImageOrigin]:
        """Compile the passes of a loop; none where the condition `decided_by` (text, path) is a mistake."""
        passes, origins, place = list[LoopPass](), list[ImageOrigin](), scope
        for number in range(1, times + 1):
            loops = scope.loops.time(_title(entry), number, new_seed=entry.seed == "new", change=entry.change)
            inner = place.once_more(loops, number)
            self._check_changes(entry.change, entry.steps, path, "the loop has", inner)
            steps, origin = self._within(entry.steps, f"{path}.steps", inner)
            decision = self._draft.decision(*decided_by, inner.having(origin))
            if decision is None:
                return (), origin
            passes.append(LoopPass(steps, decision))
            origins.append(origin)
            place = scope if from_start else scope.having(origin)
        return tuple(passes), origins[0].join(*origins[1:])

    def _check_changes(
        self, change: Changes, entries: Sequence[RecipeNode], path: str, whose: str, scope: CompileScope
    ) -> None:
        """Report parameters to change of steps that are not among these. `whose` begins the message."""
        ids = {step.id for step in leaves_of(entries)}
        for name in change:
            if name not in ids:
                message = f"{whose} no step `{name}`{did_you_mean(name, ids)}"
                self._draft.complain(scope, child(f"{path}.change", name), message)


def _title(entry: RecipeNode) -> str:
    """Return the name of an entry in reports and labels of seeds: its id, or that of its first step."""
    if isinstance(entry, Gate):
        return entry.id or "gate"
    if entry.id is not None:
        return entry.id
    return next((step.id for step in leaves_of([entry])), "branch")


_COMPILE: Mapping[type, Callable[[_Compiler, Any, str, CompileScope], tuple[Node | None, ImageOrigin]]] = {
    Group: _Compiler._group,
    Switch: _Compiler._switch,
    Repeat: _Compiler._repeat,
    BestOf: _Compiler._best_of,
}
