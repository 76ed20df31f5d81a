"""The ledger: every query. Knows the state of every item, and nothing else does."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from configs.documents.fields import Item
from configs.job.job import AtReview
from configs.recipe.recipe import Recipe
from configs.recipe.source import Overrides
from storage.ledger import fleet as ledger_fleet
from storage.ledger import items as ledger_items
from storage.ledger import jobs as ledger_jobs
from storage.ledger import leases as ledger_leases
from storage.ledger import regate as ledger_regate
from storage.ledger import reviews as ledger_reviews
from storage.ledger import shards as ledger_shards
from storage.ledger import sizes as ledger_sizes
from storage.ledger import steps as ledger_steps
from storage.ledger.database import Database
from storage.ledger.records import (
    ArtefactRecord,
    BatchSize,
    Fleet,
    ItemRecord,
    ItemReport,
    ItemResult,
    ItemState,
    JobRecord,
    JobStatus,
    Lease,
    ModelLoads,
    Progress,
    RefusedItem,
    Rerecord,
    Review,
    ReviewVerdict,
    ShardRecord,
    ShardState,
    StepCounts,
    StepOutcome,
    Wait,
)


class Ledger:
    """Jobs, items, step runs, artefacts and shards in SQLite (WAL) or PostgreSQL. Safe to share between threads."""

    def __init__(self, url: str, *, patient: bool = False) -> None:
        """`url` is an SQLAlchemy URL. Opens the database and brings its tables up to date (Alembic).

        `patient`: waits for a database that is away as long as any transaction does, as a process should that nobody
        looks at. A person's command hears of a wrong address sooner.

        Raises LedgerError, with what to change, where the database cannot be used.
        """
        self._database = Database(url, patient=patient)

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        self._database.close()

    # -- jobs --------------------------------------------------------------------------------------------------------
    def start_run(
        self,
        *,
        job_id: str,
        name: str,
        output: str,
        revision: str,
        recipe: Recipe,
        model_digests: Mapping[str, str],
        items: Iterable[tuple[Item, int]],  # with the shard each belongs to
        budget: float | None = None,
        review: AtReview = AtReview.END,
        overrides: Overrides | None = None,
    ) -> JobRecord:
        """Begins a run of the job, in one transaction; creates the job or adds 1 to its `run`.

        Same revision as the ledger holds: items keep their state. Another revision (recipe, items or models changed):
        items and step outcomes are replaced, all pending; artefacts stay. Status becomes RUNNING. All shards begin
        anew: pending, without attempts. `overrides` are in the recipe already, and only kept; None: nobody knows them.
        """
        start = ledger_jobs.RunStart(
            job_id, name, output, revision, recipe, model_digests, list(items), budget, review, overrides
        )
        return self._database.write(
            lambda session: ledger_jobs.start_run(start, session=session, database=self._database), repeatable=False
        )

    def change_recipe(
        self,
        job: JobRecord,
        *,
        recipe: Recipe,
        overrides: Overrides | None,
        revision: str,
        model_digests: Mapping[str, str],
        variables: Mapping[int, Mapping[str, Any]],
        ways: Sequence[Rerecord],
    ) -> JobRecord:
        """Begins a run of the job under another recipe, which these items (`ways`) come out of otherwise than before.

        In one transaction; status becomes RUNNING. All other items stay as they are, but for new variables (by item).
        Raises JobWentOn if the job is not as `job` says any more.
        """
        change = ledger_regate.RecipeChange(job, recipe, overrides, revision, model_digests, variables, ways)
        return self._database.write(
            lambda session: ledger_regate.change_recipe(change, session=session, database=self._database),
            repeatable=False,
        )

    def job(self, job_id: str) -> JobRecord:
        """Raises LookupError with a message that names the known jobs nearest to it."""
        return self._database.read(lambda session: ledger_jobs.get_job(job_id, session=session))

    def standing(self, job_id: str) -> tuple[int, JobStatus]:
        """The job's newest run and its status: cheap enough to ask every second. Raises LookupError."""
        return self._database.read(lambda session: ledger_jobs.get_standing(job_id, session=session))

    def jobs(self) -> list[JobRecord]:
        """Newest start first."""
        return self._database.read(lambda session: ledger_jobs.all_jobs(session=session))

    def set_job_status(self, job_id: str, status: JobStatus, error: str | None = None) -> None:
        """Also sets the time of the end, or clears it where the status is none of an ended job."""
        self._database.write(lambda session: ledger_jobs.set_status(job_id, status, error, session=session))

    # -- items -------------------------------------------------------------------------------------------------------
    def items(
        self, job_id: str, *, shard: int | None = None, states: Sequence[ItemState] | None = None
    ) -> list[ItemRecord]:
        """In the job's order."""
        return self._database.read(lambda session: ledger_items.find_items(job_id, shard, states, session=session))

    def reset_items(
        self, job_id: str, *, states: Sequence[ItemState] | None = None, indices: Sequence[int] | None = None
    ) -> int:
        """Makes matching items pending again and clears their errors and failed step outcomes. Returns how many."""
        return self._database.write(
            lambda session: ledger_items.reset_items(job_id, states, indices, session=session), repeatable=False
        )

    def revise_ends(self, job_id: str, run: int, ends: Sequence[ItemResult]) -> None:
        """Ends items otherwise than they have ended, also those that are done: for what a whole job has to decide.

        One transaction. An item that is pending by now, and a run that is no longer the newest, change nothing.
        """
        self._database.write(lambda session: ledger_items.revise_ends(job_id, run, ends, session=session))

    def retry_items(self, job_id: str, states: Sequence[ItemState]) -> int:
        """As `reset_items`; those whose image a person has rejected stay as they are."""
        return self._database.write(
            lambda session: ledger_reviews.reset_undecided(job_id, states, session=session), repeatable=False
        )

    def progress(self, job_id: str) -> Progress:
        counts = self._database.read(lambda session: ledger_items.count_progress(job_id, session=session))
        if counts.total == 0:
            self.job(job_id)  # raises where there is no such job
        return counts

    def common_errors(self, job_id: str, limit: int = 3) -> list[tuple[str, int]]:
        """The most frequent errors of the job's failed items, with their numbers."""
        return self._database.read(lambda session: ledger_items.count_errors(job_id, limit, session=session))

    # -- steps and artefacts -----------------------------------------------------------------------------------------
    def find_artefacts(self, root: str, fingerprints: Sequence[str]) -> dict[str, ArtefactRecord]:
        """Those that are known, by fingerprint. Any number of fingerprints (queried in slices)."""
        return self._database.read(lambda session: ledger_steps.find_artefacts(root, fingerprints, session=session))

    def add_artefacts(self, artefacts: Sequence[ArtefactRecord]) -> None:
        """Records images that are in the store already; a row with the same fingerprint stays as it is."""
        self._database.write(
            lambda session: ledger_steps.add_artefacts(artefacts, session=session, database=self._database)
        )

    def add_facts(self, root: str, fingerprint: str, facts: Mapping[str, Any]) -> None:
        """Adds what was measured on an image later. Does nothing if the image is not known any more."""
        self._database.write(lambda session: ledger_steps.add_facts(root, fingerprint, facts, session=session))

    def forget_artefacts(self, root: str, fingerprints: Sequence[str]) -> None:
        """Drops rows whose object turned out to be missing."""
        self._database.write(lambda session: ledger_steps.forget_artefacts(root, fingerprints, session=session))

    def record_step(
        self, job_id: str, run: int, step_id: str, entries: Sequence[StepOutcome], ends: Sequence[ItemResult] = ()
    ) -> None:
        """One transaction per chunk and step, called after the objects are in the store.

        Inserts new artefacts (an existing row with the same fingerprint stays), upserts the items' outcomes of this
        step, and ends items; what is recorded of these at steps that are not among `ItemResult.visits` goes. An item
        that is DONE already stays so: a duplicate shard changes nothing. An image found again (REUSED) that this
        ledger saw COMPUTED for the same item keeps that outcome, with its seconds. A run that is no longer the job's
        newest changes no item: only its artefacts are kept.
        """
        self._database.write(
            lambda session: ledger_steps.record_step(
                job_id, run, step_id, entries, ends, session=session, database=self._database
            )
        )

    def step_counts(self, job_id: str, run: int | None = None) -> dict[str, StepCounts]:
        """Counts by step id, all visits of a step together, in recipe order; every step of the recipe is present.

        `run`: as that run sees it: what an earlier run computed counts as reused with 0 seconds. None: as recorded.
        """
        order = [step.id for step in self.job(job_id).recipe.leaves]
        return self._database.read(lambda session: ledger_steps.count_steps(job_id, run, order, session=session))

    def cost_of_run(self, job_id: str, run: int) -> float:
        """What the run has cost so far: its images and its model loads."""
        return self._database.read(lambda session: ledger_steps.cost_of_run(job_id, run, session=session))

    def item_reports(self, job_id: str) -> Iterator[ItemReport]:
        """Every item with its step outcomes and artefacts, in the job's order, read in slices (constant memory)."""
        order = {step.id: place for place, step in enumerate(self.job(job_id).recipe.leaves)}
        last = -1
        while True:
            after = last
            some = self._database.read(
                lambda session, after=after: ledger_items.reports_after(job_id, after, order, session=session)  # type: ignore[misc]
            )
            if not some:
                return
            yield from some
            last = some[-1].record.item.index

    def item_report(self, job_id: str, index: int) -> ItemReport:
        """One item as `item_reports` has it. Raises LookupError."""
        order = {step.id: place for place, step in enumerate(self.job(job_id).recipe.leaves)}
        return self._database.read(lambda session: ledger_items.get_report(job_id, index, order, session=session))

    def reports_named(self, job_id: str, names: Sequence[str]) -> dict[str, ItemReport]:
        """By name, the items as `item_reports` has them. Names that the job does not have are left out."""
        order = {step.id: place for place, step in enumerate(self.job(job_id).recipe.leaves)}
        return self._database.read(lambda session: ledger_items.reports_named(job_id, names, order, session=session))

    # -- what people decide ------------------------------------------------------------------------------------------
    def add_reviews(self, job_id: str, reviews: Sequence[Review]) -> None:
        """Records decisions, all or none; one about the same image of the same item replaces the former."""
        self._database.write(
            lambda session: ledger_reviews.add_reviews(job_id, reviews, session=session, database=self._database)
        )

    def reviews(self, job_id: str) -> list[Review]:
        """All decisions about the job's images, also about such as it no longer makes; the newest last."""
        return self._database.read(lambda session: ledger_reviews.find_reviews(job_id, session=session))

    def accepted_images(self, job_id: str) -> dict[str, frozenset[str]]:
        """Name of an item -> fingerprints of its images that no gate shall refuse."""
        return self._database.read(
            lambda session: ledger_reviews.reviewed_images(job_id, ReviewVerdict.ACCEPTED, session=session)
        )

    def rejected_images(self, job_id: str) -> dict[str, frozenset[str]]:
        """Name of an item -> fingerprints of its images that a person rejected."""
        return self._database.read(
            lambda session: ledger_reviews.reviewed_images(job_id, ReviewVerdict.REJECTED, session=session)
        )

    def count_waiting(self, job_id: str) -> int:
        """Items that a gate has quarantined, and about whose image nobody has decided."""
        return self._database.read(lambda session: ledger_reviews.count_waiting(job_id, session=session))

    def refused_images(self, job_id: str) -> dict[str, tuple[str, ReviewVerdict | None]]:
        """Name of an item that a gate has quarantined -> fingerprint of its image, and what was decided about that.

        In the job's order.
        """
        return self._database.read(lambda session: ledger_reviews.refused_images(job_id, session=session))

    def refused_items(self, job_id: str, *, waiting: bool = False, limit: int | None = None) -> Iterator[RefusedItem]:
        """Items that a gate has quarantined, in the job's order, read in slices. `waiting`: the undecided alone."""
        order = {step.id: place for place, step in enumerate(self.job(job_id).recipe.leaves)}
        last, left = -1, limit if limit is not None else sys.maxsize
        while left > 0:
            after, most = last, left
            some = self._database.read(
                lambda session, after=after, most=most: ledger_reviews.refused_after(  # type: ignore[misc]
                    job_id, after, most, order, waiting=waiting, session=session
                )
            )
            if not some:
                return
            yield from some
            last, left = some[-1].record.item.index, left - len(some)

    def release_accepted(self, job_id: str) -> int:
        """Makes items pending whose refused image a person has accepted. Returns how many."""
        return self._release(job_id, ReviewVerdict.ACCEPTED)

    def release_rejected(self, job_id: str) -> int:
        """Makes items pending whose refused image a person has rejected. Returns how many."""
        return self._release(job_id, ReviewVerdict.REJECTED)

    def _release(self, job_id: str, verdict: ReviewVerdict) -> int:
        return self._database.write(
            lambda session: ledger_reviews.release(job_id, verdict, session=session), repeatable=False
        )

    def set_wait(self, wait: Wait) -> None:
        """A burst begins to wait, or waits anew."""
        self._database.write(lambda session: ledger_reviews.set_wait(wait, session=session, database=self._database))

    def waits(self, job_id: str | None = None) -> list[Wait]:
        """Bursts that wait, of all jobs or of one; the one that has waited longest first."""
        return self._database.read(lambda session: ledger_reviews.find_waits(job_id, session=session))

    def wait_of(self, flow_run_id: str) -> Wait | None:
        """What this flow run waits for, if it does."""
        return self._database.read(lambda session: ledger_reviews.find_wait(flow_run_id, session=session))

    def shorten_waits(self, job_id: str, until: datetime) -> None:
        """The job's waiting bursts wait until then only."""
        self._database.write(lambda session: ledger_reviews.shorten_waits(job_id, until, session=session))

    def drop_wait(self, flow_run_id: str) -> None:
        """The flow run waits no more."""
        self._database.write(lambda session: ledger_reviews.drop_wait(flow_run_id, session=session))

    # -- shards and workers ------------------------------------------------------------------------------------------
    def shards(self, job_id: str) -> list[ShardRecord]:
        """In order. `items` counts the shard's items that are still pending."""
        return self._database.read(lambda session: ledger_shards.find_shards(job_id, session=session))

    def set_shard(
        self, job_id: str, shard: int, state: ShardState, *, flow_run_id: str | None = None, error: str | None = None
    ) -> None:
        """Also a heartbeat: touches `updated_at`. RUNNING with a new flow_run_id adds an attempt.

        A flow run that has been followed by another changes nothing. Raises LookupError for an unknown shard.
        """
        self._database.write(
            lambda session: ledger_shards.set_shard(job_id, shard, state, flow_run_id, error, session=session)
        )

    def record_model_load(
        self, job_id: str | None, run: int | None, model: str, worker: str, seconds: float, cost: float = 0.0
    ) -> None:
        """`model` is str(ModelRef). Loads before any job (keep_warm) have no job."""
        self._database.write(
            lambda session: ledger_shards.add_model_load(job_id, run, model, worker, seconds, cost, session=session),
            repeatable=False,
        )

    def model_loads(self, job_id: str, run: int | None = None) -> dict[str, ModelLoads]:
        """By model; `run`: in that run only."""
        return self._database.read(lambda session: ledger_shards.count_model_loads(job_id, run, session=session))

    # -- all jobs together -------------------------------------------------------------------------------------------
    def fleet(self) -> Fleet:
        """What there is to do: one look at a job's row and a seek for each of its shards, however many items."""
        return self._database.read(lambda session: ledger_fleet.fleet(session=session))

    def fleet_progress(self) -> Progress:
        """The items of all running jobs; reads an index entry for each (a million: 0.2 s)."""
        return self._database.read(lambda session: ledger_fleet.fleet_progress(session=session))

    # -- what fits a device ------------------------------------------------------------------------------------------
    def batch_sizes(self, device: str) -> dict[str, BatchSize]:
        """All that is known of this kind of device, by key: one query, and few rows, as most work simply fits."""
        return self._database.read(lambda session: ledger_sizes.find_sizes(device, session=session))

    def record_batch_size(self, device: str, key: str, size: int, relief: int) -> None:
        """What fitted this kind of device after more had not; replaces what was known. `relief` as steps count it."""
        self._database.write(
            lambda session: ledger_sizes.record_size(
                device, key, size, relief, session=session, database=self._database
            )
        )

    def forget_batch_size(self, device: str, key: str) -> None:
        """Nothing limits this work any more."""
        self._database.write(lambda session: ledger_sizes.forget_size(device, key, session=session))

    # -- leases ------------------------------------------------------------------------------------------------------
    def take_lease(self, name: str, holder: str, *, dead: Lease | None = None) -> Lease:
        """Makes `holder` the holder of `name` if nobody is, or if the lease still stands as `dead` says.

        Returns the lease as it stands then: it is the caller's if it names the caller.
        """
        return self._database.write(
            lambda session: ledger_leases.take_lease(name, holder, dead, session=session, database=self._database)
        )

    def beat_lease(self, name: str, holder: str) -> bool:
        """The holder's sign of life. False: the lease is no longer its own, and it has to stop."""
        return self._database.write(lambda session: ledger_leases.beat_lease(name, holder, session=session))

    def drop_lease(self, name: str, holder: str) -> None:
        """Gives the lease up, if it is this holder's."""
        self._database.write(lambda session: ledger_leases.drop_lease(name, holder, session=session))

    def leases(self, names: Iterable[str]) -> dict[str, Lease]:
        """Those of the names that are held."""
        return self._database.read(lambda session: ledger_leases.find_leases(names, session=session))
