"""Queries about step outcomes and artefacts."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, or_, select, update
from sqlmodel import Session, col

from storage.ledger.database import Database, Repository, change, query, slices, transaction, upsert
from storage.ledger.jobs import step_order
from storage.ledger.records import ArtefactRecord, ItemResult, ItemState, Outcome, StepCounts, StepOutcome, step_of
from storage.ledger.tables import ArtefactRow, ItemRow, JobRow, ReviewRow, StepRunRow
from storage.objects.keys import fingerprint_of

log = logging.getLogger(__name__)

_ARTEFACT_FIELDS = tuple(ArtefactRecord.__dataclass_fields__)
_ARTEFACT_COLUMNS = tuple(getattr(ArtefactRow, name) for name in _ARTEFACT_FIELDS)
RESULT_FIELDS = tuple(ItemResult.__dataclass_fields__)
_NONE: Mapping[int, Any] = {}
_SAME_IMAGE = and_(
    col(ArtefactRow.root) == col(StepRunRow.root), col(ArtefactRow.fingerprint) == col(StepRunRow.fingerprint)
)
_OUTCOME_FIELDS = ("visit", "index", "outcome", "seconds", "error", "traceback", "cost")


class StepRepository(Repository):
    """Outcomes of items at steps, and their images."""

    @query
    def find_artefacts(self, session: Session, root: str, fingerprints: Sequence[str]) -> dict[str, ArtefactRecord]:
        """Return the known artefacts by fingerprint. Any number of fingerprints (queried in slices)."""
        found: dict[str, ArtefactRecord] = {}
        for some in _ordered_slices(fingerprints):
            rows = session.execute(
                select(*_ARTEFACT_COLUMNS).where(col(ArtefactRow.root) == root, col(ArtefactRow.fingerprint).in_(some))
            )
            found.update((artefact.fingerprint, artefact) for artefact in (ArtefactRecord(*row) for row in rows))
        return found

    @transaction
    def add_artefacts(self, session: Session, artefacts: Sequence[ArtefactRecord]) -> None:
        """Record images that are in the store already; a row with the same fingerprint stays as it is."""
        _insert_artefacts(artefacts, session, self.database)

    @transaction
    def add_facts(self, session: Session, root: str, fingerprint: str, facts: Mapping[str, Any]) -> None:
        """Add what was measured on an image later. Does nothing if the image is no longer known."""
        row = (col(ArtefactRow.root) == root, col(ArtefactRow.fingerprint) == fingerprint)
        known = session.scalar(select(col(ArtefactRow.facts)).where(*row).with_for_update())
        if known is not None:
            session.execute(update(ArtefactRow).where(*row).values(facts={**known, **facts}))

    @transaction
    def forget_artefacts(self, session: Session, root: str, fingerprints: Sequence[str]) -> None:
        """Delete rows whose object turned out to be missing."""
        for some in _ordered_slices(fingerprints):
            # A step that only measured the image has a row of its own for the same object.
            wanted = (col(ArtefactRow.root) == root, col(ArtefactRow.fingerprint).in_(some))
            keys = list(session.scalars(select(col(ArtefactRow.key)).where(*wanted)))
            change(session, delete(ArtefactRow).where(col(ArtefactRow.root) == root, col(ArtefactRow.key).in_(keys)))

    @query
    def named_images(self, session: Session, root: str, *, only: str | None = None, but: str | None = None) -> set[str]:
        """Return the fingerprints of the store's images that jobs name: all jobs, one job, or all but one."""
        named = select(col(StepRunRow.fingerprint), col(ArtefactRow.key)).outerjoin(ArtefactRow, _SAME_IMAGE)
        named = named.where(col(StepRunRow.root) == root, col(StepRunRow.fingerprint).is_not(None))
        reviewed = select(col(ReviewRow.fingerprint)).join(JobRow, col(JobRow.id) == col(ReviewRow.job_id))
        reviewed = reviewed.where(col(JobRow.output) == root)
        if only is not None:
            named, reviewed = named.where(col(StepRunRow.job_id) == only), reviewed.where(col(JobRow.id) == only)
        if but is not None:
            named, reviewed = named.where(col(StepRunRow.job_id) != but), reviewed.where(col(JobRow.id) != but)
        found = set(session.scalars(reviewed.distinct()))
        for fingerprint, key in session.execute(named.distinct()):
            # A step that only measures an image has a fingerprint of its own for the same object.
            found |= {fingerprint} if key is None else {fingerprint, fingerprint_of(key)}
        return found

    @transaction
    def record(
        self,
        session: Session,
        job_id: str,
        run: int,
        visit: str,
        outcomes: Sequence[StepOutcome],
        ends: Mapping[int, ItemResult] = _NONE,
        paths: Mapping[int, Collection[str]] = _NONE,
    ) -> None:
        """Record a chunk at a step in one transaction; call it after the objects are in the store.

        Inserts new artefacts (an existing row with the same fingerprint stays), upserts the items' outcomes of this
        visit, and ends items (by index); outcomes at visits other than those in `paths` (by index) are deleted. An item
        that is DONE already stays so: a duplicate shard changes nothing. An image found again (REUSED) that this
        ledger saw COMPUTED for the same item keeps that outcome, with its seconds. A run that is no longer the job's
        newest changes no item: only its artefacts are kept.
        """
        artefacts = [outcome.artefact for outcome in outcomes if outcome.artefact is not None]
        _insert_artefacts(artefacts, session, self.database)
        # FOR SHARE: a new run of the job waits until this is committed, other chunks do not.
        current = session.scalar(select(col(JobRow.run)).where(col(JobRow.id) == job_id).with_for_update(read=True))
        if current != run:
            log.warning("Job %s is in run %s: only the artefacts of run %s are kept", job_id, current, run)
            return
        indices = {outcome.index for outcome in outcomes} | ends.keys()
        done = _lock_items(job_id, indices, session)
        open_outcomes = [outcome for outcome in outcomes if outcome.index not in done]
        upsert_outcomes(job_id, run, visit, open_outcomes, session, self.database)
        # An earlier attempt may have gone further than this one, or along another path.
        forget_other_visits(job_id, {index: paths[index] for index in paths if index not in done}, session)
        end_items(job_id, {index: ends[index] for index in ends if index not in done}, session)

    @query
    def counts(self, session: Session, job_id: str, run: int | None = None) -> dict[str, StepCounts]:
        """Return counts by step id, all visits of a step together, for every step of the recipe in its order.

        `run`: count what an earlier run computed as reused, with 0 seconds; by default count as recorded.
        """
        rows = session.execute(
            select(
                col(StepRunRow.visit),
                col(StepRunRow.outcome),
                col(StepRunRow.run),
                func.count(),
                func.coalesce(func.sum(col(StepRunRow.seconds)), 0.0),
                func.coalesce(func.sum(col(StepRunRow.cost)), 0.0),
            )
            .where(col(StepRunRow.job_id) == job_id)
            .group_by(col(StepRunRow.visit), col(StepRunRow.outcome), col(StepRunRow.run))
        )
        totals: dict[str, dict[str, Any]] = {step_id: {} for step_id in step_order(job_id, session)}
        for visit, outcome, recorded_run, count, seconds, cost in rows:
            earlier = run is not None and recorded_run < run and outcome == Outcome.COMPUTED
            seen = Outcome.REUSED.value if earlier else outcome
            total = totals.setdefault(step_of(visit), {})
            total[seen] = total.get(seen, 0) + count
            if not earlier:
                total["seconds"] = total.get("seconds", 0.0) + seconds
                total["cost"] = total.get("cost", 0.0) + cost
        return {step_id: StepCounts(**total) for step_id, total in totals.items()}


