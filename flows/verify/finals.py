"""Which finals a done item should have, and which lie in the store for nobody."""

from collections.abc import Collection, Iterator

from configs.documents.problems import InvalidInput
from flows.explain.replay import replay
from flows.verify.findings import Finding, Kind
from steps.recipe import resolve_program
from steps.recipe.program import Program
from storage.ledger.finals import final_keys
from storage.ledger.records import ItemReport, JobRecord
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key


def program_of(job: JobRecord) -> Program | None:
    """None where the job has steps that this installation does not know."""
    try:
        return resolve_program(job.recipe)
    except InvalidInput:
        return None


def expected_finals(job: JobRecord, report: ItemReport, program: Program | None) -> dict[str, str]:
    """Visit id -> key, of an item that is done. Without a program, as if each image had been made of the one before."""
    keys = {visit: entry.artefact.key for visit, entry in report.steps.items() if entry.artefact is not None}
    everything = frozenset(entry.artefact.fingerprint for entry in report.steps.values() if entry.artefact is not None)
    if program is None:
        return final_keys(job, report.record.item.name, keys.items())
    path = replay(report.record.item, program, report.steps, accepted=everything)
    return final_keys(job, report.record.item.name, ((visit, keys[visit]) for visit, _ in path.images()))


def stray_finals(
    job: JobRecord, store: ArtefactStore, known: Collection[str], open_names: Collection[str]
) -> Iterator[Finding]:
    """Finals of no item. `known`: the keys of done items; `open_names`: items whose finals may come or be replaced."""
    folder = job_key(job.name, "final/")
    steps = {step.id for step in job.recipe.leaves}
    for key, _ in store.list(folder):
        if key in known:
            continue
        name = key.removeprefix(folder).rpartition(".")[0]
        stem, _, step = name.rpartition(".")
        if name not in open_names and not (step in steps and stem in open_names):
            message = f"{key}: it belongs to no item that is done; delete it if nobody wants it"
            yield Finding(Kind.STRAY_FINAL, message, None, key)
