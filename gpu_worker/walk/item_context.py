"""What is known of an item at one point of its walk: conditions come to it, and the image that a step would make."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from configs.conditions import THIS, Condition, ConditionError, Scope, StepState
from configs.documents.fields import Item
from configs.failures import PixelmillError
from steps.contract import WARNINGS, Fact
from steps.recipe.program import Decision, Visit
from storage.images.png_recipe import Provenance
from storage.objects.keys import fingerprint

DigestFile = Callable[[str], str]  # location of an item's file -> SHA-256 of its bytes

NO_IMAGE = "no step made an image: every condition was false for this item; change a `when`"


class ItemError(PixelmillError):
    """The item cannot take this step. The message names what to change."""


class MistakenCondition(ItemError):
    """A condition of the recipe cannot be evaluated for this item. `path`: where the recipe has it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path, self.message = path, message


class Rejection(NamedTuple):
    """Why an item may not go on: the gate (or step) and what it found."""

    gate: str
    step_id: str | None  # of the image
    reason: str


class RejectedItem(Exception):
    """Leaves the nodes around a gate up to the innermost candidate."""

    def __init__(self, rejection: Rejection) -> None:
        self.rejection = rejection


@dataclass(frozen=True, slots=True)
class PathState:
    """How far an item is, apart from what is known of it: retries and candidates go back to such a state."""

    chain: tuple[Provenance, ...] = ()  # of the steps that made the image that the item has, in order
    visited: Mapping[str, Visit] = field(default_factory=dict)  # step id -> its visit that counts, in order
    passed: Mapping[str, bool] = field(default_factory=dict)  # step id -> whether its gate was met
    warnings: tuple[str, ...] = ()  # of gates


