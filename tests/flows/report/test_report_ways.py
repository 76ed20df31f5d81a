"""What the report says of gates, attempts and warnings: counted by hand from the ledger, and bounded."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from configs.documents.fields import Item
from configs.settings.settings import Settings
from flows.burst.publish import report_markdown
from flows.explain.explain import Explainer, WayCounts
from flows.pages.gallery import finish_job
from flows.report.render import render_summary
from flows.report.report import (
    MAX_WARNINGS,
    REPORT_NAME,
    GateStats,
    GateSummary,
    ItemWarning,
    Summary,
    WarningCount,
    WhyNot,
    build_summary,
)
from storage.ledger.records import ItemState, JobStatus
from storage.objects.keys import job_key
from storage.objects.open_store import open_store
from tests.support.mill import Mill
from tests.support.null.jobs import null_job
from tests.support.null.recipes import null_steps_known

RECIPE: dict[str, Any] = {
    "name": "checked",
    "steps": [
        {
            "id": "base",
            "step": "null_generate",
            "require": [{"that": "facts.this.brightness < 0.5", "because": "too bright"}, "facts.this.width > 2"],
            "on_fail": {"retry": 2},
        },
        {"require": ["vars.mood != 'dark'"], "id": "mood", "on_fail": "warn"},
        {"id": "last", "step": "null_pass"},
    ],
}
MOODS = ["dark", "fair", "light"]


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    with null_steps_known():
        items = [
            Item(index=index, name=f"i{index}", seed=index, vars={"mood": MOODS[index % 3]}) for index in range(24)
        ]
        made = null_job(tmp_path_factory.mktemp("job"), RECIPE, items)
        made.ledger.jobs.set_status("job", JobStatus.INCOMPLETE)
        yield made
        made.ledger.close()


@pytest.fixture(scope="module")
def summary(mill: Mill) -> Summary:
    return finish_job(mill.ledger.jobs.get("job"), mill.ledger, mill.settings)


def printed(summary: Summary) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    render_summary(summary, console)
    return console.file.getvalue()


def test_gates_are_counted_by_how_images_passed_them(mill: Mill, summary: Summary) -> None:
    reports = mill.reports()
    again = [each for each in reports if "base~2" in each.steps]
    out = [each for each in reports if each.record.state is ItemState.QUARANTINED]
    assert 0 < len(out) < len(again) < len(reports)
    assert summary.ways is not None
    base, mood = summary.ways.gates
    assert base == GateSummary(
        gate="base",
        step="base",
        place="steps[0]",
        tested=24,
        passed=24 - len(again),
        retried=len(again) - len(out),
        quarantined=len(out),
        attempts=sum("base~2" in each.steps for each in reports) + sum("base~3" in each.steps for each in reports),
        reasons=(WhyNot(reason="too bright: facts.this.brightness < 0.5", images=len(again)),),
    )
    warned = sum(bool(each.record.warnings) for each in reports)
    assert (mood.gate, mood.step, mood.place) == ("mood", None, "steps[1]")
    assert (mood.tested, mood.warned, mood.passed) == (24 - len(out), warned, 24 - len(out) - warned)


def test_attempts_are_counted_by_item(mill: Mill, summary: Summary) -> None:
    made = Counter(sum(visit.startswith("base") for visit in each.steps) for each in mill.reports())
    assert summary.ways is not None
    assert summary.ways.attempts == {"base": tuple(made[number] for number in (1, 2, 3))}


def test_warnings_are_listed(mill: Mill, summary: Summary) -> None:
    warned = [record for record in mill.ledger.items.find("job") if record.warnings]
    assert summary.ways is not None
    assert (summary.ways.warned_items, summary.ways.warnings) == (len(warned), len(warned))
    assert summary.ways.warned == tuple(
        ItemWarning(item=record.item.name, message=record.warnings[0]) for record in warned
    )


def test_the_report_of_a_large_job_is_no_longer(mill: Mill) -> None:
    explanation = Explainer(mill.ledger.jobs.get("job")).explain(mill.ledger.items.report("job", 0))
    warned = replace(explanation.report.record, warnings=tuple(f"warning {number}" for number in range(30)))
    counts = WayCounts(mill.ledger.jobs.get("job"))
    for _ in range(50):
        counts.add(replace(explanation, report=replace(explanation.report, record=warned)))
    ways = counts.ways
    assert (ways.warnings, ways.warned_items, len(ways.warned)) == (1500, 50, MAX_WARNINGS)
    assert "50 items, the first 20 of 1,500 warnings" in printed(Summary(job="j", status=JobStatus.DONE, ways=ways))


def test_warnings_are_counted_by_text(mill: Mill) -> None:
    explanation = Explainer(mill.ledger.jobs.get("job")).explain(mill.ledger.items.report("job", 0))
    counts = WayCounts(mill.ledger.jobs.get("job"))
    for texts in (("paint: a", "paint: b"), ("paint: b",), ()):
        record = replace(explanation.report.record, warnings=texts)
        counts.add(replace(explanation, report=replace(explanation.report, record=record)))
    summary = Summary(job="j", status=JobStatus.DONE, ways=counts.ways)
    assert counts.ways.warned_of == (
        WarningCount(message="paint: b", items=2),
        WarningCount(message="paint: a", items=1),
    )
    assert "2  paint: b" in printed(summary)
    store = open_store(mill.ledger.jobs.get("job").output, Settings())
    assert "| 2 | paint\\: b |" in report_markdown(mill.ledger.jobs.get("job"), summary, store, Settings())


def test_a_job_that_has_ended_tells_of_its_ways_again(mill: Mill, summary: Summary) -> None:
    again = build_summary(mill.ledger, mill.ledger.jobs.get("job"), mill.store, run=None)
    assert again.ways == summary.ways
    assert json.loads(mill.store.get(job_key("job", REPORT_NAME)))["ways"]["gates"][0]["gate"] == "base"


def test_ways_of_another_state_are_not_told(mill: Mill, summary: Summary) -> None:
    assert summary.ways is not None
    job = mill.ledger.jobs.get("job")
    running = replace(job, status=JobStatus.RUNNING, finished_at=None)
    failed = replace(job, status=JobStatus.FAILED)
    assert [build_summary(mill.ledger, each, mill.store, run=1).ways for each in (running, failed)] == [None, None]


def test_a_report_of_an_older_version_is_no_trouble(mill: Mill, summary: Summary) -> None:
    key = job_key("job", REPORT_NAME)
    kept = mill.store.get(key)
    mill.store.replace(key, b'{"job": "job", "unheard_of": 1}', content_type="application/json")
    assert build_summary(mill.ledger, mill.ledger.jobs.get("job"), mill.store, run=1).ways is None
    mill.store.replace(key, kept, content_type="application/json")


def test_the_terminal_shows_gates_attempts_and_warnings(summary: Summary) -> None:
    text = printed(summary)
    assert "after a retry" in text
    assert "too bright: facts.this.brightness < 0.5" in text
    assert "Made more than once" in text
    assert "vars.mood != 'dark' is not met (vars.mood is 'dark')" in text


def test_a_straight_job_says_nothing_of_gates() -> None:
    text = printed(Summary(job="j", status=JobStatus.DONE, ways=GateStats()))
    assert "gate" not in text
    assert "more than once" not in text


def test_the_artifact_shows_the_same_as_text(mill: Mill, summary: Summary) -> None:
    assert summary.ways is not None
    hostile = ItemWarning(item="<b>|x", message="![a](b)")
    ways = summary.ways.model_copy(update={"warned": (hostile, *summary.ways.warned)})
    job = mill.ledger.jobs.get("job")
    store = open_store(job.output, Settings())
    text = report_markdown(job, summary.model_copy(update={"ways": ways}), store, Settings())
    for part in ("## Gates", "| base | 24 |", "too bright", "## Made more than once", "* base\\:", "## Warnings"):
        assert part in text
    assert "<b>" not in text
    assert "![a]" not in text
