"""The report as people read it in the Prefect UI."""

from pathlib import Path

import pytest
from prefect.exceptions import FailedRun

from configs.settings.settings import Settings
from flows.burst.form_flow import state_of
from flows.burst.publish import artifact_key, report_markdown
from flows.report.report import Failure, ItemCounts, StepSummary, Summary, SummaryError, gallery_place
from storage.ledger.records import JobRecord, JobStatus
from storage.objects.artefacts import ArtefactStore
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


def with_files(store: ArtefactStore, *names: str) -> ArtefactStore:
    """The store, with these files of the job."""
    for name in names or ("index.html", "manifest.jsonl", "report.json", "contact-sheet.png"):
        store.replace(f"foxes/{name}", b"x", content_type="text/plain")
    return store


def test_a_report_has_counts_times_costs_and_failures(job):
    settings = Settings(gallery_url="http://127.0.0.1:4201")
    text = report_markdown(job, SUMMARY, with_files(open_store(job.output, settings)), settings)
    assert "# foxes: incomplete, 4 of 6 images, 2 failed in 1 min 15 s, cost 0.50" in text
    assert "| draw | 4 | 0 | 0 | 0 | 2\\.00 s | 0\\.50 s | 0\\.50 | 0\\.12 |" in text
    assert "![Contact sheet](http://127.0.0.1:4201/files/" in text
    assert "[Gallery](http://127.0.0.1:4201/files/" in text
    assert "starter" in text
    assert "<b>" not in text


def test_without_a_price_there_is_no_column_of_costs(job):
    free = SUMMARY.model_copy(update={"cost": 0.0})
    assert "cost" not in report_markdown(job, free, open_store(job.output, Settings()), Settings())


def test_a_report_links_only_to_files_that_are_there(job):
    settings = Settings(gallery_url="http://127.0.0.1:4201")
    store = open_store(job.output, settings)
    assert "](" not in report_markdown(job, SUMMARY, store, settings)
    text = report_markdown(job, SUMMARY, with_files(store, "manifest.jsonl"), settings)
    assert text.count("](") == 1 and "[Manifest](" in text


def test_what_waits_for_review_comes_first_in_a_report(job):
    settings = Settings(gallery_url="http://127.0.0.1:4201")
    summary = SUMMARY.model_copy(update={"items": ItemCounts(total=6, done=4, quarantined=2, waiting=2)})
    text = report_markdown(job, summary, with_files(open_store(job.output, settings), "review.html"), settings)
    assert text.splitlines()[2].startswith("**2 items to review** · [Review page](http://127.0.0.1:4201/files/")
    assert state_of(summary).message == "4 of 6 images, 2 quarantined, 2 to review"


def test_a_failed_job_is_a_failure_that_prefect_takes_as_it_is():
    """Of other data than an exception it would log a traceback of its own."""
    with pytest.raises(FailedRun, match="4 of 6 images"):
        state_of(SUMMARY.model_copy(update={"status": JobStatus.FAILED})).result()


def test_a_run_says_first_where_its_images_will_be_seen(job, tmp_path):
    store = open_store(job.output, Settings())
    assert gallery_place(job, store, Settings()) == f"foxes: the gallery will be {tmp_path}/out/foxes/index.html"
    served = Settings(gallery_url="http://127.0.0.1:4201/")
    assert gallery_place(job, store, served) == "foxes: images and gallery: http://127.0.0.1:4201/jobs/job-1"


def test_a_folder_that_nobody_serves_is_named_and_not_linked(job, tmp_path):
    text = report_markdown(job, SUMMARY, with_files(open_store(job.output, Settings())), Settings())
    assert "](" not in text
    assert "out" in text


def test_a_bucket_s_files_are_signed(job, rclone_server: S3Server, monkeypatch):
    for name, value in rclone_server.environment.items():
        monkeypatch.setenv(name, value)
    settings = rclone_server.settings()
    store = with_files(open_store(f"s3://{rclone_server.bucket}/x", settings))
    text = report_markdown(job, SUMMARY, store, settings)
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
