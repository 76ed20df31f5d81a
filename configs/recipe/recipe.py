"""A recipe: steps with their parameters, branches, loops and gates, and which artefacts are final."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from configs.documents.fields import Name, Schema, Text, Vars

MAX_TIMES = 20  # of a loop
MAX_DEPTH = 8  # of branches and loops within each other

Expression = Annotated[str, Field(description="A condition, or a value of one.")]
Verdict = Literal["quarantine", "warn"]
Changes = dict[str, dict[str, Annotated[list[Any], Field(min_length=1, max_length=MAX_TIMES)]]]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RequirementSpec(_Form):
    """One condition that an image has to meet."""

    that: Expression
    because: Text | None = Field(default=None, description="The reason in an item's report when it is false.")
    gate: str | None = Field(default=None, description="Name of the gate that it was written out from.")


class OnFail(_Form):
    """The treatment of an image that does not meet a gate: first `retry`, then `repair`, then the verdict."""

    retry: int = Field(default=0, ge=0, le=MAX_TIMES, description="How often it is made again at most.")
    start: str | None = Field(
        default=None, alias="from", description="Id of the step of this list that a retry begins with; default: this."
    )
    seed: Literal["new", "same"] = Field(default="new", description="Whether a retry has another seed.")
    change: Changes = Field(
        default_factory=dict,
        description="Step id -> parameter -> its values at the first, second … retry; the last one stays.",
    )
    repair: tuple["RecipeNode", ...] = Field(default=(), description="Steps that mend the image; the gate looks again.")
    then: Verdict = Field(default="quarantine", description="What becomes of an item that still does not meet it.")


Checks = tuple[
    Annotated[
        Annotated[str, Tag("text")] | Annotated[RequirementSpec, Tag("check")],
        Discriminator(lambda value: "text" if isinstance(value, str) else "check"),
    ],
    ...,
]
Failing = Annotated[
    Annotated[Verdict, Tag("verdict")] | Annotated[OnFail, Tag("plan")],
    Discriminator(lambda value: "verdict" if isinstance(value, str) else "plan"),
]


class Gate(_Form):
    """`- require: […]`: conditions on the image that the item has now."""

    id: str | None = Field(default=None, description="Names it in reports; default: made of its position.")
    when: Expression | None = None
    require: Checks = Field(min_length=1, description="Names of gates, conditions, or conditions with a reason.")
    on_fail: Failing = "quarantine"


class RecipeStep(BaseModel):
    """A step of the catalogue. Every other field is a parameter of the step's own class."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Names the step in conditions and in reports.")
    step: str = Field(description="A step of the catalogue.")
    when: Expression | None = Field(default=None, description="Condition under which an item visits the step.")
    otherwise: tuple["RecipeNode", ...] = Field(
        default=(), alias="else", description="Steps for the items that do not visit it."
    )
    facts: tuple[str, ...] = Field(default=(), description="Facts to measure that no condition names.")
    require: Checks = Field(default=(), description="Gates: names, conditions, or conditions with a reason.")
    on_fail: Failing = Field(default="quarantine", description="What happens to an image that does not meet them.")

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as written, not yet checked by the step's class."""
        return dict(self.model_extra or {})


class Group(_Form):
    """`- when: … steps: […] else: […]`: one branch of several steps."""

    id: str | None = None
    when: Expression
    steps: tuple["RecipeNode", ...] = Field(min_length=1)
    otherwise: tuple["RecipeNode", ...] = Field(default=(), alias="else")


class Switch(_Form):
    """`- switch: … cases: {value: […]} default: […]`: the branch whose name equals the value."""

    id: str | None = None
    switch: Expression
    cases: dict[str, tuple["RecipeNode", ...]] = Field(min_length=1)
    default: tuple["RecipeNode", ...] = Field(description="For all other values; [] for nothing.")


class Repeat(_Form):
    """`- repeat: N until: … steps: […]`: again until the condition holds, N times at most."""

    id: str | None = None
    repeat: int = Field(ge=2, le=MAX_TIMES, description="How often at most, the first time included.")
    until: Expression
    steps: tuple["RecipeNode", ...] = Field(min_length=1)
    start: Literal["same", "previous"] = Field(
        default="same", description="Each time from the image before the loop, or from the time before."
    )
    seed: Literal["new", "same"] = "new"
    change: Changes = Field(default_factory=dict)


