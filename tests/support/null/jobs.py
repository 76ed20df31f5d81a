"""Jobs over the benchmarks' null steps: images of one color, on a real ledger, in a moment."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from steps.recipe.program import Program, Visit
from storage.ledger.records import (
    ArtefactRecord,
    ItemRecord,
    ItemReport,
    ItemState,
    JobRecord,
    JobStatus,
    Outcome,
    StepOutcome,
)
from tests.support.mill import Mill
from tests.support.null.program_walk import Walk

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def null_job(folder: Path, document: dict[str, Any], items: Sequence[Item], *, run: bool = True) -> Mill:
    """A job of this recipe, run to its end; or begun, and not run."""
    recipe = Recipe.model_validate(document)
    mill = Mill(folder, resolve_program(recipe), items, recipe=recipe)
    if run:
        mill.run()
    return mill


def job_of(recipe: Recipe) -> JobRecord:
    """As a ledger would have it."""
    return JobRecord("job", "job", "r", "1", 1, recipe, {}, JobStatus.RUNNING, 1, None, NOW, NOW, None)


def reported(item: Item, program: Program) -> ItemReport:
    """What a ledger would hold of the item at its end, walked in memory: images of a pixel, few facts."""
    walk = Walk(item, program)
    path = walk.path
    entries = {
        visit.id: StepOutcome(
            item.index, Outcome.COMPUTED, 0.1, _artefact(path.made[visit.id], visit, walk.facts[visit.id])
        )
        for visit in program.visits
        if visit.id in path.made
    }
    if path.rejected is not None:
        end = ItemRecord(ItemState.QUARANTINED, path.rejected.reason, path.rejected.step_id, item=item, shard=0)
    else:
        last = list(path.images())[-1][0]
        end = ItemRecord(ItemState.DONE, finals={last: "f"}, warnings=path.state.warnings, item=item, shard=0)
    return ItemReport(end, entries)


def _artefact(fingerprint: str, visit: Visit, facts: Mapping[str, Any]) -> ArtefactRecord:
    return ArtefactRecord("r", fingerprint, "k", "s", 1, 1, 1, "image/png", visit.name, facts, NOW)


def brightness_of(mill: Mill, visit: str, index: int = 0) -> Any:
    artefact = mill.ledger.items.report("job", index).steps[visit].artefact
    assert artefact is not None
    return artefact.facts["brightness"]
