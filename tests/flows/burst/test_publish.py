"""The report as people read it in the Prefect UI."""

from pathlib import Path

import pytest

from configs.settings.settings import Settings
from flows.burst.publish import artifact_key, report_markdown
from flows.report.report import Failure, ItemCounts, StepSummary, Summary, SummaryError
from storage.ledger.records import JobRecord, JobStatus
from storage.objects.open_store import open_store
from tests.support.ledger_samples import start
from tests.support.new_ledger import new_ledger
from tests.support.servers.s3 import S3Server

SUMMARY = Summary(
    job="job-1",
    status=JobStatus.INCOMPLETE,
    items=ItemCounts(total=6, done=4, failed=2),
    steps={"draw": StepSummary(computed=4, seconds=2, cost=0.5), "big": StepSummary(skipped=4)},
    model_loads={"starter/diffusion": 1},
    seconds=75,
    cost=0.5,
    failures=(Failure(item="<b>|x", step="draw", message="no\nprompt"),),
)


@pytest.fixture
def job(tmp_path: Path) -> JobRecord:
    ledger = new_ledger(tmp_path / "ledger.db")
    record = start(ledger, output=f"file://{tmp_path}/out")
    ledger.close()
    return record


def test_a_report_has_counts_times_costs_and_failures(job):
    settings = Settings(gallery_url="http://127.0.0.1:4201")
    text = report_markdown(job, SUMMARY, open_store(job.output, settings), settings)
    assert "# foxes: incomplete, 4 of 6 images, 2 failed in 1 min 15 s, cost 0.50" in text
    assert "| draw | 4 | 0 | 0 | 0 | 2\\.00 s | 0\\.50 s | 0\\.50 | 0\\.12 |" in text
    assert "![Contact sheet](http://127.0.0.1:4201/files/" in text
    assert "[Gallery](http://127.0.0.1:4201/files/" in text
    assert "starter" in text
    assert "<b>" not in text


def test_without_a_price_there_is_no_column_of_costs(job):
    free = SUMMARY.model_copy(update={"cost": 0.0})
    assert "cost" not in report_markdown(job, free, open_store(job.output, Settings()), Settings())


def test_a_folder_that_nobody_serves_is_named_and_not_linked(job, tmp_path):
    text = report_markdown(job, SUMMARY, open_store(job.output, Settings()), Settings())
    assert "](" not in text
    assert "out" in text


def test_a_bucket_s_files_are_signed(job, rclone_server: S3Server, monkeypatch):
    for name, value in rclone_server.environment.items():
        monkeypatch.setenv(name, value)
    settings = rclone_server.settings()
    text = report_markdown(job, SUMMARY, open_store(f"s3://{rclone_server.bucket}/x", settings), settings)
    assert "X-Amz-Signature=" in text
    assert "[Manifest](" in text
    assert "[Gallery](" not in text, "its images would have no signatures"


def test_what_stopped_a_job_comes_first(job):
    stopped = SUMMARY.model_copy(update={"errors": (SummaryError(path="job", message="the budget is spent"),)})
    text = report_markdown(job, stopped, open_store(job.output, Settings()), Settings())
    assert text.splitlines()[2] == "**the budget is spent**"


@pytest.mark.parametrize(
    ("name", "key"), [("spring-icons", "report-spring-icons"), ("Ü x/Y!", "report-x-y"), ("日本", "report")]
)
def test_keys_are_what_prefect_takes(name, key):
    assert artifact_key("report", name) == key
