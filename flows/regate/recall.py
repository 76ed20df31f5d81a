"""What is known of images that were made of input files, without reading these files again. Pure; loads no torch."""

from collections.abc import Callable, Iterator, Sequence

from configs.documents.fields import Item
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import replay
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance
from storage.ledger.records import ItemReport, JobRecord


class ProvenanceCache:
    """The marks of the steps that read an item's files, from its way under the recipe until now."""

    def __init__(
        self,
        job: JobRecord,
        reports: Sequence[ItemReport],
        old: Program,
        files_as_before: Callable[[Item], bool],
    ) -> None:
        self._job, self._old, self._files_as_before = job, old, files_as_before
        self._reports = {report.record.item.index: report for report in reports}
        self._ways: dict[int, list[tuple[Visit, Item, str | None, str]]] = {}

    def recall(self, path: ItemPath, visit: Visit) -> Provenance | None:
        """The mark of a visit that the item has made before: the same step, parameters, models and input image."""
        item = visit.item(path.item)
        if not visit.step.item_files(item) or not self._files_as_before(path.item):
            return None
        models = {str(ref): self._job.model_digests.get(str(ref)) for ref in visit.step.model_refs()}
        for earlier, seen, source, fingerprint in self._way(path.item.index):
            if (
                (earlier.name, earlier.step, source) == (visit.name, visit.step, path.fingerprint)
                and earlier.step.identity(seen) == visit.step.identity(item)
                and all(models.values())
            ):
                return Provenance(
                    step=visit.name,
                    version=visit.step.version,
                    identity={},
                    models={},
                    inputs=(),
                    fingerprint=fingerprint,
                )
        return None

    def _way(self, index: int) -> list[tuple[Visit, Item, str | None, str]]:
        """(visit, item as it saw it, input image, fingerprint) of the visits that read files."""
        if index not in self._ways:
            report = self._reports[index]
            self._ways[index] = list(self._read_way(report))
        return self._ways[index]

    def _read_way(self, report: ItemReport) -> Iterator[tuple[Visit, Item, str | None, str]]:
        item, source = report.record.item, None
        everything = frozenset(entry.artefact.fingerprint for entry in report.steps.values() if entry.artefact)
        path = replay(item, self._old, report.steps, accepted=everything)
        by_id = {visit.id: visit for visit in self._old.visits}
        for visit_id, fingerprint in path.made.items():
            visit = by_id[visit_id]
            seen = visit.item(item)
            if visit.step.item_files(seen):
                yield visit, seen, source, fingerprint
            if not visit.step.keeps_image:
                source = fingerprint
