"""The ledger's queries about step outcomes and artefacts."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, or_, select, update
from sqlmodel import Session, col

from storage.ledger.database import SLICE, Database
from storage.ledger.finals import step_of
from storage.ledger.records import ArtefactRecord, ItemResult, ItemState, Outcome, StepCounts, StepOutcome
from storage.ledger.tables import ArtefactRow, ItemRow, JobRow, ModelLoadRow, StepRunRow

log = logging.getLogger(__name__)

_ARTEFACT_FIELDS = tuple(ArtefactRecord.__dataclass_fields__)
_ARTEFACT_COLUMNS = tuple(getattr(ArtefactRow, name) for name in _ARTEFACT_FIELDS)
_ENTRY_FIELDS = ("step_id", "index", "outcome", "seconds", "error", "traceback", "cost")


def find_artefacts(root: str, fingerprints: Sequence[str], *, session: Session) -> dict[str, ArtefactRecord]:
    found: dict[str, ArtefactRecord] = {}
    for some in _slices(fingerprints):
        query = select(*_ARTEFACT_COLUMNS).where(col(ArtefactRow.root) == root, col(ArtefactRow.fingerprint).in_(some))
        found.update(
            (artefact.fingerprint, artefact) for artefact in (ArtefactRecord(*row) for row in session.execute(query))
        )
    return found


def forget_artefacts(root: str, fingerprints: Sequence[str], *, session: Session) -> None:
    for some in _slices(fingerprints):
        # A step that only measured the image has a row of its own for the same object.
        keys = select(col(ArtefactRow.key)).where(col(ArtefactRow.root) == root, col(ArtefactRow.fingerprint).in_(some))
        gone = list(session.scalars(keys))
        session.execute(
            delete(ArtefactRow).where(col(ArtefactRow.root) == root, col(ArtefactRow.key).in_(gone)),
            execution_options={"synchronize_session": False},
        )


def add_facts(root: str, fingerprint: str, facts: Mapping[str, Any], *, session: Session) -> None:
    row = (col(ArtefactRow.root) == root, col(ArtefactRow.fingerprint) == fingerprint)
    known = session.scalar(select(col(ArtefactRow.facts)).where(*row).with_for_update())
    if known is not None:
        session.execute(update(ArtefactRow).where(*row).values(facts={**known, **facts}))


def add_artefacts(artefacts: Sequence[ArtefactRecord], *, session: Session, database: Database) -> None:
    rows = [{name: getattr(artefact, name) for name in _ARTEFACT_FIELDS} for artefact in artefacts]
    for row in rows:
        row["facts"] = dict(row["facts"])
    if rows:
        rows.sort(key=lambda row: (row["root"], row["fingerprint"]))
        session.execute(database.insert(ArtefactRow).on_conflict_do_nothing(), rows)


def _slices(fingerprints: Sequence[str]) -> Iterator[list[str]]:
    unique = sorted(set(fingerprints))  # one order for all writers: PostgreSQL cannot deadlock on them
    for start in range(0, len(unique), SLICE):
        yield unique[start : start + SLICE]


def record_step(
    job_id: str,
    run: int,
    step_id: str,
    entries: Sequence[StepOutcome],
    ends: Sequence[ItemResult],
    *,
    session: Session,
    database: Database,
) -> None:
    artefacts = [entry.artefact for entry in entries if entry.artefact is not None]
    add_artefacts(artefacts, session=session, database=database)
    # FOR SHARE: a new run of the job waits until this is committed, other chunks do not.
    current = session.scalar(select(col(JobRow.run)).where(col(JobRow.id) == job_id).with_for_update(read=True))
    if current != run:
        log.warning("Job %s is in run %s: what run %s found out is kept as artefacts only", job_id, current, run)
        return
    done = _lock_items(job_id, {entry.index for entry in entries} | {end.index for end in ends}, session)
    upsert_outcomes(job_id, run, step_id, [entry for entry in entries if entry.index not in done], session, database)
    ends = [end for end in ends if end.index not in done]
    # An earlier walk may have come farther than this one, or another way.
    forget_other_steps(job_id, {end.index: end.visits for end in ends if end.visits is not None}, session)
    end_items(job_id, ends, session=session)


def _lock_items(job_id: str, indices: set[int], session: Session) -> set[int]:
    """Those of the items that are done already. No other transaction changes any of them before this one ends."""
    done: set[int] = set()
    ordered = sorted(indices)
    for start in range(0, len(ordered), SLICE):
        query = (
            select(col(ItemRow.index), col(ItemRow.state))
            .where(col(ItemRow.job_id) == job_id, col(ItemRow.index).in_(ordered[start : start + SLICE]))
            .order_by(col(ItemRow.index))
            .with_for_update()
        )
        done.update(index for index, state in session.execute(query) if state == ItemState.DONE)
    return done


def upsert_outcomes(
    job_id: str, run: int, step_id: str, entries: Sequence[StepOutcome], session: Session, database: Database
) -> None:
    if not entries:
        return
    insert = database.insert(StepRunRow)
    new = insert.excluded
    changed = ("run", "outcome", "seconds", "cost", "root", "fingerprint", "error", "traceback", "recorded_at")
    # A resumed shard finds the image that was computed before: the row that says when and how long stays.
    found_again = and_(
        col(StepRunRow.outcome) == Outcome.COMPUTED.value,
        new.outcome == Outcome.REUSED.value,
        col(StepRunRow.root) == new.root,
        col(StepRunRow.fingerprint) == new.fingerprint,
    )
    upsert = insert.on_conflict_do_update(
        index_elements=["job_id", "index", "step_id"],
        set_={name: new[name] for name in changed},
        where=or_(found_again.is_(None), ~found_again),
    )
    now = datetime.now(UTC)
    session.execute(upsert, [_outcome_row(job_id, run, step_id, entry, now) for entry in entries])


def _outcome_row(job_id: str, run: int, step_id: str, entry: StepOutcome, now: datetime) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "index": entry.index,
        "step_id": step_id,
        "run": run,
        "outcome": entry.outcome.value,
        "seconds": entry.seconds,
        "cost": entry.cost,
        "root": entry.artefact.root if entry.artefact else None,
        "fingerprint": entry.artefact.fingerprint if entry.artefact else None,
        "error": entry.error,
        "traceback": entry.traceback,
        "recorded_at": now,
    }


def forget_other_steps(job_id: str, kept: Mapping[int, Collection[str]], session: Session) -> None:
    """What is recorded of these items at other visits than theirs. Whoever deletes nothing pays for one query."""
    wanted = sorted(kept)
    gone: list[dict[str, Any]] = []
    for start in range(0, len(wanted), SLICE):
        query = select(col(StepRunRow.index), col(StepRunRow.step_id)).where(
            col(StepRunRow.job_id) == job_id, col(StepRunRow.index).in_(wanted[start : start + SLICE])
        )
        gone += [
            {"of_item": index, "of_step": step_id}
            for index, step_id in session.execute(query)
            if step_id not in kept[index]
        ]
    if gone:
        statement = delete(StepRunRow).where(
            and_(
                col(StepRunRow.job_id) == job_id,
                col(StepRunRow.index) == bindparam("of_item"),
                col(StepRunRow.step_id) == bindparam("of_step"),
            )
        )
        session.connection().execute(statement, gone)


def end_items(job_id: str, ends: Sequence[ItemResult], *, session: Session) -> None:
    """Whatever they were before: the caller has locked them."""
    rows = [
        {
            "job_id": job_id,
            "index": end.index,
            "state": end.state.value,
            "error": end.error,
            "error_step": end.error_step,
            "finals": dict(end.finals),
            "warnings": list(end.warnings),
            "refused_image": end.refused_image,
            "refused_by": end.refused_by,
        }
        for end in ends
    ]
    if rows:
        session.execute(update(ItemRow), rows)  # by primary key


def count_steps(job_id: str, run: int | None, step_ids: Sequence[str], *, session: Session) -> dict[str, StepCounts]:
    query = (
        select(
            col(StepRunRow.step_id),
            col(StepRunRow.outcome),
            col(StepRunRow.run),
            func.count(),
            func.coalesce(func.sum(col(StepRunRow.seconds)), 0.0),
            func.coalesce(func.sum(col(StepRunRow.cost)), 0.0),
        )
        .where(col(StepRunRow.job_id) == job_id)
        .group_by(col(StepRunRow.step_id), col(StepRunRow.outcome), col(StepRunRow.run))
    )
    totals: dict[str, dict[str, Any]] = {step_id: {} for step_id in step_ids}
    for visit, outcome, recorded_run, count, seconds, cost in session.execute(query):
        earlier = run is not None and recorded_run < run and outcome == Outcome.COMPUTED
        seen = Outcome.REUSED.value if earlier else outcome
        total = totals.setdefault(step_of(visit), {})
        total[seen] = total.get(seen, 0) + count
        if not earlier:
            total["seconds"] = total.get("seconds", 0.0) + seconds
            total["cost"] = total.get("cost", 0.0) + cost
    return {step_id: StepCounts(**total) for step_id, total in totals.items()}


def cost_of_run(job_id: str, run: int, *, session: Session) -> float:
    """What the run has cost so far, model loads included."""
    total = 0.0
    for table in (StepRunRow, ModelLoadRow):
        query = select(func.sum(col(table.cost))).where(col(table.job_id) == job_id, col(table.run) == run)
        total += session.scalar(query) or 0.0
    return total


def entries_between(job_id: str, first: int, last: int, *, session: Session) -> list[tuple[str, StepOutcome]]:
    """(step id, outcome) of all items from `first` to `last`, with the artefacts that are still known."""
    return _entries(job_id, col(StepRunRow.index).between(first, last), session)


def entries_of(job_id: str, indices: Sequence[int], *, session: Session) -> list[tuple[str, StepOutcome]]:
    """Likewise of these items, at most a slice of them."""
    return _entries(job_id, col(StepRunRow.index).in_(indices), session)


def _entries(job_id: str, items: ColumnElement[bool], session: Session) -> list[tuple[str, StepOutcome]]:
    same = and_(
        col(ArtefactRow.root) == col(StepRunRow.root), col(ArtefactRow.fingerprint) == col(StepRunRow.fingerprint)
    )
    # Columns, not entities: a job of 10,000 items has tens of thousands of rows, and is read as a whole.
    query = (
        select(*(getattr(StepRunRow, name) for name in _ENTRY_FIELDS), *_ARTEFACT_COLUMNS)
        .outerjoin(ArtefactRow, same)
        .where(col(StepRunRow.job_id) == job_id, items)
    )
    return [
        (step_id, StepOutcome(index, Outcome(outcome), seconds, _artefact(artefact), error, traceback, cost))
        for step_id, index, outcome, seconds, error, traceback, cost, *artefact in session.execute(query)
    ]


def _artefact(values: Sequence[Any]) -> ArtefactRecord | None:
    """From the columns of _ARTEFACT_FIELDS; None where an outer join found none."""
    return None if values[0] is None else ArtefactRecord(*values)
