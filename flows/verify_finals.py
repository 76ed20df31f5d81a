"""Which finals a done item should have, and which lie in the store for nobody."""

from collections.abc import Collection, Iterator

from flows.findings import Finding, Kind
from storage.artefacts import ArtefactStore
from storage.keys import final_key, job_key
from storage.records import ItemReport, JobRecord


def expected_finals(job: JobRecord, report: ItemReport) -> dict[str, str]:
    """Step id -> key: of the steps to keep that the item visited, or else of the last one."""
    visited = {step: entry.artefact for step, entry in report.steps.items() if entry.artefact is not None}
    kept = [step for step in job.recipe.keep if step in visited] or list(visited)[-1:]
    named_by_step = len(job.recipe.keep) > 1
    finals = {}
    for step in kept:
        extension = visited[step].key.rpartition(".")[2]
        finals[step] = final_key(job.name, report.record.item.name, extension, step=step if named_by_step else None)
    return finals


def stray_finals(
    job: JobRecord, store: ArtefactStore, known: Collection[str], open_names: Collection[str]
) -> Iterator[Finding]:
    """Finals of no item. `known`: the keys of done items; `open_names`: items whose finals may come or be replaced."""
    folder = job_key(job.name, "final/")
    steps = {step.id for step in job.recipe.steps}
    for key, _ in store.list(folder):
        if key in known:
            continue
        name = key.removeprefix(folder).rpartition(".")[0]
        stem, _, step = name.rpartition(".")
        if name not in open_names and not (step in steps and stem in open_names):
            message = f"{key}: it belongs to no item that is done; delete it if nobody wants it"
            yield Finding(Kind.STRAY_FINAL, message, None, key)
