"""What will become of items, from what is known already: nothing is computed, no torch is loaded.

`forecast` tells what a job would compute.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from configs.documents.fields import Item
from gpu_worker.walk.item_path import ItemError, ItemPath
from gpu_worker.walk.step_mark import DigestFile, provenance_of
from steps.contract import Fact
from steps.facts import FACTS
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import StoreError

FindArtefacts = Callable[[Sequence[str]], Mapping[str, ArtefactRecord]]
Recall = Callable[[ItemPath, Visit], Provenance | None]  # a mark that is known already


class Prediction(Enum):
    """What will become of an item at a step."""

    COMPUTE = auto()
    REUSE = auto()
    SKIP = auto()
    FAIL = auto()
    UNDECIDED = auto()  # depends on facts of images that do not exist yet


@dataclass(frozen=True, slots=True)
class PredictedStep:
    path: ItemPath
    foresight: Prediction
    artefact: ArtefactRecord | None = None  # the image to reuse
    unmeasured: frozenset[str] = frozenset()  # facts that the recipe asks of it and nobody measured
    error: Exception | None = None  # why the item fails


def foresee(
    paths: Iterable[ItemPath],
    visits: Iterable[Visit],
    *,
    model_digests: Mapping[str, str],
    find_artefacts: FindArtefacts,
    digest_file: DigestFile,
    recall: Recall | None = None,
) -> Iterator[tuple[Visit, list[PredictedStep]]]:
    """Walks the paths on, visit by visit, one look-up a visit; nothing is computed. Moves the paths: pass copies.

    An item that is undecided at a visit stays so at every later one that it does not skip for certain; an item that
    fails or is rejected is not seen again. `recall` may know a mark whose files need not be read.
    """
    open_paths = list(paths)
    for visit in visits:
        foreseen: list[PredictedStep] = []
        marked: list[tuple[ItemPath, Provenance]] = []
        still_open: list[ItemPath] = []
        for path in open_paths:
            verdict = _prospect(path, visit, model_digests, digest_file, recall)
            if isinstance(verdict, Provenance):
                marked.append((path, verdict))
            elif isinstance(verdict, Exception):
                foreseen.append(PredictedStep(path, Prediction.FAIL, error=verdict))
                continue
            else:
                foreseen.append(PredictedStep(path, verdict))
            if path.rejected is None:
                still_open.append(path)
        open_paths = still_open
        known = find_artefacts(list({mark.fingerprint for _, mark in marked})) if marked else {}
        for path, mark in marked:
            artefact = known.get(mark.fingerprint)
            if artefact is None:
                path.visit(visit, mark, None)
                foreseen.append(PredictedStep(path, Prediction.COMPUTE))
                continue
            lacking = unmeasured(visit, artefact.facts, has_source=path.fingerprint is not None)
            path.visit(visit, mark, None if lacking else artefact.facts)
            foreseen.append(PredictedStep(path, Prediction.REUSE, artefact, lacking))
        yield visit, foreseen


def unmeasured(visit: Visit, facts: Mapping[str, Fact], *, has_source: bool) -> frozenset[str]:
    """What the recipe asks for and was not measured when the image was made, maybe for another recipe.

    Facts that compare with the step's input cannot be measured where it had none (`has_source`).
    """
    return frozenset(name for name in visit.facts - facts.keys() if has_source or not FACTS[name].reads_source)


def _prospect(
    path: ItemPath, visit: Visit, model_digests: Mapping[str, str], digest_file: DigestFile, recall: Recall | None
) -> Provenance | Prediction | Exception:
    try:
        wanted = path.wants(visit)
        if wanted is None:
            path.undecided = True
            return Prediction.UNDECIDED
        if not wanted:
            return Prediction.SKIP
        known = recall(path, visit) if recall is not None else None
        return known if known is not None else provenance_of(path, visit, model_digests, digest_file)
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
) -> dict[str, Forecast]:
    """What these items would need, by visit id in recipe order. Items that share a fingerprint are computed once.

    `accepted`: name of an item -> fingerprints of its images that a person has accepted.
    """
    result = {}
    known = accepted or {}
    walk = foresee(
        [ItemPath(item, program, known.get(item.name, frozenset())) for item in items],
        program.visits,
        model_digests=model_digests,
        find_artefacts=find_artefacts,
        digest_file=cache(digest_file),
    )
    for visit, foreseen in walk:
        count = {kind: sum(one.foresight is kind for one in foreseen) for kind in Prediction}
        computed = len({one.path.made[visit.id] for one in foreseen if one.foresight is Prediction.COMPUTE})
        result[visit.id] = Forecast(
            computed=computed,
            reused=count[Prediction.REUSE] + count[Prediction.COMPUTE] - computed,
            skipped=count[Prediction.SKIP],
            undecided=count[Prediction.UNDECIDED],
        )
    return result
