"""Decisions of people when a job is decided again: they hold, and what a new gate refuses waits for new ones."""

from pathlib import Path

import pytest

from configs.documents.fields import Item
from flows.burst.review import decide
from flows.cli.regate import regate_command
from storage.ledger.records import ReviewVerdict
from tests.support.jobs.regated_job import Document, RegatedJob
from tests.support.mill import JOB

pytestmark = pytest.mark.usefixtures("null_steps")


def gate(limit: float) -> Document:
    first = {"id": "base", "step": "null_generate", "size": 8, "require": [f"facts.this.brightness < {limit}"]}
    return {"name": "gated", "steps": [first, {"id": "negative", "step": "null_pass"}]}


@pytest.fixture
def job(tmp_path: Path) -> RegatedJob:
    """Brightnesses of 0.21, 0.46, 0.75 and 0.64, gated at 0.6: `i2` and `i3` are in quarantine."""
    items = [Item(index=index, name=f"i{index}", seed=index, vars={"size": index}) for index in range(4)]
    return RegatedJob(tmp_path / "job", gate(0.6), items).run()


def test_what_a_new_gate_refuses_waits_for_a_person(job: RegatedJob) -> None:
    job.apply(gate(0.45))
    images = {report.record.item.name: report.steps["base"].artefact for report in job.reports()}
    assert job.ledger.reviews.refused_images(JOB) == {
        name: (artefact.fingerprint if (artefact := images[name]) else "", None) for name in ("i1", "i2", "i3")
    }
    assert {item.record.refused_by for item in job.ledger.reviews.refused_items(JOB)} == {"base"}


def test_the_command_knows_what_people_decided(job: RegatedJob) -> None:
    for name, verdict in (("i3", ReviewVerdict.ACCEPTED), ("i2", ReviewVerdict.REJECTED)):
        decide(JOB, {name: None}, verdict, reason=None, reviewer=None, ledger=job.ledger)
    answer = regate_command(
        JOB,
        job.wanted(gate(0.45)).name,
        (),
        job.ledger,
        job.settings,
        applies=False,
        fail_on_change=False,
        log=print,
        on_start=lambda _: None,
    )
    changes = {each["item"]: each["change"] for each in answer.document["changes"]}
    assert changes == {"i1": "quarantined", "i3": "to_run"}
