"""Walks without images: what a job would compute, which steps items can reach, and how they went.

Pure; computes no image and loads neither torch nor Prefect.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any

from configs.conditions import ITEM_NAMES
from configs.documents.fields import Item
from configs.documents.problems import Problem
from gpu_worker.walk.item_context import DigestFile, ItemError, MistakenCondition, provenance_of
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.trace import TraceNode
from steps.contract import Fact, Step
from steps.facts import FACTS
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance
from storage.ledger.records import ArtefactRecord, StepOutcome
from storage.objects.artefacts import StoreError

FindArtefacts = Callable[[Sequence[str]], Mapping[str, ArtefactRecord]]
ObjectToFiles = Callable[[Item, Step], Exception | None]  # why a step cannot take an item's files, if it cannot
KnownProvenance = Callable[[ItemPath, Visit], Provenance | None]  # one that is known without reading files


class Prediction(Enum):
    """The outcome that an item will have at a step."""

    COMPUTE = auto()
    REUSE = auto()
    SKIP = auto()
    FAIL = auto()
    UNDECIDED = auto()  # depends on facts of images that do not exist yet


@dataclass(frozen=True, slots=True)
class PredictedStep:
    path: ItemPath
    prediction: Prediction
    artefact: ArtefactRecord | None = None  # the image to reuse
    unmeasured: frozenset[str] = frozenset()  # facts that the recipe reads and that are not measured
    error: Exception | None = None  # why the item fails, or would if it came there


def predict(
    paths: Iterable[ItemPath],
    visits: Iterable[Visit],
    *,
    model_digests: Mapping[str, str],
    find_artefacts: FindArtefacts,
    digest_file: DigestFile,
    known_provenance: KnownProvenance | None = None,
    object_to_files: ObjectToFiles | None = None,
) -> Iterator[tuple[Visit, list[PredictedStep]]]:
    """Walk the paths on, visit by visit, with one look-up a visit. Moves the paths: pass copies.

    An item that is undecided at a visit stays so at every later one that it does not skip for certain; an item that
    fails or is rejected does not appear again. `known_provenance` spares reading the files of visits that it covers.
    """
    open_paths = list(paths)
    for visit in visits:
        predicted: list[PredictedStep] = []
        pending: list[tuple[ItemPath, Provenance]] = []
        still_open: list[ItemPath] = []
        for path in open_paths:
            verdict = _at_visit(path, visit, model_digests, digest_file, known_provenance)
            if isinstance(verdict, Provenance):
                pending.append((path, verdict))
            elif isinstance(verdict, Exception):
                predicted.append(PredictedStep(path, Prediction.FAIL, error=verdict))
                continue
            else:
                is_open = verdict is Prediction.UNDECIDED
                error = object_to_files(path.item, visit.step) if is_open and object_to_files else None
                predicted.append(PredictedStep(path, verdict, error=error))
            if path.rejected is None:
                still_open.append(path)
        open_paths, failed = still_open, set[ItemPath]()
        known = find_artefacts(list({provenance.fingerprint for _, provenance in pending})) if pending else {}
        for path, provenance in pending:
            artefact = known.get(provenance.fingerprint)
            error = object_to_files(path.item, visit.step) if artefact is None and object_to_files else None
            if error is not None:
                predicted.append(PredictedStep(path, Prediction.FAIL, error=error))
                failed.add(path)
                continue
            if artefact is None:
                path.visit(visit, provenance, None)
                predicted.append(PredictedStep(path, Prediction.COMPUTE))
                continue
            lacking = unmeasured(visit, artefact.facts, has_source=path.fingerprint is not None)
            path.visit(visit, provenance, None if lacking else artefact.facts)
            predicted.append(PredictedStep(path, Prediction.REUSE, artefact, lacking))
        open_paths = [path for path in open_paths if path not in failed]
        yield visit, predicted


def unmeasured(visit: Visit, facts: Mapping[str, Fact], *, has_source: bool) -> frozenset[str]:
    """Return the facts that the recipe reads and that were not measured when the image was made.

    Facts that compare with the step's input cannot be measured where it had none (`has_source`).
    """
    return frozenset(name for name in visit.facts - facts.keys() if has_source or not FACTS[name].reads_source)


def _at_visit(
    path: ItemPath,
    visit: Visit,
    model_digests: Mapping[str, str],
    digest_file: DigestFile,
    known_provenance: KnownProvenance | None,
) -> Provenance | Prediction | Exception:
    try:
        wanted = path.wants(visit)
        if wanted is None:
            path.undecided = True
            return Prediction.UNDECIDED
        if not wanted:
            return Prediction.SKIP
        known = known_provenance(path, visit) if known_provenance is not None else None
        return (
            known
            if known is not None
            else provenance_of(visit, path.item, path.fingerprint, model_digests, digest_file)
        )
    except (ItemError, StoreError) as error:
        return error


@dataclass(frozen=True, slots=True)
class Forecast:
    """Items at one step. Those that fail before it are in none of the numbers."""

    computed: int = 0
    reused: int = 0
    skipped: int = 0
    undecided: int = 0


def forecast(
    items: Iterable[Item],
    program: Program,
    *,
    model_digests: Mapping[str, str],
    find_artefacts: FindArtefacts,
    digest_file: DigestFile,
    accepted: Mapping[str, frozenset[str]] | None = None,
    object_to_files: ObjectToFiles | None = None,
    on_failure: Callable[[Visit, PredictedStep], None] | None = None,
) -> dict[str, Forecast]:
    """Return what these items would need, by visit id in order. Items that share a fingerprint are computed once.

    `accepted`: name of an item -> fingerprints of its images that a person has accepted. `on_failure` is called for
    each item that fails at a visit, or would if it came there.
    """
    result = {}
    known = accepted or {}
    walk = predict(
        [ItemPath(item, program, known.get(item.name, frozenset())) for item in items],
        program.visits,
        model_digests=model_digests,
        find_artefacts=find_artefacts,
        digest_file=cache(digest_file),
        object_to_files=object_to_files,
    )
    for visit, predicted in walk:
        for one in predicted:
            if one.error is not None and on_failure is not None:
                on_failure(visit, one)
        count = {kind: sum(one.prediction is kind for one in predicted) for kind in Prediction}
        computed = len({one.path.made[visit.id] for one in predicted if one.prediction is Prediction.COMPUTE})
        result[visit.id] = Forecast(
            computed=computed,
            reused=count[Prediction.REUSE] + count[Prediction.COMPUTE] - computed,
            skipped=count[Prediction.SKIP],
            undecided=count[Prediction.UNDECIDED],
        )
    return result


# -- what planning can know --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Reachability:
    """The visits that are possible, each with whether it is certain; and conditions that cannot be evaluated."""

    visits: tuple[tuple[Visit, bool], ...]
    mistakes: tuple[Problem, ...]


class ReachableVisits:
    """Finds which steps items may visit from their own values alone; items that look alike to conditions share it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        names = {name for each in program.decisions for name in each.condition.names}
        self._names = sorted(name for name in names if name[0] in ("item", "vars"))
        self._known: dict[tuple[Any, ...], Reachability] = {}

    def of(self, item: Item) -> Reachability:
        """Return what is known of the item's path before any work."""
        key = tuple(_value(name, item) for name in self._names)
        if key not in self._known:
            self._known[key] = self._walk(item)
        return self._known[key]

    def _walk(self, item: Item) -> Reachability:
        path = ItemPath(item, self._program)
        visits: list[tuple[Visit, bool]] = []
        try:
            for visit in self._program.visits:
                wanted = path.wants(visit)
                if wanted is not False:
                    visits.append((visit, wanted is True))
                    path.visit(visit, _recorded(visit, ""), None, certain=wanted is True)
            path.finish()
        except MistakenCondition as mistake:
            return Reachability(tuple(visits), (Problem(mistake.path, mistake.message),))
        return Reachability(tuple(visits), ())


