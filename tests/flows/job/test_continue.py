"""Going on with a job by its id, from the ledger alone."""

from pathlib import Path

import pytest
from sqlalchemy import text

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from flows.job.plan import continue_job
from storage.ledger.database import Database
from storage.ledger.ledger import Ledger
from tests.support.ledger_samples import start


def test_a_job_whose_items_are_lost_is_not_taken_for_a_smaller_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger(url)
    job = start(ledger)
    delete = text('DELETE FROM items WHERE "index" = 2')
    Database(url).write(lambda session: session.connection().execute(delete))
    with pytest.raises(InvalidInput, match=r"lost 1 of the job's 6 items"):
        continue_job(job, ledger, Settings(home=tmp_path))
    assert ledger.jobs.get(job.id) == job
