"""The way of an item through a recipe: conditions, fingerprints, and what is known already. Pure; loads no torch.

The worker walks it with the images, the planner without: `forecast` tells what a job would compute.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from typing import Self

from configs.conditions import ConditionError, Scope
from configs.item import Item
from steps.contract import Fact
from steps.resolve import ResolvedStep
from storage.artefacts import StoreError
from storage.keys import fingerprint
from storage.png_recipe import StepMark
from storage.records import ArtefactRecord

FindArtefacts = Callable[[Sequence[str]], Mapping[str, ArtefactRecord]]
DigestFile = Callable[[str], str]  # location of an item's file -> SHA-256 of its bytes


class ItemError(Exception):
    """The item cannot take this step. The message says what to change."""


class JobMismatch(Exception):
    """The job was planned with other models than these steps use. Concerns every item."""


@dataclass(slots=True)
class ItemPath:
    """How far an item has come. `facts` holds those of visited steps, as far as they are known."""

    item: Item
    marks: tuple[StepMark, ...] = ()  # of the steps visited, in order
    visited: dict[str, str] = field(default_factory=dict)  # step id -> fingerprint, in order
    facts: dict[str, Mapping[str, Fact]] = field(default_factory=dict)  # step id -> facts

    @property
    def fingerprint(self) -> str | None:
        """Of the image that the item has now; None before the first."""
        return self.marks[-1].fingerprint if self.marks else None

    def visit(self, step: ResolvedStep, mark: StepMark, facts: Mapping[str, Fact] | None) -> None:
        """Goes through the step. `facts` None: not known (yet)."""
        self.marks = (*self.marks, mark)
        self.visited[step.id] = mark.fingerprint
        if facts is not None:
            self.facts[step.id] = facts

    def copy(self) -> Self:
        """A path that can be walked on without moving this one."""
        return type(self)(self.item, self.marks, dict(self.visited), dict(self.facts))


def wants(path: ItemPath, step: ResolvedStep) -> bool | None:
    """Whether the item visits the step; None if that depends on facts that are not known yet. Raises ItemError."""
    if step.when is None:
        return True
    read = {name[1] for name in step.when.names if name[0] == "facts"}
    try:
        if any(step_id in path.visited and step_id not in path.facts for step_id in read):
            return step.when.foresee(path.item)
        return step.when.holds(Scope(path.item, path.facts))
    except ConditionError as error:
        raise ItemError(f"the condition of step {step.id!r}: {error}") from error


def mark_step(
    path: ItemPath, step: ResolvedStep, model_digests: Mapping[str, str], digest_file: DigestFile
) -> StepMark:
    """What decides the image that this step makes of this item, with its fingerprint.

    Raises ItemError, JobMismatch, and whatever `digest_file` and the step raise.
    """
    item = path.item
    if path.fingerprint is None and not step.step.makes_image:
        raise ItemError(
            f"step {step.id!r} needs an image, and no step before it made one: begin with `generate` or `load`, or "
            "change the conditions"
        )
    inputs = [] if path.fingerprint is None else [path.fingerprint]
    for file in step.step.item_files(item):
        location = getattr(item, file)
        if location is None:
            raise ItemError(f"step {step.id!r} needs the item's {file}: give the item one")
        inputs.append(digest_file(location))
    identity = step.step.identity(item)
    models = {str(ref): _digest(str(ref), step, model_digests) for ref in step.step.model_refs()}
    version = step.step.version
    return StepMark(
        step=step.name,
        version=version,
        identity=identity,
        models=models,
        inputs=tuple(inputs),
        fingerprint=fingerprint(
            step=step.name, version=version, identity=identity, model_digests=models, inputs=inputs
        ),
    )


def _digest(ref: str, step: ResolvedStep, model_digests: Mapping[str, str]) -> str:
    try:
        return model_digests[ref]
    except KeyError:
        raise JobMismatch(f"step {step.id!r} uses {ref}, which the job was not planned with: plan it again") from None


class Foresight(Enum):
    """What will become of an item at a step."""

    COMPUTE = auto()
    REUSE = auto()
    SKIP = auto()
    FAIL = auto()
    UNDECIDED = auto()  # depends on facts of images that do not exist yet


@dataclass(frozen=True, slots=True)
class Foreseen:
    path: ItemPath
    foresight: Foresight
    artefact: ArtefactRecord | None = None  # the image to reuse


def foresee(
    paths: Iterable[ItemPath],
    steps: Iterable[ResolvedStep],
    *,
    model_digests: Mapping[str, str],
    find_artefacts: FindArtefacts,
    digest_file: DigestFile,
) -> Iterator[tuple[ResolvedStep, list[Foreseen]]]:
    """Walks the paths on, step by step, one look-up a step; nothing is computed. Moves the paths: pass copies.

    An item that is undecided at a step stays so at every later one that it does not skip for certain; an item that
    fails is not seen again.
    """
    open_paths, undecided = list(paths), list[ItemPath]()
    for step in steps:
        foreseen = [Foreseen(path, _prospect_of_undecided(path, step)) for path in undecided]
        marked: list[tuple[ItemPath, StepMark]] = []
        still_open: list[ItemPath] = []
        for path in open_paths:
            verdict = _prospect(path, step, model_digests, digest_file)
            if isinstance(verdict, StepMark):
                marked.append((path, verdict))
            else:
                foreseen.append(Foreseen(path, verdict))
            if verdict is Foresight.UNDECIDED:
                undecided.append(path)
            elif verdict is not Foresight.FAIL:
                still_open.append(path)
        open_paths = still_open
        known = find_artefacts(list({mark.fingerprint for _, mark in marked})) if marked else {}
        for path, mark in marked:
            artefact = known.get(mark.fingerprint)
            path.visit(step, mark, artefact.facts if artefact else None)
            foreseen.append(Foreseen(path, Foresight.REUSE if artefact else Foresight.COMPUTE, artefact))
        yield step, foreseen


def _prospect(
    path: ItemPath, step: ResolvedStep, model_digests: Mapping[str, str], digest_file: DigestFile
) -> StepMark | Foresight:
    try:
        wanted = wants(path, step)
        if wanted is None:
            return Foresight.UNDECIDED
        return mark_step(path, step, model_digests, digest_file) if wanted else Foresight.SKIP
    except (ItemError, StoreError):
        return Foresight.FAIL


def _prospect_of_undecided(path: ItemPath, step: ResolvedStep) -> Foresight:
    """Facts say nothing here: even whether the item has any of a step is not known."""
    try:
        skipped = step.when is not None and step.when.foresee(path.item) is False
    except ConditionError:
        skipped = False
    return Foresight.SKIP if skipped else Foresight.UNDECIDED


@dataclass(frozen=True, slots=True)
class Forecast:
    """Items at one step. Those that fail before it are in none of the numbers."""

    computed: int = 0
    reused: int = 0
    skipped: int = 0
    undecided: int = 0


def forecast(
    items: Iterable[Item],
    steps: Sequence[ResolvedStep],
    *,
    model_digests: Mapping[str, str],
    find_artefacts: FindArtefacts,
    digest_file: DigestFile,
) -> dict[str, Forecast]:
    """What these items would need, by step id in recipe order. Items that share a fingerprint are computed once."""
    result = {}
    paths = [ItemPath(item) for item in items]
    walk = foresee(
        paths, steps, model_digests=model_digests, find_artefacts=find_artefacts, digest_file=cache(digest_file)
    )
    for step, foreseen in walk:
        count = {kind: sum(one.foresight is kind for one in foreseen) for kind in Foresight}
        computed = len({one.path.fingerprint for one in foreseen if one.foresight is Foresight.COMPUTE})
        result[step.id] = Forecast(
            computed=computed,
            reused=count[Foresight.REUSE] + count[Foresight.COMPUTE] - computed,
            skipped=count[Foresight.SKIP],
            undecided=count[Foresight.UNDECIDED],
        )
    return result
