"""Plan a reproduction: turn the recipe in an image into steps that can run here, and find how they differ from then.

The recipe is untrusted text: names are only looked up among those that this machine has, parameters go through the
steps' own bounds, and a text that does not fit its own fingerprints is refused. Pure; loads no torch.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, get_args

from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.catalogues.models import ModelCatalogue, ModelRef, UnknownModel
from configs.documents.fields import Item, ItemFile
from configs.documents.problems import InvalidInput, Problem, check
from gpu_worker.monitor.failures import describe
from gpu_worker.walk.item_context import provenance_of
from steps.contract import Step
from steps.recipe.program import Visit
from storage.images.png_recipe import ImageRecipe, Provenance

DifferenceKind = Literal["version", "model", "parameter", "software", "device"]

MAX_STEPS = 256  # a recipe has 64 at most, and some may have run more than once
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_DIGESTS = 16  # models or inputs of a step
_MAX_SHOWN = 300  # characters of a text out of the image
_FILES: tuple[ItemFile, ...] = get_args(ItemFile)


class CannotReproduce(InvalidInput):
    """The image cannot be made again here; has every known reason."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between when the image was made and now. `then` or `here` may be missing."""

    kind: DifferenceKind
    name: str
    then: str | None
    here: str | None

    @classmethod
    def of(cls, kind: DifferenceKind, name: str, then: str | None, here: str | None) -> "Difference":
        """Return a difference with texts that are safe to print."""
        return cls(kind, legible(name), *(None if text is None else legible(text) for text in (then, here)))


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step that can run here, the item as far as the step reads it, and the provenance then and here."""

    visit: Visit
    item: Item
    then: Provenance
    here: Provenance
    files: Mapping[ItemFile, str]  # SHA-256


@dataclass(frozen=True, slots=True)
class ReproductionPlan:
    steps: tuple[PlannedStep, ...]
    model_digests: Mapping[str, str]  # str(ModelRef) -> SHA-256 of the files on this machine
    differences: tuple[Difference, ...]

    @property
    def files(self) -> frozenset[str]:
        """SHA-256 of the input files that the steps read."""
        return frozenset(digest for step in self.steps for digest in step.files.values())


def plan_reproduction(
    recipe: ImageRecipe, catalogue: ModelCatalogue, *, files: Collection[str], can_compute: bool
) -> ReproductionPlan:
    """Plan the steps to run, from the SHA-256 of the input files at hand and whether models can run here.

    Raises CannotReproduce with everything that prevents it.
    """
    planner = _Planner(catalogue, files, can_compute)
    planner.check_chain(recipe.steps)
    if not planner.problems:
        for number, origin in enumerate(recipe.steps, 1):
            planner.add(number, origin)
    if planner.problems:
        raise CannotReproduce(planner.problems)
    return ReproductionPlan(tuple(planner.steps), planner.digests, tuple(planner.differences))


def legible(text: str) -> str:
    """Return a text from an image in a form that is safe to print: cut, and without control characters."""
    cut = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return cut if cut.isprintable() else "".join(letter if letter.isprintable() else "\ufffd" for letter in cut)


@dataclass(slots=True)
class _Planner:
    catalogue: ModelCatalogue
    files: Collection[str]
    can_compute: bool
    steps: list[PlannedStep] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def check_chain(self, origins: Sequence[Provenance]) -> None:
        """Check that the fingerprints in the text prove each other, as in a text that Pixelmill wrote."""
        if not origins:
            self._refuse("steps", "the image names no step that made it")
        if len(origins) > MAX_STEPS:
            self._refuse("steps", f"the image names {len(origins):,} steps, more than {MAX_STEPS}")
            return
        before: str | None = None
        for number, origin in enumerate(origins, 1):
            label = _label(number, origin)
            if not origin.is_genuine:
                self._refuse(label, "its fingerprint is that of something else: the text in the image was altered")
            if before is not None and origin.inputs[:1] != (before,):
                self._refuse(
                    label, "it did not work on the image of the step before: the text in the image was altered"
                )
            digests = (origin.inputs, tuple(origin.models.values()))
            if any(len(of) > _MAX_DIGESTS or not all(map(_DIGEST.fullmatch, of)) for of in digests):
                message = f"its inputs and models are not up to {_MAX_DIGESTS} SHA-256 digests: the text was altered"
                self._refuse(label, message)
            before = origin.fingerprint

    def add(self, number: int, origin: Provenance) -> None:
        label = _label(number, origin)
        found = self._step(origin, label)
        if found is None:
            return
        step, fields = found
        if number == 1 and not step.makes_image:
            self._refuse(label, "it needs an image, and no step before it made one: the text in the image was altered")
            return
        digests = origin.inputs if number == 1 else origin.inputs[1:]
        try:
            item = _item_with_files(step, fields, digests)
            identity = step.identity(item or fields)
        except Exception as error:  # a step may be a user's code, and this item has fewer fields than the original
            self._refuse(label, f"the step cannot reconstruct what made the image: {describe(error)}")
            return
        if item is None:
            message = f"it read {len(digests)} files of the item, which this version of the step does not do"
            self._refuse(label, message)
            return
        files: dict[ItemFile, str] = {file: getattr(item, file) for file in step.item_files(item)}
        for file, digest in files.items():
            if digest not in self.files:
                self._refuse(label, f"needs the item's {file} with the SHA-256 {digest}: give that file with --input")
        self._compare_identities(origin.identity, identity, label)
        self._find_models(step, origin, label)
        if self.problems:
            return
        visit = Visit(id=label, step_id=label, name=origin.step, step=step)
        source = self.steps[-1].here.fingerprint if self.steps else None
        here = provenance_of(visit, item, source, self.digests, lambda digest: digest)
        if origin.version != step.version:
            self._differ("version", label, str(origin.version), str(step.version))
        self.steps.append(PlannedStep(visit, item, origin, here, files))

    def _step(self, origin: Provenance, label: str) -> tuple[Step, Item] | None:
        """Return the step and the item without its files, or None after reporting a problem."""
        try:
            kind = load_step(origin.step)
        except (UnknownName, BrokenEntry) as error:
            self._refuse(label, str(error.args[0]))
            return None
        if not issubclass(kind, Step):
            self._refuse(label, "its name in the catalogue does not belong to a step")
            return None
        parameters, fields = kind.split_identity(origin.identity)
        step, mistakes = check(kind, parameters, label)
        item, more = check(Item, {"index": 0, "name": "image", "seed": 0, **fields}, label)
        versions = f"; the image was made by version {origin.version} of the step, and here is version {kind.version}"
        for problem in (*mistakes, *more):
            self._refuse(problem.path, problem.message + (versions if origin.version != kind.version else ""))
        return None if step is None or item is None else (step, item)

    def _compare_identities(self, then: Mapping[str, Any], here: Mapping[str, Any], label: str) -> None:
        for name in sorted({*then, *here}):
            was, now = (
                json.dumps(identity[name], sort_keys=True) if name in identity else None for identity in (then, here)
            )
            if was == now:
                continue
            if was is not None and now is not None:
                self._refuse(f"{label}.{name}", f"was {was}, and this version of the step turns it into {now}")
            else:  # the field is not part of the other version
                self._differ("parameter", f"{label}.{name}", was, now)

    def _find_models(self, step: Step, origin: Provenance, label: str) -> None:
        """Record the digests of the step's models, and which of them are others than then."""
        refs = step.model_refs()
        if refs and not self.can_compute:
            self._refuse(label, "this installation cannot run models: install `pixelmill[worker]`")
            return
        here = {str(ref): self._digest(ref, label) for ref in refs}
        self.digests |= {name: digest for name, digest in here.items() if digest is not None}
        for name in (*here, *sorted(origin.models.keys() - here.keys())):
            if origin.models.get(name) != here.get(name):
                self._differ("model", f"{label}: {name}", origin.models.get(name), here.get(name))

    def _digest(self, ref: ModelRef, label: str) -> str | None:
        reason = self.catalogue.available(ref)
        if reason is None:
            try:
                return self.catalogue.digest(ref)
            except (OSError, UnknownModel, InvalidInput) as error:
                reason = f"its files cannot be read: {error}"
        self._refuse(label, f"model {ref}: {reason}")
        return None

    def _refuse(self, path: str, message: str) -> None:
        problem = Problem(legible(path), legible(message))
        if problem not in self.problems:
            self.problems.append(problem)

    def _differ(self, kind: DifferenceKind, name: str, then: str | None, here: str | None) -> None:
        difference = Difference.of(kind, name, then, here)
        if difference not in self.differences:
            self.differences.append(difference)


def _label(number: int, origin: Provenance) -> str:
    return f"step {number} ({legible(origin.step)[:60]})"


def _item_with_files(step: Step, item: Item, digests: Sequence[str]) -> Item | None:
    """Return the item with these digests in place of the files that the step reads, or None if their number differs.

    Which files a step reads may depend on which ones the item has.
    """
    for count in range(len(_FILES) + 1):
        for names in combinations(_FILES, count):
            files = step.item_files(item.model_copy(update=dict.fromkeys(names, "")))
            if len(files) == len(digests) and set(files) <= set(names):
                return item.model_copy(update=dict(zip(files, digests, strict=True)))
    return None
