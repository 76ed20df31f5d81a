"""Recipes of every construct, and what a plain interpreter of their text says becomes of an item.

The steps are the benchmarks' null steps, whose images are of one color. The interpreter knows nothing of programs: it
goes through the lists as a reader does, and evaluates conditions as the Python that they look like.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from types import CodeType
from typing import Any

from configs.documents.fields import Item
from steps.recipe.program import derived_seed
from tests.support.null.plain_ways import Picture
from tests.support.null.steps import Color, drawn, score, shifted, vote

Entry = dict[str, Any]
Facts = dict[str, float]
PROMPT = "a key"


# -- the interpreter ---------------------------------------------------------------------------------------------------
@dataclass
class Standing:
    """Of a step at the visit that counts."""

    facts: Facts
    color: Color
    passed: bool = True


@dataclass
class State:
    """What a loop goes back to."""

    image: Color | None = None
    this: Facts = field(default_factory=dict)
    steps: dict[str, Standing] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def copy(self) -> "State":
        steps = {name: replace(one) for name, one in self.steps.items()}
        return State(self.image, dict(self.this), steps, self.warnings)


@dataclass
class Way:
    """`visits`: (step id, color of its image) in the order they were made. `rejected`: by which gate."""

    visits: list[tuple[str, Color]] = field(default_factory=list)
    state: State = field(default_factory=State)
    rejected: str | None = None
    events: Counter[str] = field(default_factory=Counter)  # what happened, to see whether all of it does


@dataclass(frozen=True)
class Times:
    """The loops around a list: (name, how-manieth seed), and (changes, how-manieth time)."""

    seeds: tuple[tuple[str, int], ...] = ()
    changes: tuple[tuple[Entry, int], ...] = ()

    def within(self, name: str, number: int, entry: Entry) -> "Times":
        seeds = (*self.seeds, (name, 1 if entry.get("seed") == "same" else number))
        return Times(seeds, (*self.changes, (entry.get("change", {}), number)))

    def retry(self, name: str, number: int, plan: Entry) -> "Times":
        again = self.within(name, number, plan)
        return replace(again, seeds=self.seeds) if plan.get("seed") == "same" else again

    def seed(self, item: Item) -> int:
        if all(number == 1 for _, number in self.seeds):
            return item.seed
        return derived_seed(item.seed, "/".join(f"{name}:{number}" for name, number in self.seeds))

    def parameter(self, entry: Entry, name: str) -> int:
        value: int = entry.get(name, 0)
        for changes, number in self.changes:
            if number > 1 and name in changes.get(entry["id"], {}):
                values = changes[entry["id"]][name]
                value = values[min(number - 2, len(values) - 1)]
        return value


class _DroppedOut(Exception):
    pass


class _Lacking(Exception):
    pass


def walk(recipe: Entry, item: Item) -> Way:
    walker = _Walker(recipe, item)
    try:
        walker.run(recipe["steps"], Times())
    except _DroppedOut as gate:
        walker.way.rejected = str(gate)
    return walker.way


class _Names:
    """What conditions read, as attributes."""

    def __init__(self, values: dict[str, Any], otherwise: Any = None) -> None:
        self._values, self._otherwise = values, otherwise

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if self._otherwise is None:
            raise _Lacking
        return self._otherwise


_UNKNOWN_STEP = _Names({"visited": False, "attempts": 0, "passed": False})


@cache
def _code(condition: str) -> CodeType:
    return compile(condition, condition, "eval")


class _Walker:
    def __init__(self, recipe: Entry, item: Item) -> None:
        self.item, self.way = item, Way()
        gates = (each for each in entries_of(recipe["steps"]) if "step" not in each and "require" in each)
        retrying = [each for each in gates if isinstance(each["on_fail"], dict) and each["on_fail"].get("retry")]
        self.gates = {id(each): number for number, each in enumerate(retrying, start=1)}

    # -- conditions --------------------------------------------------------------------------------------------------
    def value(self, condition: str) -> Any:
        state, made = self.way.state, Counter(step for step, _ in self.way.visits)
        facts = {name: _Names(dict(one.facts)) for name, one in state.steps.items()}
        facts["this"] = _Names(dict(state.this))
        steps = {
            name: _Names({"visited": True, "attempts": made[name], "passed": one.passed})
            for name, one in state.steps.items()
        }
        scope = {
            "vars": _Names(dict(self.item.vars)),
            "item": self.item,
            "facts": _Names(facts),
            "steps": _Names(steps, _UNKNOWN_STEP),
        }
        try:
            return eval(_code(condition), {"__builtins__": {}}, scope)
        except _Lacking:
            return None

    def holds(self, condition: str) -> bool:
        return bool(self.value(condition))

    # -- lists -------------------------------------------------------------------------------------------------------
    def run(self, entries: Sequence[Entry], times: Times) -> None:
        before: list[State] = []
        for place, entry in enumerate(entries):
            before.append(self.way.state.copy())
            if "step" in entry:
                self.step(entries, place, before, times)
            elif "require" in entry:
                if "when" not in entry or self.holds(entry["when"]):
                    self.gate(entries, place, before, times)
            elif "switch" in entry:
                case = str(self.item.vars["kind"])
                self.way.events["case" if case in entry["cases"] else "default"] += 1
                self.run(entry["cases"].get(case, entry["default"]), times)
            elif "repeat" in entry:
                self.repeat(entry, times)
            elif "best_of" in entry:
                self.best_of(entry, times)
            else:
                self.run(entry["steps"] if self.holds(entry["when"]) else entry["else"], times)

    def step(self, entries: Sequence[Entry], place: int, before: list[State], times: Times) -> None:
        entry = entries[place]
        if self.visits(entry, times) and "require" in entry:
            self.gate(entries, place, before, times)

    def visits(self, entry: Entry, times: Times) -> bool:
        """Goes through the step, or through its `else`. Returns which."""
        if "when" in entry and not self.holds(entry["when"]):
            self.way.events["else of a step"] += bool(entry.get("else"))
            self.run(entry.get("else", []), times)
            return False
        state, name = self.way.state, entry["id"]
        if entry["step"] == "null_judge":
            assert state.image is not None
            facts = {"vote": vote(PROMPT, state.image)}
            state.this |= facts
        else:
            if entry["step"] == "null_draw":
                state.image = shifted(drawn(PROMPT, times.seed(self.item)), times.parameter(entry, "lift"))
            else:
                assert state.image is not None
                state.image = shifted(state.image, times.parameter(entry, "by"))
            facts = {"score": score(state.image), "brightness": brightness(state.image)}
            state.this = dict(facts)
        state.steps[name] = Standing(facts, state.image)
        self.way.visits.append((name, state.image))
        return True

    # -- gates -------------------------------------------------------------------------------------------------------
    def gate(self, entries: Sequence[Entry], place: int, before: list[State], times: Times) -> None:
        entry = entries[place]
        plan = entry.get("on_fail", {})
        if isinstance(plan, str):
            plan = {"then": plan}
        reasons = self.complaints(entry)
        if not reasons:
            return
        begin = place
        if "from" in plan:
            begin = next(at for at, each in enumerate(entries) if each.get("id") == plan["from"])
        for number in range(2, plan.get("retry", 0) + 2):
            self.way.state = before[begin].copy()
            again = times.retry(self.name_of_gate(entry), number, plan)
            self.run(entries[begin:place], again)
            if "step" in entry and not self.visits(entry, again):
                self.way.events["turned away by a retry"] += 1
                return
            if not (reasons := self.complaints(entry)):
                self.way.events["retry helped"] += 1
                return
        if plan.get("repair"):
            self.run(plan["repair"], times)
            if not (reasons := self.complaints(entry)):
                self.way.events["repair helped"] += 1
                return
        if plan.get("then") == "warn":
            self.way.state.warnings += ("; ".join(reasons),)
            self.way.events["warning"] += 1
            return
        self.way.events["rejection"] += 1
        raise _DroppedOut("; ".join(reasons))

    def complaints(self, entry: Entry) -> list[str]:
        reasons = [one["because"] for one in entry["require"] if not self.holds(one["that"])]
        if "step" in entry:
            self.way.state.steps[entry["id"]].passed = not reasons
        return reasons

    def name_of_gate(self, entry: Entry) -> str:
        if "id" in entry:
            return str(entry["id"])
        number = self.gates[id(entry)]
        return "gate" if number == 1 else f"gate {number}"

    # -- loops -------------------------------------------------------------------------------------------------------
    def repeat(self, entry: Entry, times: Times) -> None:
        before = self.way.state.copy()
        for number in range(1, entry["repeat"] + 1):
            if number > 1 and entry.get("start") != "previous":
                self.way.state = before.copy()
            self.run(entry["steps"], times.within(_title(entry), number, entry))
            if self.holds(entry["until"]):
                self.way.events["ended early"] += number < entry["repeat"]
                return

    def best_of(self, entry: Entry, times: Times) -> None:
        before = self.way.state.copy()
        best: tuple[float, State] | None = None
        for number in range(1, entry["best_of"] + 1):
            self.way.state = before.copy()
            try:
                self.run(entry["steps"], times.within(_title(entry), number, entry))
            except _DroppedOut as gate:
                last = str(gate)
                self.way.events["candidate dropped out"] += 1
                continue
            value = self.value(entry["by"])
            rank = float("-inf") if value is None else value
            if best is None or rank > best[0]:
                self.way.events["not the first candidate"] += number > 1
                best = rank, self.way.state
        if best is None:
            self.way.events["no candidate left"] += 1
            raise _DroppedOut(last)
        self.way.state = best[1]


def _title(entry: Entry) -> str:
    """Of the loop: its id, or that of the first step within."""
    return str(entry.get("id") or first_step(entry))


def first_step(entry: Entry) -> str | None:
    return next((str(each["id"]) for each in entries_of([entry]) if "step" in each), None)


def entries_of(entries: Sequence[Entry]) -> Iterator[Entry]:
    """These and all within, in the order in which they are written."""
    for entry in entries:
        yield entry
        plan = entry.get("on_fail", {})
        lists = [entry.get("steps"), *entry.get("cases", {}).values(), entry.get("default"), entry.get("else")]
        lists.append(plan.get("repair") if isinstance(plan, dict) else None)
        for each in lists:
            yield from entries_of(each or [])


def brightness(color: Color) -> float:
    """The fact."""
    return Picture("", color, "").brightness


# -- recipes -----------------------------------------------------------------------------------------------------------
def recipe_at_random(seed: int, most: int = 11) -> Entry:
    """Up to `most` steps in branches and loops that are up to three deep. Equal for equal seeds."""
    return _Writer(Random(seed), most).recipe()


class _Writer:
    def __init__(self, random: Random, most: int) -> None:
        self.random = random
        self.ids = [f"s{number}" for number in range(most)]
        self.measured: dict[str, tuple[str, ...]] = {}  # of the steps so far
        self.reasons = 0
        self.candidates = 0  # how many `best_of` are around

    def recipe(self) -> Entry:
        return {"name": "random", "steps": [self.step("null_draw", depth=3), *self.entries(0, 1, 4)]}

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def entries(self, depth: int, least: int = 0, most: int = 3) -> list[Entry]:
        found: list[Entry] = []
        for _ in range(self.random.randint(least, most)):
            if self.ids:
                found.append(self.entry(depth, found))
        return found

    def some(self, depth: int) -> list[Entry]:
        """At least one entry."""
        return self.entries(depth, 1) or [self.lone_gate(depth, [])]

    def entry(self, depth: int, before: list[Entry]) -> Entry:
        kinds = ["step", "step", "gated", "gated", "gate"]
        if depth < 3 and len(self.ids) > 1:
            kinds += ["group", "switch", "repeat", "best_of", "best_of"]
        kind = self.random.choice(kinds)
        if kind == "step":
            return self.step(depth=depth)
        if kind == "gated":
            return self.gated(depth, before)
        if kind == "gate":
            return self.lone_gate(depth, before)
        if kind == "group":
            return {"when": self.condition(), "steps": self.some(depth + 1), "else": self.entries(depth + 1)}
        if kind == "switch":
            cases = {"a": self.some(depth + 1), "b": self.entries(depth + 1)}
            return {"switch": "vars.kind", "cases": cases, "default": self.entries(depth + 1)}
        return self.loop(kind, depth)

    def loop(self, kind: str, depth: int) -> Entry:
        self.candidates += kind == "best_of"
        inner = self.some(depth + 1)
        self.candidates -= kind == "best_of"
        loop: Entry = {kind: self.random.choice([2, 2, 3, 4]), "steps": inner}
        if self.chance(0.3):
            loop["seed"] = "same"
        if first_step({"steps": inner}) is None or self.chance(0.2):
            self.reasons += 1
            loop["id"] = f"loop{self.reasons}"
        if self.chance(0.5) and (change := self.change(inner)):
            loop["change"] = change
        if kind == "best_of":
            lacking = [f"facts.{name}.{each}" for name, facts in self.measured.items() for each in facts]
            loop["by"] = self.random.choice(["facts.this.brightness", "facts.this.score", "vars.size", *lacking])
            return loop
        if self.chance(0.5):
            loop["start"] = "previous"
        loop["until"] = self.condition()
        return loop

    def change(self, entries: Sequence[Entry]) -> Entry:
        """Of the steps that stand in the list itself."""
        names = {"null_draw": "lift", "null_shade": "by"}
        found = {each["id"]: names[each["step"]] for each in entries if each.get("step") in names}
        return {
            name: {parameter: [self.random.randint(1, 255) for _ in range(self.random.randint(1, 2))]}
            for name, parameter in found.items()
            if self.chance(0.6)
        }

    def step(self, kind: str | None = None, *, depth: int) -> Entry:
        name = self.ids.pop(0)
        kinds = ["null_draw", "null_draw", "null_shade", "null_judge"]
        made: Entry = {"id": name, "step": kind or self.random.choice(kinds)}
        if made["step"] == "null_draw":
            made["size"] = 1
        if made["step"] == "null_shade":
            made["by"] = self.random.randint(1, 255)
        if kind is None and self.chance(0.4):
            made["when"] = self.condition()
        self.measured[name] = ("vote",) if made["step"] == "null_judge" else ("score", "brightness")
        if kind is None and "when" in made and depth < 3 and self.chance(0.6):
            made["else"] = self.entries(depth + 1, 1, 2)
        return made

    def gated(self, depth: int, before: list[Entry]) -> Entry:
        made = self.step(depth=depth)
        self.require(made, depth, [*before, made])
        return made

    def lone_gate(self, depth: int, before: list[Entry]) -> Entry:
        made: Entry = {"when": self.condition()} if self.chance(0.3) else {}
        self.require(made, depth, before)
        return made

    def require(self, made: Entry, depth: int, entries: list[Entry]) -> None:
        """With retries from a step of these entries, of which the gate's own step is the last."""
        judged = made.get("step") == "null_judge"
        texts = [f"facts.this.{self.random.choice(['score', 'brightness'])} < {self.number()}"]
        if judged or self.chance(0.3):
            texts.append(f"facts.this.vote < {self.number()}" if judged else self.condition())
        made["require"] = []
        for text in texts:
            self.reasons += 1
            made["require"].append({"that": text, "because": f"reason {self.reasons}"})
        # Items should come far, and candidates drop out.
        plan: Entry = {} if self.chance(0.3) else {"then": self.random.choice(["quarantine", "warn"])}
        if not self.candidates and self.chance(0.7):
            plan["then"] = "warn"
        starts = [place for place, each in enumerate(entries) if each.get("step") == "null_draw"]
        if starts and self.chance(0.8):
            begin = starts[0] if self.chance(0.5) else self.random.choice(starts)
            plan["retry"] = self.random.choice([1, 1, 2, 3])
            if entries[begin] is not made:
                plan["from"] = entries[begin]["id"]
                if "step" in made and self.chance(0.6):  # a retry may turn the item away
                    made["when"] = f"facts.{plan['from']}.score < {self.number()}"
            if self.chance(0.5) and (change := self.change(entries[begin:])):
                plan["change"] = change
                if self.chance(0.5):
                    plan["seed"] = "same"
        if self.ids and depth < 3 and self.chance(0.4):
            plan["repair"] = self.entries(depth + 1, 1, 2)
        made["on_fail"] = plan if set(plan) - {"then"} else plan.get("then", "quarantine")

    def number(self) -> float:
        return self.random.choice([0.2, 0.35, 0.5, 0.65, 0.8])

    def condition(self) -> str:
        one = self.comparison()
        form = self.random.choice(["{}", "{}", "{}", "not {}", "{} or {}", "{} and {}", "not ({} and {})"])
        return form.format(one, self.comparison())

    def comparison(self) -> str:
        names = ["facts.this.brightness", "facts.this.score", "vars.size", "vars.lacking"]
        names += 2 * [f"facts.{name}.{each}" for name, facts in self.measured.items() for each in facts]
        forms = [f"{self.random.choice(names)} < {self.number()}"] * 3
        forms.append(f"item.seed % 3 == {self.random.randint(0, 2)}")
        if self.measured:
            step = self.random.choice(list(self.measured))
            forms.append(f"steps.{step}.{self.random.choice(['visited', 'passed', 'attempts < 2'])}")
        return self.random.choice(forms)
