"""What docs/review.md shows works as shown."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.documents.yaml_source import parse_yaml
from configs.job.job import AtReview, read_job
from configs.settings.settings import Settings
from flows.cli.main import app
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobStatus, ReviewVerdict
from storage.objects.folder_store import FolderStore
from tests.support import ROOT
from tests.support.ledger_samples import computed, start

PAGE = (ROOT / "docs" / "review.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_job_waits() -> None:
    (example,) = blocks("yaml")
    read = read_job(parse_yaml(example.encode(), "review.md"))
    assert read.problems == []
    assert read.value is not None and read.value.review is AtReview.WAIT


def test_the_commands_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELMILL_HOME", str(tmp_path))
    ledger = Ledger(Settings(home=tmp_path).resolved_ledger_url)
    start(ledger, 5, job_id="posters-1", name="posters", output=FolderStore(tmp_path / "out").root)
    names = ["red-key", "blue-key", "green-gem", "gold-coin", "done"]
    ends = {
        index: ItemResult(ItemState.QUARANTINED, error="soft", refused_image=f"generate-{index}", refused_by="sharp")
        for index in range(4)
    }
    ledger.steps.record("posters-1", 1, "draw", [computed(index) for index in range(4)], ends)
    _rename(tmp_path, names)
    ledger.jobs.set_status("posters-1", JobStatus.INCOMPLETE)
    (example,) = blocks("sh")
    for line in example.splitlines():
        command, *words = shlex.split(line, comments=True)
        assert command == "pixelmill"
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    decided = {
        review.item: (review.verdict, review.reason, review.reviewer) for review in ledger.reviews.all("posters-1")
    }
    assert {name: verdict for name, (verdict, _, _) in decided.items()} == {
        "red-key": ReviewVerdict.ACCEPTED,
        "blue-key": ReviewVerdict.ACCEPTED,
        "green-gem": ReviewVerdict.REJECTED,
        "gold-coin": ReviewVerdict.ACCEPTED,
    }
    assert decided["green-gem"][1] == "the handle is missing"
    assert decided["gold-coin"][2] == "mira"
    wrong = CliRunner().invoke(app, ["accept", "posters", "red-key", "rad-key", "done", "--json"])
    assert wrong.exit_code == 2
    assert ["rad-key" in wrong.output, "done" in wrong.output] == [True, True]
    ledger.close()


def _rename(home: Path, names: list[str]) -> None:
    import sqlite3

    with sqlite3.connect(home / "ledger.db") as database:
        database.executemany('UPDATE items SET name = ? WHERE "index" = ?', [(n, i) for i, n in enumerate(names)])
    database.close()
