"""Today's code goes on with a ledger, outputs and job files of the version before."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from configs.settings.settings import Settings
from flows.job.plan import keep_seeds
from flows.job.request import read_request
from flows.verify.repair import reindex_artefacts
from steps.load import Load
from storage.ledger.ledger import Ledger
from storage.ledger.records import BatchSize, Lease
from storage.objects.folder_store import FolderStore
from tests.support import ROOT
from tests.support.command import Pixelmill, PixelmillHere

pytestmark = pytest.mark.parts

BEFORE = ROOT / "tests/data/version-before"
WHOLE, STOPPED = "whole", "stopped"
DONE = ["square", "wide", "tall"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the version before left, at another path than it was made."""
    copy = Path(shutil.copytree(BEFORE, tmp_path / "before"))
    for file in (copy / "ledger.sql", *copy.glob("out/whole/*.json*")):
        file.write_text(file.read_text().replace("@FOLDER@", str(copy)))
    (copy / "home").mkdir()
    with closing(sqlite3.connect(copy / "home/ledger.db")) as database:
        database.executescript((copy / "ledger.sql").read_text())
    return copy


@pytest.fixture
def pixelmill(folder: Path) -> Pixelmill:
    return PixelmillHere(folder)


@pytest.fixture
def load_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step `load` with the version that it had then: a later one makes its images again."""
    monkeypatch.setattr(Load, "version", 1)
    monkeypatch.setattr(Load, "identity", lambda step, item: {})


def ledger_of(folder: Path) -> Ledger:
    return Ledger(Settings(home=folder / "home").resolved_ledger_url)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("out/**/*.png")}


def test_the_ledger_is_migrated_and_keeps_what_it_holds(folder: Path) -> None:
    with closing(ledger_of(folder)) as ledger:
        assert sorted(job.name for job in ledger.jobs.all()) == [STOPPED, WHOLE]
        whole = next(job for job in ledger.jobs.all() if job.name == WHOLE)
        reports = {report.record.item.name: report for report in ledger.items.reports(whole.id)}
        assert all(report.record.item.wide_seeds for report in reports.values())
        assert {name: report.record.state.value for name, report in reports.items()} == {
            **dict.fromkeys([*DONE, "again"], "done"),
            "tower": "quarantined",
            "damaged": "failed",
        }
        assert list(reports["tall"].steps) == ["photo", "small", "small~2", "tight"]
        assert reports["tower"].record.refused_by == "small"
        size = ledger.fleet.batch_sizes("H100")["0f5c"]
        assert size == BatchSize(4, 2, size.recorded_at)
        assert ledger.leases.find(["job elsewhere"]) == {"job elsewhere": Lease("elsewhere-1/7/1/n", 0)}


def test_status_and_explain_read_it(pixelmill: Pixelmill) -> None:
    jobs = {job["name"]: job for job in pixelmill("status", "--json").document["jobs"]}
    counts = {"total": 6, "pending": 0, "done": 4, "failed": 1, "quarantined": 1, "waiting": 1}
    assert jobs[WHOLE]["items"] == counts
    assert jobs[STOPPED]["items"]["pending"] == 3
    explained = pixelmill("explain", WHOLE, "tower")
    assert explained.status == 0
    assert "facts.this.height <= 15 is not met (facts.this.height is 30)" in " ".join(explained.out.split())


def test_verify_finds_nothing_but_the_pages_that_are_not_kept_here(pixelmill: Pixelmill) -> None:
    verified = pixelmill("verify", WHOLE, "--json").document
    assert {finding["key"] for finding in verified["findings"]} == {"whole/manifest.parquet", "whole/index.html"}
    assert pixelmill("verify", WHOLE, "--repair").status == 0
    assert pixelmill("verify", WHOLE, "--json").document["sound"] is True


def test_its_job_file_plans_to_reuse_its_images(pixelmill: Pixelmill, load_of_before: None) -> None:
    """The fingerprints are the same; the damaged photo alone is no image, and will be none."""
    plan = pixelmill("plan", "whole.yaml", "--json").document
    steps = plan["steps"]
    assert steps["photo"] == {"computed": 0, "reused": 5, "skipped": 0, "undecided": 0}
    assert [failing["item"] for failing in plan["failing"]] == ["damaged"]
    assert (steps["small"]["reused"], steps["tight"]["reused"]) == (7, 2)  # two of them after a retry


def test_its_job_file_asks_for_the_seeds_that_its_ledger_has(folder: Path) -> None:
    settings = Settings(home=folder / "home")
    request = read_request(folder / "whole.yaml", settings)
    with closing(ledger_of(folder)) as ledger:
        (whole,) = [job for job in ledger.jobs.all() if job.name == WHOLE]
        before = {record.item.name: record.item.seed for record in ledger.items.find(whole.id)}
        assert {item.name: item.seed for item in keep_seeds(request, whole, ledger).items} == before
    assert min(before.values()) > 2**32 > max(item.seed for item in request.items)


def test_regate_decides_its_items_under_another_threshold(pixelmill: Pixelmill, load_of_before: None) -> None:
    lower = pixelmill("regate", WHOLE, "--set", "small.require[0]=facts.this.height <= 10", "--json").document
    assert {change["item"]: change["change"] for change in lower["changes"]} == {
        "square": "to_run",
        "tall": "quarantined",
        "tower": "other_record",
        "again": "to_run",
    }
    same = pixelmill("regate", WHOLE, "--set", "small.require[0]=facts.this.height <= 16", "--json", "--apply").document
    assert (same["items"]["unchanged"], same["items"]["other_record"]) == (5, 1)
    assert same["run"]["items"]["done"] == 4


def test_a_lost_ledger_is_rebuilt_from_its_manifest(folder: Path) -> None:
    (folder / "home/ledger.db").unlink()
    lines = [json.loads(line) for line in (folder / "out/whole/manifest.jsonl").read_text().splitlines()]
    fingerprints = {step["fingerprint"] for line in lines for step in line["steps"] if step["fingerprint"]}
    store = FolderStore(folder / "out")
    with closing(ledger_of(folder)) as ledger:
        mended = reindex_artefacts(store, ledger, WHOLE, advance=lambda number: None)
        assert not mended.not_adopted
        found = ledger.steps.find_artefacts(store.root, sorted(fingerprints))
    assert mended.adopted >= len(found) == len(fingerprints)


@pytest.mark.e2e
def test_resume_makes_only_what_is_missing(folder: Path, prefect_server: str) -> None:
    before = files(folder)
    resumed = PixelmillHere(folder, {"PREFECT_API_URL": prefect_server})("resume", STOPPED, "--json")
    assert resumed.document["items"]["done"] == 4, resumed.err
    assert resumed.document["items"]["pending"] == 0
    after = files(folder)
    assert {name: after[name] for name in before} == before
    new = {name for name in set(after) - set(before) if not name.startswith("out/artefacts/")}  # of a newer `load`
    assert new == {"out/stopped/final/again.png", "out/stopped/contact-sheet.png"}
