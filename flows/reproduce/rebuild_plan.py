"""From what an image says of itself to steps that can run here, and how they differ from those that ran then.

What an image says is anybody's text: names are only looked up among those that this machine has, parameters go through
the steps' own bounds, and a text that does not fit its own fingerprints is refused. Pure; loads no torch.
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
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.step_mark import provenance_of
from steps.contract import Step
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import ImageRecipe, Provenance
from storage.objects.keys import fingerprint

MAX_STEPS = 256  # a recipe has 64 at most, some of which may have run more than once
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_DIGESTS = 16  # models or inputs of a step
_MAX_SHOWN = 300  # characters of a text out of the image
_FILES: tuple[ItemFile, ...] = get_args(ItemFile)


class CannotRebuild(InvalidInput):
    """The image cannot be made again here. Carries every reason that is known."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was otherwise when the image was made. None: it was not there, or is not here."""

    kind: Literal["version", "model", "parameter", "software", "device"]
    name: str
    then: str | None
    here: str | None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step as it can run here, the item as far as the step reads it, and both marks: as it was, and as it will be."""

    visit: Visit
    item: Item
    then: Provenance
    here: Provenance
    files: Mapping[ItemFile, str]  # SHA-256

    @property
    def label(self) -> str:
        return self.visit.id


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    steps: tuple[PlannedStep, ...]
    model_digests: Mapping[str, str]  # str(ModelRef) -> SHA-256, of this machine's
    differences: tuple[Difference, ...]

    @property
    def files(self) -> frozenset[str]:
        """SHA-256 of the input files that the steps read."""
        return frozenset(digest for step in self.steps for digest in step.files.values())


def plan_rebuild(
    recipe: ImageRecipe, catalogue: ModelCatalogue, *, files: Collection[str], can_compute: bool
) -> RebuildPlan:
    """What to run. `files` are the SHA-256 of the input files at hand; `can_compute`: models can be run here.

    Raises CannotRebuild with everything that is in the way.
    """
    planner = _Planner(catalogue, files, can_compute)
    planner.check_chain(recipe.steps)
    if not planner.problems:
        for number, mark in enumerate(recipe.steps, 1):
            planner.add(number, mark)
    if planner.problems:
        raise CannotRebuild(planner.problems)
    return RebuildPlan(tuple(planner.steps), planner.digests, tuple(planner.differences))


def legible(text: str) -> str:
    """A text out of an image, so that a terminal shows it and obeys nothing in it."""
    cut = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return cut if cut.isprintable() else "".join(mark if mark.isprintable() else "\ufffd" for mark in cut)


@dataclass(slots=True)
class _Planner:
    catalogue: ModelCatalogue
    files: Collection[str]
    can_compute: bool
    steps: list[PlannedStep] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def check_chain(self, marks: Sequence[Provenance]) -> None:
        """Whether the text is one that Pixelmill wrote, as far as it can prove that."""
        if not marks:
            self._refuse("steps", "the image names no step that made it")
        if len(marks) > MAX_STEPS:
            self._refuse("steps", f"the image names {len(marks):,} steps, more than {MAX_STEPS}")
            return
        before: str | None = None
        for number, mark in enumerate(marks, 1):
            place = _label(number, mark)
            if _true_fingerprint(mark) != mark.fingerprint:
                self._refuse(place, "its fingerprint is that of something else: the text in the image was altered")
            if before is not None and mark.inputs[:1] != (before,):
                self._refuse(
                    place, "it did not work on the image of the step before: the text in the image was altered"
                )
            digests = (mark.inputs, tuple(mark.models.values()))
            if any(len(of) > _MAX_DIGESTS or not all(map(_DIGEST.fullmatch, of)) for of in digests):
                message = f"its inputs and models are not up to {_MAX_DIGESTS} SHA-256 digests: the text was altered"
                self._refuse(place, message)
            before = mark.fingerprint

    def add(self, number: int, mark: Provenance) -> None:
        place = _label(number, mark)
        found = self._step(mark, place)
        if found is None:
            return
        step, fields = found
        if number == 1 and not step.makes_image:
            self._refuse(place, "it needs an image, and no step before it made one: the text in the image was altered")
            return
        digests = mark.inputs if number == 1 else mark.inputs[1:]
        try:
            item = _item_with_files(step, fields, digests)
            identity = step.identity(item or fields)
        except Exception as error:  # a step may be a user's code, and the item is not the whole one that it knew
            self._refuse(place, f"cannot be told again what made the image: {describe(error)}")
            return
        if item is None:
            message = f"it read {len(digests)} files of the item, which this version of the step does not do"
            self._refuse(place, message)
            return
        files: dict[ItemFile, str] = {file: getattr(item, file) for file in step.item_files(item)}
        for file, digest in files.items():
            if digest not in self.files:
                self._refuse(place, f"needs the item's {file} with the SHA-256 {digest}: give that file with --input")
        self._compare_identities(mark.identity, identity, place)
        if not self._find_models(step, mark, place) or self.problems:
            return
        visit = Visit(id=place, step_id=place, name=mark.step, step=step)
        so_far = ItemPath(item, Program(()), marks=tuple(planned.here for planned in self.steps))
        here = provenance_of(so_far, visit, self.digests, lambda digest: digest)
        if mark.version != step.version:
            self._differ("version", place, str(mark.version), str(step.version))
        self.steps.append(PlannedStep(visit, item, mark, here, files))

    def _step(self, mark: Provenance, place: str) -> tuple[Step, Item] | None:
        """The step, and the item without its files."""
        try:
            kind = load_step(mark.step)
        except (UnknownName, BrokenEntry) as error:
            self._refuse(place, str(error.args[0]))
            return None
        if not issubclass(kind, Step):
            self._refuse(place, "its name in the catalogue is no step's")
            return None
        parameters, fields = kind.split_identity(mark.identity)
        step, mistakes = check(kind, parameters, place)
        item, more = check(Item, {"index": 0, "name": "image", "seed": 0, **fields}, place)
        versions = f"; the image was made by version {mark.version} of the step, and here is version {kind.version}"
        for problem in (*mistakes, *more):
            self._refuse(problem.path, problem.message + (versions if mark.version != kind.version else ""))
        return None if step is None or item is None else (step, item)

    def _compare_identities(self, then: Mapping[str, Any], here: Mapping[str, Any], place: str) -> None:
        for name in sorted({*then, *here}):
            was, now = (_canonical(identity[name]) if name in identity else None for identity in (then, here))
            if was == now:
                continue
            if was is not None and now is not None:
                self._refuse(f"{place}.{name}", f"was {was}, and this version of the step makes {now} of it")
            else:  # the version that made the image did not know it, or this one does without it
                self._differ("parameter", f"{place}.{name}", was, now)

    def _find_models(self, step: Step, mark: Provenance, place: str) -> bool:
        """Takes up the digests of the step's models. Returns whether all are here."""
        refs = step.model_refs()
        if refs and not self.can_compute:
            self._refuse(place, "this installation cannot run models: install `pixelmill[worker]`")
            return False
        found = True
        for ref in refs:
            digest = self._digest(ref, place)
            if digest is None:
                found = False
                continue
            self.digests[str(ref)] = digest
            if mark.models.get(str(ref)) != digest:
                self._differ("model", f"{place}: {ref}", mark.models.get(str(ref)), digest)
        for name in sorted(mark.models.keys() - {str(ref) for ref in refs}):
            self._differ("model", f"{place}: {name}", mark.models[name], None)
        return found

    def _digest(self, ref: ModelRef, place: str) -> str | None:
        reason = self.catalogue.available(ref)
        if reason is None:
            try:
                return self.catalogue.digest(ref)
            except (OSError, UnknownModel, InvalidInput) as error:
                reason = f"its files cannot be read: {error}"
        self._refuse(place, f"model {ref}: {reason}")
        return None

    def _refuse(self, path: str, message: str) -> None:
        problem = Problem(legible(path), legible(message))
        if problem not in self.problems:
            self.problems.append(problem)

    def _differ(
        self, kind: Literal["version", "model", "parameter"], name: str, then: str | None, here: str | None
    ) -> None:
        shown = (None if text is None else legible(text) for text in (then, here))
        difference = Difference(kind, legible(name), *shown)
        if difference not in self.differences:
            self.differences.append(difference)


def _label(number: int, mark: Provenance) -> str:
    return f"step {number} ({legible(mark.step)[:60]})"


def _true_fingerprint(mark: Provenance) -> str | None:
    """None for values that no fingerprint can be made of, such as NaN or half a character."""
    try:
        return fingerprint(
            step=mark.step, version=mark.version, identity=mark.identity, model_digests=mark.models, inputs=mark.inputs
        )
    except (ValueError, RecursionError):
        return None


def _item_with_files(step: Step, item: Item, digests: Sequence[str]) -> Item | None:
    """The item with these digests in place of the files that the step reads of it.

    Which ones it reads may depend on which ones the item has; the image says how many that was.
    """
    for count in range(len(_FILES) + 1):
        for names in combinations(_FILES, count):
            files = step.item_files(item.model_copy(update=dict.fromkeys(names, "")))
            if len(files) == len(digests) and set(files) <= set(names):
                return item.model_copy(update=dict(zip(files, digests, strict=True)))
    return None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
