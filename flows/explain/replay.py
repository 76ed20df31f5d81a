"""The way that an item took, told again from what the ledger knows: without images and without a device."""

from collections.abc import Mapping

from configs.documents.fields import Item
from gpu_worker.walk.item_path import ItemError, ItemPath, Noted
from steps.recipe.program import Program
from storage.images.png_recipe import Provenance
from storage.ledger.records import StepOutcome


def replay(
    item: Item,
    program: Program,
    entries: Mapping[str, StepOutcome],
    *,
    accepted: frozenset[str] = frozenset(),
    notes: list[Noted] | None = None,
    stop_at_gap: bool = False,
) -> ItemPath:
    """Walks the item through the program as far as the entries (by visit id) go.

    `accepted`: fingerprints that no gate rejects. Where facts are missing by now, the item is taken to have gone where
    it has an entry. `stop_at_gap`: goes no further than the first visit that the item came to and has no image of,
    which is noted with the outcome False; else what is behind it is decided as if the item had not gone there.
    """
    path = ItemPath(item, program, accepted, notes)
    try:
        for visit in program.visits:
            wanted = path.wants(visit)
            if path.rejected is not None:
                return path
            entry = entries.get(visit.id)
            if wanted is False or entry is None or entry.artefact is None:
                if wanted and stop_at_gap:
                    if notes is not None:
                        notes.append(Noted(visit, False, {}, image=path.fingerprint))
                    return path
                continue
            path.undecided = False
            path.visit(visit, _mark(visit.name, entry.artefact.fingerprint), entry.artefact.facts)
        path.finish()
    except ItemError:
        pass  # it failed there
    return path


def _mark(step: str, fingerprint: str) -> Provenance:
    return Provenance(step=step, version=0, identity={}, models={}, inputs=(), fingerprint=fingerprint)