class ItemContext:
    """An item with its images, its facts, and its standing at each step.

    `state` is immutable: walks go back to an earlier one. The rest only grows.
    """

    def __init__(self, item: Item) -> None:
        self.item = item
        self.state = PathState()
        self.made: dict[str, str] = {}  # visit id -> fingerprint, of all visits, in order
        self.facts: dict[str, Mapping[str, Fact]] = {}  # visit id -> facts, as far as they are known
        self.undecided = False  # from here on it depends on facts that are not known
        self._attempts = Counter[str]()  # step id -> visits
        self._unsure: set[str] = set()  # ids of steps whose standing conditions cannot know

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the image that the item has now, or None before the first."""
        return self.state.chain[-1].fingerprint if self.state.chain else None

    def images(self) -> Iterator[tuple[str, str]]:
        """Yield (visit id, fingerprint) of the images that the item has been made of, the newest last."""
        for visit in self.state.visited.values():
            if not visit.step.keeps_image:
                yield visit.id, self.made[visit.id]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the steps that count, by the facts that are known, and then those of gates."""
        facts = ((visit.step_id, self.facts.get(visit.id, {})) for visit in self.state.visited.values())
        return (*step_warnings(facts), *self.state.warnings)

    def standing(self, step_id: str) -> StepState:
        """Return what became of the item at a step that it visited, as conditions see it."""
        return StepState(True, self._attempts[step_id], self.state.passed.get(step_id, True))

    def holds(self, condition: Condition, path: str) -> bool | None:
        """Return whether a condition is true, or None if that is not known yet. Raises MistakenCondition."""
        try:
            if self.is_open(condition):
                return condition.foresee(self.item)
            return condition.holds(self._scope(condition))
        except ConditionError as error:
            raise MistakenCondition(path, str(error)) from error

    def value(self, decision: Decision) -> Any:
        """Return what a condition comes to. Raises MistakenCondition."""
        try:
            return decision.condition.value(self._scope(decision.condition))
        except ConditionError as error:
            raise MistakenCondition(decision.path, str(error)) from error

    def is_open(self, condition: Condition) -> bool:
        """Return whether it reads what is not known yet."""
        if condition.is_static:
            return False
        if self.undecided:
            return True
        for name in condition.names:
            if name[0] == "facts":
                visits = self._newest() if name[1] == THIS else [self.state.visited.get(name[1])]
                if any(visit is not None and visit.id not in self.facts for visit in visits):
                    return True
            elif name[0] == "steps" and name[1] in self._unsure:
                return True
        return False

    def _scope(self, condition: Condition) -> Scope:
        """Return as much of the scope as the condition reads."""
        facts: dict[str, Mapping[str, Fact]] = {}
        steps: dict[str, StepState] = {}
        for name in condition.names:
            if name[0] == "facts" and name[1] == THIS:
                newest = [self.facts.get(visit.id, {}) for visit in self._newest()]
                facts[THIS] = {fact: value for measured in newest for fact, value in measured.items()}
            elif name[0] in ("facts", "steps") and name[1] in self.state.visited:
                facts[name[1]] = self.facts.get(self.state.visited[name[1]].id, {})
                steps[name[1]] = self.standing(name[1])
        return Scope(self.item, facts, steps)

    def _newest(self) -> list[Visit]:
        """Return the visit that made the image, and those that only measured it since."""
        visits = list(self.state.visited.values())
        made = [index for index, visit in enumerate(visits) if not visit.step.keeps_image]
        return visits[made[-1] if made else 0 :]

    def seen(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        """Return the names in these conditions with their values."""
        seen: dict[str, Any] = {}
        for condition in conditions:
            seen |= condition.seen(self._scope(condition))
        return seen

    def reason(self, condition: Condition, because: str | None) -> str:
        """Return why the image fails a requirement, for people."""
        values = condition.seen(self._scope(condition)).items()
        seen = ", ".join(f"{name} is {_shown(value)}" for name, value in values)
        return f"{because}: " * bool(because) + f"{condition.text} is not met" + f" ({seen})" * bool(seen)


def step_warnings(facts: Iterable[tuple[str, Mapping[str, Fact]]]) -> list[str]:
    """Return the warnings in these facts, each after the id of its step."""
    return [f"{step}: {text}" for step, each in facts for text in str(each.get(WARNINGS, "")).splitlines()]


def _shown(value: Any) -> str:
    if value is None:
        return "not known"
    return repr(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def as_case(value: Any) -> str:
    """Return a value as the recipe writes it: `true`, `null`, numbers without quotes."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def only_names(seen: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    """Return the values of the names that the condition reads."""
    names = {".".join(name) for name in condition.names}
    return {name: value for name, value in seen.items() if name in names}


class JobMismatch(PixelmillError):
    """The job was planned with other models than these steps use. Concerns every item."""


def provenance_of(
    visit: Visit, item: Item, source: str | None, model_digests: Mapping[str, str], digest_file: DigestFile
) -> Provenance:
    """Return what decides the image that this visit makes of the item, with its fingerprint.

    `source` is the fingerprint of the image that the item has, None before the first. Raises ItemError, JobMismatch,
    and whatever `digest_file` and the step raise.
    """
    item, step = visit.item(item), visit.step
    if source is None and not step.makes_image:
        raise ItemError(
            f"step {visit.step_id!r} needs an image, and no step before it made one: begin with `generate` or `load`, "
            "or change the conditions"
        )
    inputs = [] if source is None else [source]
    for file in step.item_files(item):
        location = getattr(item, file)
        if location is None:
            raise ItemError(f"step {visit.step_id!r} needs the item's {file}: give the item one")
        inputs.append(digest_file(location))
    identity = step.identity(item)
    refs = [str(ref) for ref in step.model_refs()]
    if unplanned := next((ref for ref in refs if ref not in model_digests), None):
        raise JobMismatch(f"step {visit.step_id!r} uses {unplanned}, which the job was not planned with: plan it again")
    models = {ref: model_digests[ref] for ref in refs}
    return Provenance(
        step=visit.name,
        version=step.version,
        identity=identity,
        models=models,
        inputs=tuple(inputs),
        fingerprint=fingerprint(
            step=visit.name, version=step.version, identity=identity, model_digests=models, inputs=inputs
        ),
    )