def _insert_artefacts(artefacts: Sequence[ArtefactRecord], session: Session, database: Database) -> None:
    rows = [{name: getattr(artefact, name) for name in _ARTEFACT_FIELDS} for artefact in artefacts]
    for row in rows:
        row["facts"] = dict(row["facts"])
    if rows:
        rows.sort(key=lambda row: (row["root"], row["fingerprint"]))
        session.execute(database.insert(ArtefactRow).on_conflict_do_nothing(), rows)


def _ordered_slices(fingerprints: Sequence[str]) -> Iterator[Sequence[str]]:
    return slices(sorted(set(fingerprints)))  # one order for all writers: PostgreSQL cannot deadlock on them


def _lock_items(job_id: str, indices: set[int], session: Session) -> set[int]:
    """Lock the items until the end of the transaction, and return those that are done."""
    done: set[int] = set()
    for some in slices(sorted(indices)):
        rows = session.execute(
            select(col(ItemRow.index), col(ItemRow.state))
            .where(col(ItemRow.job_id) == job_id, col(ItemRow.index).in_(some))
            .order_by(col(ItemRow.index))
            .with_for_update()
        )
        done.update(index for index, state in rows if state == ItemState.DONE)
    return done


def upsert_outcomes(
    job_id: str, run: int, visit: str, outcomes: Sequence[StepOutcome], session: Session, database: Database
) -> None:
    """Insert or replace the items' outcomes at a visit."""
    if not outcomes:
        return
    insert = database.insert(StepRunRow)
    new = insert.excluded
    # A resumed shard finds the image that was computed before: the row with its time and seconds stays.
    found_again = and_(
        col(StepRunRow.outcome) == Outcome.COMPUTED.value,
        new.outcome == Outcome.REUSED.value,
        col(StepRunRow.root) == new.root,
        col(StepRunRow.fingerprint) == new.fingerprint,
    )
    changed = ("run", "outcome", "seconds", "cost", "root", "fingerprint", "error", "traceback", "recorded_at")
    replacing = upsert(insert, changed, where=or_(found_again.is_(None), ~found_again))
    now = datetime.now(UTC)
    session.execute(replacing, [_outcome_row(job_id, run, visit, outcome, now) for outcome in outcomes])