class BestOf(_Form):
    """`- best_of: N by: … steps: […]`: makes N candidates and goes on with the one of the highest value."""

    id: str | None = None
    best_of: int = Field(ge=2, le=MAX_TIMES)
    by: Expression
    steps: tuple["RecipeNode", ...] = Field(min_length=1)
    seed: Literal["new", "same"] = "new"
    change: Changes = Field(default_factory=dict)


_BY_FIELD: Mapping[str, type[BaseModel]] = {  # in this order
    "step": RecipeStep,
    "switch": Switch,
    "repeat": Repeat,
    "best_of": BestOf,
    "steps": Group,
    "require": Gate,
}


def _kind_of_entry(value: Any) -> str:
    """Return the kind whose own field the entry has; without one it counts as a step, which most entries are."""
    keys = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, BaseModel) else {}
    return next((kind.__name__ for field, kind in _BY_FIELD.items() if field in keys), RecipeStep.__name__)


# The tags differ from all fields: pydantic puts them into the locations of mistakes.
RecipeNode = Annotated[
    Annotated[RecipeStep, Tag("RecipeStep")]
    | Annotated[Group, Tag("Group")]
    | Annotated[Switch, Tag("Switch")]
    | Annotated[Repeat, Tag("Repeat")]
    | Annotated[BestOf, Tag("BestOf")]
    | Annotated[Gate, Tag("Gate")],
    Discriminator(_kind_of_entry),
]


class Distinct(_Form):
    """The treatment of images that repeat an earlier one of the job."""

    distance: float = Field(
        default=12.0,
        ge=0,
        le=64,
        allow_inf_nan=False,
        description="Levels of 255: up to here two images are one picture. See docs/facts.md.",
    )
    on_fail: Verdict = Field(default="quarantine", description="What becomes of the later one of the two.")


Distinction = Annotated[
    Annotated[bool, Tag("switch")] | Annotated[Distinct, Tag("rule")],
    Discriminator(lambda value: "switch" if isinstance(value, bool) else "rule"),
]
DISTINCT = "distinct"  # recorded as the step that an item stopped at; no step of such a recipe may have this id


class Recipe(Schema):
    """An ordered list of steps. `keep` defaults to the last step that an item visited."""

    name: Name
    description: Text = ""
    vars: Vars = Field(default_factory=dict, description="Defaults of the variables that its conditions read.")
    steps: tuple[RecipeNode, ...] = Field(min_length=1, max_length=64)
    keep: tuple[str, ...] = Field(default=(), description="Ids of the steps whose images are final.")
    facts: tuple[str, ...] = Field(default=(), description="Facts to measure on every image that no condition names.")
    distinct: Distinction = Field(
        default=False, description="Whether no image of a job may repeat another; or how alike they may be."
    )

    @property
    def distinction(self) -> Distinct | None:
        """The treatment of repeated images, or None if the job does not look for them."""
        if isinstance(self.distinct, Distinct):
            return self.distinct
        return Distinct() if self.distinct else None

    @property
    def leaves(self) -> tuple[RecipeStep, ...]:
        """All its steps, those in branches included, in the order they are written."""
        return tuple(leaves_of(self.steps))


class VisitId(NamedTuple):
    """The `number`th visit of a step, from 1: `base` in ledgers and reports, `base~2` for the second."""

    step: str
    number: int

    @classmethod
    def parse(cls, text: str) -> "VisitId":
        step, _, number = text.partition("~")
        return cls(step, int(number or 1))

    def __str__(self) -> str:
        return self.step if self.number == 1 else f"{self.step}~{self.number}"


def leaves_of(entries: Iterable[RecipeNode]) -> Iterator[RecipeStep]:
    """Yield the steps in these entries, those in branches included."""
    for entry in entries:
        if isinstance(entry, RecipeStep):
            yield entry
        for inner in _lists(entry):
            yield from leaves_of(inner)


def _lists(entry: RecipeNode) -> Iterator[tuple[RecipeNode, ...]]:
    """Yield the lists within an entry, in the order an item reaches them."""
    if isinstance(entry, Group | Repeat | BestOf):
        yield entry.steps
    if isinstance(entry, Switch):
        yield from entry.cases.values()
        yield entry.default
    if isinstance(entry, RecipeStep | Gate) and isinstance(entry.on_fail, OnFail):
        yield entry.on_fail.repair
    if isinstance(entry, RecipeStep | Group):
        yield entry.otherwise


for _form in (OnFail, Gate, RecipeStep, Group, Switch, Repeat, BestOf, Recipe):
    _form.model_rebuild()
