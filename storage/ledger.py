"""The ledger: every query. Knows the state of every item, and nothing else does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from configs.item import Item
from configs.recipe import Recipe
from storage.records import (
    ArtefactRecord,
    ItemEnd,
    ItemRecord,
    ItemReport,
    ItemState,
    JobRecord,
    JobStatus,
    Progress,
    ShardRecord,
    ShardState,
    StepCounts,
    StepEntry,
)


class Ledger:
    """Jobs, items, step runs, artefacts and shards in SQLite (WAL) or PostgreSQL. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        """`url` is an SQLAlchemy URL. Opens the database and brings its tables up to date (Alembic)."""
        raise NotImplementedError

    def close(self) -> None: ...

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
    ) -> JobRecord:
        """Begins a run of the job, in one transaction; creates the job or adds 1 to its `run`.

        Same revision as the ledger holds: items keep their state. Another revision (recipe, items or models changed):
        items and step outcomes are replaced, all pending; artefacts stay. Status becomes RUNNING.
        """
        raise NotImplementedError

    def job(self, job_id: str) -> JobRecord:
        """Raises LookupError with a message that names the known jobs nearest to it."""
        raise NotImplementedError

    def jobs(self) -> list[JobRecord]:
        """Newest start first."""
        raise NotImplementedError

    def set_job_status(self, job_id: str, status: JobStatus, error: str | None = None) -> None:
        raise NotImplementedError

    # -- items -------------------------------------------------------------------------------------------------------
    def items(
        self, job_id: str, *, shard: int | None = None, states: Sequence[ItemState] | None = None
    ) -> list[ItemRecord]:
        """In the job's order."""
        raise NotImplementedError

    def reset_items(
        self, job_id: str, *, states: Sequence[ItemState] | None = None, indices: Sequence[int] | None = None
    ) -> int:
        """Makes matching items pending again and clears their errors and failed step outcomes. Returns how many."""
        raise NotImplementedError

    def progress(self, job_id: str) -> Progress:
        raise NotImplementedError

    # -- steps and artefacts -----------------------------------------------------------------------------------------
    def find_artefacts(self, root: str, fingerprints: Sequence[str]) -> dict[str, ArtefactRecord]:
        """Those that are known, by fingerprint. Any number of fingerprints (queried in slices)."""
        raise NotImplementedError

    def forget_artefacts(self, root: str, fingerprints: Sequence[str]) -> None:
        """Drops rows whose object turned out to be missing."""
        raise NotImplementedError

    def record_step(
        self, job_id: str, run: int, step_id: str, entries: Sequence[StepEntry], ends: Sequence[ItemEnd] = ()
    ) -> None:
        """One transaction per chunk and step, called after the objects are in the store.

        Inserts new artefacts (an existing row with the same fingerprint stays), upserts the items' outcomes of this
        step, and ends items. An item that is DONE already stays so: a duplicate shard changes nothing.
        """
        raise NotImplementedError

    def step_counts(self, job_id: str, run: int | None = None) -> dict[str, StepCounts]:
        """Counts per step id, in recipe order, every step of the recipe present.

        `run`: as that run sees it: what an earlier run computed counts as reused with 0 seconds. None: as recorded.
        """
        raise NotImplementedError

    def item_reports(self, job_id: str) -> Iterator[ItemReport]:
        """Every item with its step outcomes and artefacts, in the job's order, read in slices (constant memory)."""
        raise NotImplementedError

    # -- shards and workers ------------------------------------------------------------------------------------------
    def shards(self, job_id: str) -> list[ShardRecord]:
        """In order. `items` counts the shard's items that are still pending."""
        raise NotImplementedError

    def set_shard(
        self, job_id: str, shard: int, state: ShardState, *, flow_run_id: str | None = None, error: str | None = None
    ) -> None:
        """Also a heartbeat: touches `updated_at`. RUNNING with a new flow_run_id adds an attempt."""
        raise NotImplementedError

    def record_model_load(self, job_id: str | None, run: int | None, model: str, worker: str, seconds: float) -> None:
        """`model` is str(ModelRef). Loads before any job (keep_warm) have no job."""
        raise NotImplementedError

    def model_loads(self, job_id: str, run: int | None = None) -> dict[str, int]:
        raise NotImplementedError
