"""A small real job of which a gate in the middle refuses some items."""

from pathlib import Path
from typing import Any

from storage.ledger.records import ItemState
from storage.objects.folder_store import FolderStore
from tests.support.jobs.verified_job import IconJob
from tests.support.mill import JOB

GATE = {"that": "item.name == 'second' or facts.this.width > 100", "because": "too narrow"}
STEPS: list[dict[str, Any]] = [
    {"id": "original", "step": "load"},
    {"id": "small", "step": "resize", "width": 6, "require": [GATE]},
    {"id": "large", "step": "resize", "width": 24},
]


def refused_icons(folder: Path, **changes: object) -> IconJob:
    return IconJob(folder, FolderStore(folder / "out"), **{"steps": STEPS, **changes})


def refused_job(folder: Path, **changes: object) -> IconJob:
    """`first`, `twin` and `cut` are refused at `small`, `second` is done, `broken` failed."""
    job = refused_icons(folder, **changes)
    job.run()
    return job


def states(job: IconJob) -> dict[str, ItemState]:
    return {record.item.name: record.state for record in job.ledger.items.find(JOB)}
