"""A program: a recipe as a tree with its steps resolved and its loops written out.

Writing loops out bounds the path of each item before any work, and gives chunks of items a common order of visits.
"""

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from configs.conditions import Condition
from configs.documents.fields import DERIVED_SEEDS, MAX_SEED, Item
from configs.recipe.recipe import Verdict
from steps.contract import Step


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """A step of a recipe with checked parameters. `name` is the step's name in the catalogue."""

    id: str
    name: str
    step: Step
    when: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One time that items go through a step.

    `id` is the recipe's id of the step for its first visit, `id~2` for the next and so on. `seeds` distinguishes the
    visits of a loop that have different seeds: empty for the item's own seed. `facts` are those to measure that are not
    measured on every image. `at` is the visit's index in the program, `path` where the recipe has its step.
    """

    id: str
    step_id: str
    name: str
    step: Step
    seeds: str = ""
    facts: Set[str] = frozenset()
    path: str = ""
    at: int = 0

    @property
    def is_again(self) -> bool:
        """Whether a loop wrote it: most items do not come here, and reports do not mention those that don't."""
        return self.id != self.step_id

    def item(self, item: Item) -> Item:
        """Return the item with the seed of this visit."""
        if not self.seeds:
            return item
        below = MAX_SEED + 1 if item.wide_seeds else DERIVED_SEEDS
        return item.model_copy(update={"seed": derived_seed(item.seed, self.seeds, below=below)})


@dataclass(frozen=True, slots=True)
class Decision:
    """A condition that decides an item's path once it is past the first `at` visits of the program."""

    condition: Condition
    path: str
    at: int


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition of a gate, and the reason to give when it is false. `gate` is its name, if it has one."""

    condition: Condition
    because: str | None = None
    gate: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Nodes one after the other. `starts` are the indices of those that retries of this block begin with."""

    nodes: "tuple[Node, ...]" = ()
    starts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class StepNode:
    """A visit for the items that meet `when`, `otherwise` for the others, and then the gate of those that visited."""

    title: str
    visit: Visit
    when: Decision | None = None
    otherwise: Block = Block()
    gate: "GateNode | None" = None


@dataclass(frozen=True, slots=True)
class RetryNode:
    """One retry of a gate: the nodes before the gate's own step once more, then that step, then the gate at `at`."""

    again: Block
    step: StepNode | None
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateNode:
    """Requirements on the image, what to try for images that fail them, and the verdict on those that still do.

    `of` is the id of the step that the gate belongs to, if it does. `tries` is how often an image may be made. Retries
    begin with the node of index `begin` of the block, which is the step `start`.
    """

    title: str
    path: str
    requirements: tuple[Requirement, ...]
    at: int
    of: str | None = None
    when: Decision | None = None
    tries: int = 1
    begin: int = 0
    start: str = ""
    retries: tuple[RetryNode, ...] = ()
    repair: Block = Block()
    repaired_at: int = 0
    verdict: Verdict = "quarantine"


@dataclass(frozen=True, slots=True)
class GroupNode:
    title: str
    path: str
    when: Decision
    steps: Block
    otherwise: Block


@dataclass(frozen=True, slots=True)
class SwitchNode:
    title: str
    path: str
    value: Decision
    cases: Mapping[str, Block]
    default: Block


@dataclass(frozen=True, slots=True)
class LoopPass:
    """One pass of a loop: its steps, and the decision behind them."""

    steps: Block
    end: Decision


@dataclass(frozen=True, slots=True)
class RepeatNode:
    """Passes until one ends with a true condition. `from_start`: each begins with the image before the loop."""

    title: str
    path: str
    passes: tuple[LoopPass, ...]
    from_start: bool


@dataclass(frozen=True, slots=True)
class BestOfNode:
    """Candidates, each made from the image before the node and rated at its end; the item goes on with the best."""

    title: str
    path: str
    candidates: tuple[LoopPass, ...]


Node = StepNode | GateNode | GroupNode | SwitchNode | RepeatNode | BestOfNode


def blocks_in(node: Node) -> tuple[Block, ...]:
    """Return the blocks within a node in the order of the recipe, those of loops and retries once."""
    match node:
        case StepNode():
            return (node.otherwise, *((node.gate.repair,) if node.gate else ()))
        case GateNode():
            return (node.repair,)
        case GroupNode():
            return node.steps, node.otherwise
        case SwitchNode():
            return (*node.cases.values(), node.default)
        case RepeatNode():
            return (node.passes[0].steps,)
        case BestOfNode():
            return (node.candidates[0].steps,)


@dataclass(frozen=True)
class Program:
    """The tree, and its visits and decisions in the order in which items come to them."""

    root: Block
    visits: tuple[Visit, ...]
    decisions: tuple[Decision, ...]

    @cached_property
    def _asked_at(self) -> frozenset[int]:
        """How many visits come before each decision over facts."""
        return frozenset(each.at for each in self.decisions if not each.condition.is_static)

    def awaits(self, visit: Visit) -> bool:
        """Return whether a later decision may wait for facts of this visit."""
        return visit.at < max(self._asked_at, default=0)

    def asks_before(self, visit: Visit) -> bool:
        """Return whether decisions between the visit before and this one read facts, which must be measured then."""
        return visit.at in self._asked_at

    @property
    def asks_at_end(self) -> bool:
        """Whether there are decisions over facts behind the last visit."""
        return len(self.visits) in self._asked_at

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Ids of the visits, in order."""
        return tuple(visit.id for visit in self.visits)


def derived_seed(seed: int, label: str, *, below: int = DERIVED_SEEDS) -> int:
    """Return another seed for another visit: the same for the same seed and label on every machine."""
    digest = hashlib.sha256(f"{seed}\n{label}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % below