def _value(name: tuple[str, ...], item: Item) -> tuple[type, Any]:
    value = ITEM_NAMES[name[1]](item) if name[0] == "item" else item.vars.get(name[1], _ABSENT)
    return type(value), value


_ABSENT = object()


# -- from the ledger --------------------------------------------------------------------------------------------------
def replay(
    item: Item,
    program: Program,
    entries: Mapping[str, StepOutcome],
    *,
    accepted: frozenset[str] = frozenset(),
    trace: list[TraceNode] | None = None,
) -> ItemPath:
    """Walk the item through the program as far as the entries (by visit id) go.

    `accepted`: fingerprints that no gate rejects. With a `trace`, the walk stops at the first visit that the item came
    to and has no image of; else what is behind it is decided as if the item had not gone there.
    """
    path = ItemPath(item, program, accepted, trace)
    try:
        for visit in program.visits:
            wanted = path.wants(visit)
            entry = entries.get(visit.id)
            if wanted is False:
                continue
            if entry is not None and entry.artefact is not None:
                path.visit(visit, _recorded(visit, entry.artefact.fingerprint), entry.artefact.facts)
            elif trace is not None:
                path.stop(visit)
                return path
        path.finish()
    except ItemError:
        pass  # it failed there
    return path


def _recorded(visit: Visit, fingerprint: str) -> Provenance:
    return Provenance(step=visit.name, version=0, identity={}, models={}, inputs=(), fingerprint=fingerprint)
