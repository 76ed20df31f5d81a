"""The mark in a job's folder: it identifies the ledger of the job whose finals are there."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from storage.ledger.records import JobRecord
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject
from storage.objects.keys import job_key

MARK = "mark.json"


class Mark(NamedTuple):
    """A job as in its ledger. No two ledgers begin a job of one id at the same microsecond."""

    job: str
    begun: str  # when its ledger first saw it: ISO, UTC
    revision: str  # of the run that began last
    is_forgotten: bool = False  # by its ledger: the folder is free, and its manifest keeps nothing

    def is_of(self, job: JobRecord | None) -> bool:
        """Return whether this job of the ledger has left the mark."""
        return job is not None and (job.id, job.created_at) == (self.job, datetime.fromisoformat(self.begun))


def read_mark(store: ArtefactStore, name: str) -> Mark | None:
    """Return the mark in the folder of a job of this name; None if there is none, as before a first run."""
    try:
        document: dict[str, Any] = json.loads(store.get(job_key(name, MARK)))
        mark = Mark(
            str(document["job"]),
            str(document["begun"]),
            str(document["revision"]),
            bool(document.get("is_forgotten", False)),
        )
        datetime.fromisoformat(mark.begun)
    except (MissingObject, DamagedObject, ValueError, LookupError, TypeError):
        return None
    return mark


def write_mark(store: ArtefactStore, job: JobRecord, *, forgotten: bool = False) -> None:
    """Mark the job's folder as this ledger's, also where it was another's."""
    mark = Mark(job.id, job.created_at.isoformat(), job.revision, forgotten)
    store.replace(job_key(job.name, MARK), json.dumps(mark._asdict()).encode(), content_type="application/json")
