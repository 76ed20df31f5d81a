"""A small job for tests of the ledger and the manifest."""

from datetime import UTC, datetime
from typing import Any

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, JobRecord, Outcome, StepOutcome

ROOT = "file:///out"
RECIPE = Recipe.model_validate(
    {
        "name": "sprites",
        "steps": [
            {"id": "draw", "step": "generate", "model": "starter"},
            {"id": "cut", "step": "remove_background"},
            {"id": "big", "step": "upscale", "scale": 2, "when": "width < 100"},
        ],
    }
)


def start(ledger: Ledger, count: int = 6, *, shard_size: int = 3, **changes: Any) -> JobRecord:
    items = [
        (Item(index=i, name=f"item-{i}", seed=2**63 - 1 - i, prompt=f"a fox é {i}", vars={"n": i}), i // shard_size)
        for i in range(count)
    ]
    arguments: dict[str, Any] = {
        "job_id": "job-1",
        "name": "foxes",
        "output": ROOT,
        "revision": "a" * 64,
        "recipe": RECIPE,
        "model_digests": {"starter/diffusion": "d" * 64},
        "items": items,
    }
    return ledger.runs.start(**{**arguments, **changes})


def artefact(index: int, step: str = "generate", **changes: Any) -> ArtefactRecord:
    fields: dict[str, Any] = {
        "root": ROOT,
        "fingerprint": f"{step}-{index}",
        "key": f"artefacts/{step}-{index}.png",
        "sha256": "5" * 64,
        "size": 1234,
        "width": 64,
        "height": 48,
        "content_type": "image/png",
        "step": step,
        "facts": {"alpha_coverage": 0.5, "has_alpha": True},
        "created_at": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    }
    return ArtefactRecord(**{**fields, **changes})


def computed(index: int, step: str = "generate", seconds: float = 0.5) -> StepOutcome:
    return StepOutcome(index, Outcome.COMPUTED, seconds, artefact(index, step))


def reused(index: int, step: str = "generate") -> StepOutcome:
    return StepOutcome(index, Outcome.REUSED, 0.0, artefact(index, step))
