"""A job of null steps that is decided again: a real ledger, a real store, real shards, no server."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from flows.burst.distinct import settle_repetitions
from flows.pages.gallery import finish_job
from flows.regate.recipe import NewRecipe
from flows.regate.reevaluate import Change
from flows.regate.regate import Applied, RegatePlan, apply, plan_regate
from flows.report.report import Summary, build_summary
from flows.verify.verify import verify_job
from gpu_worker.shard.shard_run import ShardRun
from steps.recipe import resolve_program
from storage.ledger.lease import HeldLease
from storage.ledger.records import ItemReport, ItemState, JobRecord, JobStatus, Review, ReviewVerdict
from tests.support.mill import JOB, Mill

Document = dict[str, Any]


class RegatedJob:
    """Its recipes are documents, as a file has them. `computed` counts images by step id since it was last emptied."""

    def __init__(self, folder: Path, recipe: Document, items: Sequence[Item], **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        read = Recipe.model_validate(recipe)
        self.mill = Mill(folder, resolve_program(read), items, recipe=read, chunk_size=4, **settings)
        self.ledger, self.store, self.settings = self.mill.ledger, self.mill.store, self.mill.settings
        self.computed: dict[str, int] = {}

    def run(self) -> "RegatedJob":
        """From its beginning to its end."""
        self.bring_to_end(self.mill.start())
        return self

    def bring_to_end(self, job: JobRecord, _: HeldLease | None = None) -> Summary:
        """As a burst does."""
        with ShardRun(
            job=job,
            program=resolve_program(job.recipe),
            items=self.ledger.items.find(JOB, states=[ItemState.PENDING]),
            shard=0,
            store=self.store,
            ledger=self.ledger,
            runtime=self.mill.runtime,
            settings=self.settings,
        ) as shard:
            for chunk, step in shard.schedule():
                counts = shard.run_step(chunk, step)
                if counts.computed:
                    self.computed[step.id] = self.computed.get(step.id, 0) + counts.computed
        assert not self.ledger.items.progress(JOB).pending
        settle_repetitions(job, self.ledger, self.settings)
        progress = self.ledger.items.progress(JOB)
        self.ledger.jobs.set_status(JOB, JobStatus.DONE if progress.done == progress.total else JobStatus.INCOMPLETE)
        finish_job(self.ledger.jobs.get(JOB), self.ledger, self.settings)
        return build_summary(self.ledger, self.ledger.jobs.get(JOB), self.store, run=job.run)

    def wanted(self, recipe: Document | None, *parameters: str) -> NewRecipe:
        if recipe is None:
            return NewRecipe(None, parameters)
        path = self.folder / "new.yaml"
        path.write_text(json.dumps(recipe))
        return NewRecipe(str(path), parameters)

    def decide(self, recipe: Document | None, *parameters: str) -> RegatePlan:
        return plan_regate(JOB, self.wanted(recipe, *parameters), self.ledger, self.settings)

    def apply(self, recipe: Document | None, *parameters: str) -> Applied:
        self.computed.clear()
        return apply(
            JOB,
            self.wanted(recipe, *parameters),
            self.ledger,
            self.settings,
            run=self.bring_to_end,
        )

    def review(self, item: str, fingerprint: str, verdict: ReviewVerdict) -> None:
        self.ledger.reviews.add(JOB, [Review(item, fingerprint, verdict, None, None, datetime.now(UTC))])

    def reports(self) -> list[ItemReport]:
        return self.mill.reports()

    def finals(self) -> dict[str, bytes]:
        return self.mill.finals()

    def is_sound(self) -> bool:
        found = verify_job(JOB, self.ledger, self.store, running=False, advance=lambda number: None)
        assert not found.findings.listed
        return found.sound and found.complete

    def outcomes(self) -> list[tuple[Any, ...]]:
        """Of each item what a run in a new ledger would come to as well."""
        return [
            (
                report.record.state,
                report.record.error,
                report.record.error_step,
                report.record.warnings,
                (report.record.refused_image, report.record.refused_by),
                dict(report.record.finals),
                {
                    visit: (entry.artefact.fingerprint if entry.artefact is not None else entry.error)
                    for visit, entry in report.steps.items()
                },
            )
            for report in self.reports()
        ]


def changes(plan: RegatePlan) -> dict[str, Change]:
    """The items that are not unchanged."""
    return {each.item.name: each.change for each in plan.items if each.change is not Change.UNCHANGED}
