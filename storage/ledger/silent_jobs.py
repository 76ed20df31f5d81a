"""Running jobs of which nobody gives a sign of life any more: their bursts are gone."""

import time
from collections.abc import Callable, Sequence

from storage.ledger.holder import is_dead, read_holder
from storage.ledger.job_lease import lease_of_job
from storage.ledger.lease import PATIENCE_SECONDS
from storage.ledger.ledger import Ledger
from storage.ledger.records import Lease


class OrphanedJobs:
    """Tells by looking again and again: one look alone cannot know whether a lease still moves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._signs: dict[str, tuple[Lease, float]] = {}  # by job: as last seen, and since when it stands so

    def look(self, running: Sequence[str], ledger: Ledger) -> dict[str, Lease | None]:
        """Those of the running jobs (ids) that are silent, with the lease that stands still; None: nobody holds it.

        A holder that is known to be dead is silent at once, any other after `PATIENCE_SECONDS`.
        """
        leases = ledger.leases.find([lease_of_job(job_id) for job_id in running])
        signs = {}
        silent: dict[str, Lease | None] = {}
        for job_id in running:
            lease = leases.get(lease_of_job(job_id))
            if lease is None:
                silent[job_id] = None
                continue
            before = self._signs.get(job_id)
            signs[job_id] = before if before is not None and before[0] == lease else (lease, self._clock())
            if self._clock() - signs[job_id][1] > PATIENCE_SECONDS or is_dead(read_holder(lease.holder)):
                silent[job_id] = lease
        self._signs = signs
        return silent
