"""Which finals a done item should have, and which lie in the store for nobody."""

from collections.abc import Collection, Iterator

from flows.findings import Finding, Kind
from storage.artefacts import ArtefactStore
from storage.finals import final_keys
from storage.keys import job_key
from storage.records import ItemReport, JobRecord


def expected_finals(job: JobRecord, report: ItemReport) -> dict[str, str]:
    """Step id -> key."""
    images = ((step, entry.artefact.key) for step, entry in report.steps.items() if entry.artefact is not None)
    return final_keys(job, report.record.item.name, images)


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
