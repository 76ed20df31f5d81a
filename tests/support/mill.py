"""A job on disk for the worker's tests: a real ledger, a real store, a real shard."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from configs.conditions import Condition
from configs.documents.fields import Item
from configs.recipe.recipe import Recipe, RecipeStep
from configs.recipe.source import Overrides
from configs.settings.settings import Settings
from gpu_worker.device.runtime import WorkerRuntime
from gpu_worker.shard.shard_run import ShardRun
from steps.contract import Step
from steps.recipe.program import Block, Decision, Program, ResolvedStep, StepNode, Visit
from storage.ledger.records import ItemReport, ItemState, JobRecord, ReviewVerdict, StepCounts
from storage.objects.artefacts import ArtefactStore
from storage.objects.folder_store import FolderStore
from tests.support.new_ledger import new_ledger

JOB = "job"


def resolved(step_id: str, step: Step, when: str | None = None) -> ResolvedStep:
    return ResolvedStep(step_id, type(step).__name__.lower(), step, Condition.parse(when) if when else None)


def straight(steps: Sequence[ResolvedStep]) -> Program:
    """The program of a recipe without branches and loops but the steps' own conditions."""
    visits = [
        Visit(id=step.id, step_id=step.id, name=step.name, step=step.step, at=at) for at, step in enumerate(steps)
    ]
    decisions = [step.when and Decision(step.when, f"steps[{at}].when", at) for at, step in enumerate(steps)]
    nodes = [StepNode(visit.id, visit, when) for visit, when in zip(visits, decisions, strict=True)]
    return Program(Block(tuple(nodes)), tuple(visits), tuple(each for each in decisions if each is not None))


def steps_of(program: Program) -> dict[str, str]:
    """Step id -> its name in the catalogue."""
    return {visit.step_id: visit.name for visit in program.visits}


class Mill:
    """Runs a job's pending items as one shard, as often as asked."""

    def __init__(
        self,
        folder: Path,
        steps: Sequence[ResolvedStep] | Program,
        items: Sequence[Item],
        *,
        recipe: Recipe | None = None,
        keep: tuple[str, ...] = (),
        store: ArtefactStore | None = None,
        streams: bool | None = None,
        runtime: WorkerRuntime | None = None,
        model_digests: Mapping[str, str] | None = None,
        overrides: Overrides | None = Overrides(),
        **settings: object,
    ) -> None:
        self.settings = Settings.model_validate({"home": folder / "home", "device": "cpu"} | settings)
        self.program = steps if isinstance(steps, Program) else straight(steps)
        self.items, self.streams = items, streams
        self.runtime = runtime or WorkerRuntime(self.settings)
        self.model_digests = model_digests or {}
        self.overrides = overrides  # None: as of a job that began before that was kept
        self.recipe = recipe or Recipe(
            name="recipe",
            keep=keep,
            steps=tuple(RecipeStep(id=name, step=step) for name, step in steps_of(self.program).items()),
        )
        self.store = store or FolderStore(folder / "out")
        (folder / "home").mkdir(exist_ok=True)
        self.ledger = new_ledger(folder / "home" / "ledger.db")

    def start(self) -> JobRecord:
        return self.ledger.runs.start(
            job_id=JOB,
            name=JOB,
            output=self.store.root,
            revision="1",
            recipe=self.recipe,
            model_digests=self.model_digests,
            items=[(item, 0) for item in self.items],
            overrides=self.overrides,
        )

    def open(self) -> ShardRun:
        """Begins a run of the job and its shard. `streams` decides the order; None: as the models fit."""
        job = self.start()
        if (streams := self.streams) is not None:
            self.runtime.fits = lambda refs: streams  # type: ignore[method-assign]
        return ShardRun(
            job=job,
            program=self.program,
            items=self.ledger.items.find(JOB, shard=0, states=[ItemState.PENDING]),
            shard=0,
            store=self.store,
            ledger=self.ledger,
            runtime=self.runtime,
            settings=self.settings,
            accepted=self.ledger.reviews.images_with(JOB, ReviewVerdict.ACCEPTED),
        )

    def run(self) -> list[tuple[str, str, StepCounts]]:
        """(chunk label, step id, counts) of each task, in order."""
        with self.open() as shard:
            return [(chunk.label, step.id, shard.run_step(chunk, step)) for chunk, step in shard.schedule()]

    def reports(self) -> list[ItemReport]:
        return list(self.ledger.items.reports(JOB))

    def outcomes(self) -> list[dict[str, str]]:
        """Per item: step id -> outcome."""
        return [{step: entry.outcome.value for step, entry in report.steps.items()} for report in self.reports()]

    def finals(self) -> dict[str, bytes]:
        """Final key -> bytes."""
        return {key: self.store.get(key) for key, _ in self.store.list(f"{JOB}/final/")}
