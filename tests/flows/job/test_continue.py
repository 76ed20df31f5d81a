"""Going on with a job by its id, from the ledger alone."""

from pathlib import Path

import pytest
from sqlalchemy import text

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from flows.burst.run_job import resume_job
from flows.job.plan import continue_job
from storage.ledger.database import Database
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus
from storage.objects.artefacts import StoreError
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


def test_a_job_whose_output_takes_nothing_is_over_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    job = start(ledger, output=(tmp_path / "file" / "out").as_uri())
    with pytest.raises(StoreError, match="a part of the path is a file"):
        resume_job(job.id, ledger, Settings(home=tmp_path), log=print, on_start=print)
    ended = ledger.jobs.get(job.id)
    assert ended.status is JobStatus.FAILED
    assert "a part of the path is a file" in str(ended.error)
