"""The summary of a run: as JSON, as an exit status, for the terminal, and the contact sheet beside it."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from configs.documents.problems import InvalidInput, Problem
from flows.report.contact_sheet import contact_sheet, write_contact_sheet
from flows.report.labels import SheetLabel
from flows.report.render import format_cost, format_seconds, render_summary
from flows.report.report import (
    MAX_FAILURES,
    Failure,
    ItemCounts,
    StepSummary,
    Summary,
    build_summary,
    exit_status,
    refusal_summary,
    write_report,
)
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobRecord, JobStatus
from storage.objects.folder_store import FolderStore
from storage.objects.keys import job_key
from tests.support.jobs.sprite_job import RECIPE, record_sprite_job, sprite_item, sprite_job

PUBLIC_KEYS = {
    *("job", "status", "items", "steps", "model_loads", "output", "manifest", "gallery", "seconds", "cost", "errors"),
    *("failures", "ways", "review"),
}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "out")


@pytest.fixture
def job(ledger: Ledger, store: FolderStore) -> JobRecord:
    return record_sprite_job(ledger, store, total=30)


def printed(summary: Summary, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    render_summary(summary, console)
    return console.file.getvalue()


def rerun(ledger: Ledger, job: JobRecord, items: int) -> JobRecord:
    return ledger.runs.start(
        job_id=job.id,
        name=job.name,
        output=job.output,
        revision=job.revision,
        recipe=job.recipe,
        model_digests={},
        items=[(sprite_item(index), 0) for index in range(items)],
    )


# -- building --------------------------------------------------------------------------------------------------------


def test_summary_counts_the_first_run(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    summary = build_summary(ledger, job, store, run=1)
    assert summary.items == ItemCounts(total=30, done=25, failed=3, quarantined=2, pending=0)
    assert list(summary.steps) == [step.id for step in RECIPE.steps]
    assert summary.steps["repair"] == StepSummary(computed=8, skipped=17, seconds=1.6)
    assert (summary.steps["generate"].reused, summary.steps["generate"].failed) == (5, 2)
    assert summary.model_loads == {"starter/diffusion": 1}
    assert summary.output == str(Path(store.uri("x")).parent / job.name)
    assert [failure.item for failure in summary.failures] == [sprite_item(index).name for index in (7, 9, 19, 22, 29)]
    assert summary.failures[1].step == "generate"
    assert "out of memory" in summary.failures[1].message


def test_second_run_computes_nothing(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    again = rerun(ledger, job, 30)
    steps = build_summary(ledger, again, store, run=again.run).steps
    assert sum(step.computed + step.seconds for step in steps.values()) == 0
    assert steps["upscale"].reused == 25


def test_places_are_null_until_written(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    before = build_summary(ledger, job, store, run=1)
    assert (before.manifest, before.gallery) == (None, None)
    for name in ("manifest.jsonl", "index.html"):
        store.replace(job_key(job.name, name), b"", content_type="text/plain")
    after = build_summary(ledger, job, store, run=1)
    assert (after.manifest, after.gallery) == (f"{after.output}/manifest.jsonl", f"{after.output}/index.html")


def test_failures_are_capped(ledger: Ledger, store: FolderStore) -> None:
    job = rerun(ledger, sprite_job(store), 150)
    ends = {index: ItemResult(ItemState.FAILED, error="no", error_step="generate") for index in range(150)}
    ledger.steps.record(job.id, 1, "generate", [], ends)
    summary = build_summary(ledger, job, store, run=1)
    assert (len(summary.failures), summary.items.failed) == (MAX_FAILURES, 150)
    assert "the first 20; the manifest has all" in printed(summary)


def test_what_stopped_a_job_is_an_error(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    ledger.jobs.set_status(job.id, JobStatus.FAILED, "the disk is full: free space")
    summary = build_summary(ledger, ledger.jobs.get(job.id), store, run=1)
    assert [(error.path, error.message) for error in summary.errors] == [("job", "the disk is full: free space")]
    assert "the disk is full: free space" in printed(summary)


def test_report_holds_the_public_object(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    summary = build_summary(ledger, job, store, run=1)
    key = write_report(store, job, summary)
    report = json.loads(store.get(key))
    assert key == f"{job.name}/report.json"
    assert set(report) == PUBLIC_KEYS
    assert set(report["items"]) == {"total", "done", "failed", "quarantined", "pending", "waiting"}
    assert set(report["steps"]["generate"]) == {"computed", "reused", "skipped", "failed", "seconds", "cost"}
    assert set(report["failures"][0]) == {"item", "state", "step", "message"}
    assert (report["status"], report["gallery"]) == ("incomplete", None)
    assert Summary.model_validate(report) == summary


def test_refused_input_has_every_mistake() -> None:
    refused = InvalidInput(
        [Problem("items[3].seed", "must be 0 or more", "job.yaml", 12), Problem("recipe", "is missing")]
    )
    summary = refusal_summary(refused)
    assert json.loads(summary.model_dump_json())["errors"] == [
        {"path": "items[3].seed", "message": "must be 0 or more"},
        {"path": "recipe", "message": "is missing"},
    ]
    assert "2 mistakes in the input, nothing was made" in printed(summary)
    assert "job.yaml:12: items[3].seed: must be 0 or more" in printed(summary)


# -- exit status -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "counts", "expected"),
    [
        (JobStatus.DONE, {"done": 4}, 0),
        (JobStatus.INCOMPLETE, {"done": 3, "failed": 1}, 3),
        (JobStatus.INCOMPLETE, {"done": 3, "quarantined": 1}, 3),
        (JobStatus.INCOMPLETE, {"done": 3, "pending": 1}, 1),
        (JobStatus.FAILED, {"done": 3, "failed": 1}, 1),
        (JobStatus.CANCELLED, {"done": 4}, 1),
        (JobStatus.RUNNING, {"done": 4}, 1),
        ("refused", {}, 1),
    ],
)
def test_exit_status(status: str, counts: dict[str, int], expected: int) -> None:
    assert exit_status(Summary(job="j", status=status, items=ItemCounts(total=4, **counts))) == expected


# -- for the terminal ------------------------------------------------------------------------------------------------


def test_terminal_says_what_was_made_where_and_what_failed(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    store.replace(job_key(job.name, "index.html"), b"", content_type="text/html")
    summary = build_summary(ledger, job, store, run=1)
    text = printed(summary, width=200)
    for part in ("25 of 30 images, 3 failed, 2 quarantined", "repair", "skipped", "starter/diffusion", summary.gallery):
        assert part in text
    for failure in summary.failures:
        assert failure.item in text
        assert failure.message in text
    table = text.partition("What failed or was quarantined")[2]
    assert (table.count(" failed "), table.count(" quarantined ")) == (3, 2)


def test_where_all_were_quarantined_the_list_says_so() -> None:
    failures = (Failure(item="fox", state="quarantined", step="draw", message="too dark"),)
    items = ItemCounts(total=1, quarantined=1)
    text = printed(Summary(job="j", status=JobStatus.INCOMPLETE, items=items, failures=failures))
    assert "What was quarantined" in text
    assert "state" not in text


def test_nothing_to_do_is_said_plainly() -> None:
    steps = {"generate": StepSummary(reused=300), "repair": StepSummary(reused=100, skipped=200)}
    done = Summary(job="j", status=JobStatus.DONE, items=ItemCounts(total=300, done=300), steps=steps)
    assert "nothing to do: all 300 images were made before" in printed(done)
    worked = done.model_copy(update={"steps": {**steps, "repair": StepSummary(computed=1, reused=299)}})
    assert "nothing to do" not in printed(worked)


def test_hostile_names_are_printed_as_they_are() -> None:
    failure = Failure(item="[red]name[/red] [/]", step="generate", message="[bold]no[/oops]")
    summary = Summary(job="j", status=JobStatus.INCOMPLETE, items=ItemCounts(total=1, failed=1), failures=(failure,))
    text = printed(summary)
    assert failure.item in text
    assert failure.message in text


def test_long_paths_stay_whole_on_narrow_terminals() -> None:
    place = "/very/long" * 12
    summary = Summary(job="j", status=JobStatus.DONE, items=ItemCounts(total=1, done=1), output=place)
    assert place in printed(summary, width=60).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.416, "0.42 s"),
        (12.51, "12.5 s"),
        (59.99, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7499, "2 h 05 min"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


# -- contact sheet ---------------------------------------------------------------------------------------------------


def test_sheet_has_a_cell_for_each_image() -> None:
    images = [(SheetLabel(f"image {index}", index), Image.new("RGB", (30, 60), "red")) for index in range(5)]
    two_rows = contact_sheet(images, columns=3, cell=100)
    one_row = contact_sheet(images[:3], columns=3, cell=100)
    assert two_rows.width == one_row.width > 300
    assert two_rows.height - one_row.height > 100
    assert contact_sheet(images[:1], columns=8, cell=100).width < 130


def test_sheet_shows_checkers_through_alpha_and_keeps_the_aspect() -> None:
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (20, 0, 40, 20))
    colors = {
        color for _, color in contact_sheet([(SheetLabel("half", 0), image)], columns=1, cell=80).getcolors(100_000)
    }
    sheet = contact_sheet([(SheetLabel("", 0), image)], columns=1, cell=80)
    red = sum(count for count, color in sheet.getcolors(100_000) if color == (255, 0, 0))
    assert red == 40 * 40
    assert {(255, 255, 255), (226, 228, 233)} < colors


def test_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([], columns=4, cell=100)


def test_contact_sheet_of_a_job(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    assert write_contact_sheet(store, ledger, job, limit=9) == f"{job.name}/contact-sheet.png"
    nine = Image.open(io.BytesIO(store.get(f"{job.name}/contact-sheet.png")))
    write_contact_sheet(store, ledger, job)
    all_25 = Image.open(io.BytesIO(store.get(f"{job.name}/contact-sheet.png")))
    assert round(all_25.width / nine.width, 1) == round(5 / 3, 1)


def test_contact_sheet_bears_a_final_that_is_gone(ledger: Ledger, store: FolderStore, job: JobRecord) -> None:
    for record in ledger.items.find(job.id, states=[ItemState.DONE])[:2]:
        store.delete(record.finals["upscale"])
    assert write_contact_sheet(store, ledger, job)


def test_no_contact_sheet_before_an_item_is_done(ledger: Ledger, store: FolderStore) -> None:
    job = rerun(ledger, sprite_job(store), 3)
    assert write_contact_sheet(store, ledger, job) is None
    assert not store.exists(f"{job.name}/contact-sheet.png")


@pytest.mark.parametrize(
    ("cost", "text"), [(0, "0.00"), (0.0042, "0.0042"), (0.04199, "0.042"), (0.25, "0.25"), (1234.567, "1,234.57")]
)
def test_amounts_for_people(cost: float, text: str) -> None:
    assert format_cost(cost) == text