def _outcome_row(job_id: str, run: int, visit: str, outcome: StepOutcome, now: datetime) -> dict[str, Any]:
    row = {name: getattr(outcome, name) for name in ("index", "seconds", "cost", "error", "traceback")}
    row |= {name: getattr(outcome.artefact, name, None) for name in ("root", "fingerprint")}
    return row | {"job_id": job_id, "visit": visit, "run": run, "outcome": outcome.outcome.value, "recorded_at": now}


def forget_other_visits(job_id: str, kept: Mapping[int, Collection[str]], session: Session) -> None:
    """Delete the items' outcomes at visits other than those kept. Costs one query if there are none."""
    gone: list[dict[str, Any]] = []
    for some in slices(sorted(kept)):
        rows = session.execute(
            select(col(StepRunRow.index), col(StepRunRow.visit)).where(
                col(StepRunRow.job_id) == job_id, col(StepRunRow.index).in_(some)
            )
        )
        gone += [{"item": index, "other": visit} for index, visit in rows if visit not in kept[index]]
    if gone:
        row = and_(
            col(StepRunRow.job_id) == job_id,
            col(StepRunRow.index) == bindparam("item"),
            col(StepRunRow.visit) == bindparam("other"),
        )
        session.connection().execute(delete(StepRunRow).where(row), gone)


def result_values(result: ItemResult) -> dict[str, Any]:
    """Return the columns of an item's row that hold its result."""
    values = {name: getattr(result, name) for name in RESULT_FIELDS}
    return values | {"state": result.state.value, "finals": dict(result.finals), "warnings": list(result.warnings)}


def end_items(job_id: str, ends: Mapping[int, ItemResult], session: Session) -> None:
    """Write how items ended, whatever their state: the caller has locked them."""
    rows = [{"job_id": job_id, "index": index, **result_values(end)} for index, end in ends.items()]
    if rows:
        session.execute(update(ItemRow), rows)  # by primary key


def outcomes_of(job_id: str, indices: Sequence[int], session: Session) -> list[tuple[str, StepOutcome]]:
    """Return (visit id, outcome) of these items, at most a slice of them, with the artefacts that are still known."""
    # Columns, not entities: a job of 10,000 items has tens of thousands of rows, and is read as a whole.
    rows = session.execute(
        select(*(getattr(StepRunRow, name) for name in _OUTCOME_FIELDS), *_ARTEFACT_COLUMNS)
        .outerjoin(ArtefactRow, _SAME_IMAGE)
        .where(col(StepRunRow.job_id) == job_id, col(StepRunRow.index).in_(indices))
    )
    return [
        (visit, StepOutcome(index, Outcome(outcome), seconds, _artefact(artefact), error, traceback, cost))
        for visit, index, outcome, seconds, error, traceback, cost, *artefact in rows
    ]


def _artefact(values: Sequence[Any]) -> ArtefactRecord | None:
    """Return the record of the columns of _ARTEFACT_FIELDS, or None if the outer join found no row."""
    return None if values[0] is None else ArtefactRecord(*values)
