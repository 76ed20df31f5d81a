"""A small real job to verify and repair: real steps without models, a real ledger, a real store."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from flows.pages.gallery import finish_job
from flows.verify.findings import Kind
from flows.verify.repair import Repair, repair_job
from flows.verify.verify import Verification, verify_job
from steps.recipe import resolve_program
from storage.ledger.records import ArtefactRecord, ItemReport, JobRecord, JobStatus
from storage.objects.artefacts import ArtefactStore
from storage.objects.folder_store import FolderStore
from tests.support.mill import JOB, Mill

RECIPE = {
    "name": "icons",
    "steps": [
        {"id": "original", "step": "load"},
        {"id": "small", "step": "resize", "width": 6},
        {"id": "cut", "step": "trim", "by": "border", "when": "vars.cut"},  # has a fact of its own
    ],
}


def icon_items(folder: Path) -> list[Item]:
    """`twin` shares all images with `first`, `cut` alone visits the last step, and `broken` fails."""
    folder.mkdir(exist_ok=True)
    colors = {"first": "red", "twin": "red", "second": "blue", "cut": "green"}
    items = []
    for index, (name, color) in enumerate(colors.items()):
        image = Image.new("RGB", (12, 12), "white")
        image.paste(color, (4, 4, 8, 10))
        image.save(folder / f"{color}.png")
        items.append(
            Item(index=index, name=name, seed=index, vars={"cut": name == "cut"}, image=str(folder / f"{color}.png"))
        )
    return [*items, Item(index=4, name="broken", seed=4, vars={"cut": False}, image=str(folder / "nowhere.png"))]


class IconJob:
    """Four items done, one failed."""

    def __init__(self, folder: Path, store: ArtefactStore, **changes: object) -> None:
        recipe = Recipe.model_validate({**RECIPE, **changes})
        self.folder, self.store = folder, store
        endpoint = getattr(getattr(store, "_options", None), "endpoint_url", None)
        self.mill = Mill(
            folder,
            resolve_program(recipe),
            icon_items(folder / "input"),
            store=store,
            recipe=recipe,
            s3_endpoint_url=endpoint,
        )
        self.ledger = self.mill.ledger

    def run(self) -> dict[str, int]:
        """Takes the pending items to their end, as a burst does. Returns step id -> images computed."""
        computed: dict[str, int] = {}
        for _, step, counts in self.mill.run():
            computed[step] = computed.get(step, 0) + counts.computed
        progress = self.ledger.items.progress(JOB)
        assert not progress.pending
        self.ledger.jobs.set_status(JOB, JobStatus.DONE if progress.done == progress.total else JobStatus.INCOMPLETE)
        finish_job(self.job, self.ledger, self.mill.settings)
        return {step: count for step, count in computed.items() if count}

    @property
    def job(self) -> JobRecord:
        return self.ledger.jobs.get(JOB)

    def verify(self, *, running: bool = False) -> Verification:
        return verify_job(JOB, self.ledger, self.store, running=running, advance=lambda number: None)

    def repair(self) -> Repair:
        return repair_job(JOB, self.ledger, self.store, self.mill.settings, count=uncounted)

    def report(self, item: str) -> ItemReport:
        return next(report for report in self.mill.reports() if report.record.item.name == item)

    def artefact(self, item: str, step: str) -> ArtefactRecord:
        artefact = self.report(item).steps[step].artefact
        assert artefact is not None
        return artefact

    def final(self, item: str) -> str:
        (key,) = self.report(item).record.finals.values()
        return key

    def alter(self, key: str) -> None:
        """Changes one bit in the middle."""
        data = bytearray(self.store.get(key))
        data[len(data) // 2] ^= 1
        self.store.replace(key, bytes(data), content_type="image/png")

    def truncate(self, key: str) -> None:
        self.store.replace(key, self.store.get(key)[:-20], content_type="image/png")

    def tamper(self, statement: str, values: Mapping[str, object] | None = None) -> None:
        """Changes the ledger behind its back."""
        with sqlite3.connect(self.folder / "home" / "ledger.db") as database:
            assert database.execute(statement, values or {}).rowcount > 0
        database.close()


def icons_in(folder: Path) -> IconJob:
    return IconJob(folder, FolderStore(folder / "out"))


@contextmanager
def uncounted(text: str, total: int | None) -> Iterator[object]:
    yield lambda number: None


def found(verification: Verification) -> list[tuple[Kind, str | None, str | None]]:
    """Kind, item and key of each finding."""
    return [(finding.kind, finding.item, finding.key) for finding in verification.findings.listed]
