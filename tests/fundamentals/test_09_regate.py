"""To regate is to decide a finished job again with other gates; only what was never made is computed."""

import pytest

from configs.documents.fields import Item
from flows.regate.reevaluate import Change
from tests.support.jobs.regated_job import RegatedJob, changes

pytestmark = pytest.mark.usefixtures("null_steps")


def recipe(limit: float) -> dict:
    base = {"id": "base", "step": "null_generate", "size": 8, "require": [f"facts.this.brightness < {limit}"]}
    return {"name": "gated", "steps": [base, {"id": "negative", "step": "null_pass"}]}


def test_a_milder_gate_computes_only_what_was_refused_before(tmp_path):
    items = [Item(index=index, name=f"i{index}", seed=index) for index in range(8)]
    job = RegatedJob(tmp_path, recipe(0.5), items).run()
    refused = {report.record.item.name for report in job.reports() if report.record.refused_image}
    assert 0 < len(refused) < 8

    plan = job.decide(recipe(1.1))  # a look: nothing changes yet
    assert changes(plan) == dict.fromkeys(sorted(refused), Change.TO_RUN)

    job.apply(recipe(1.1))
    assert job.computed == {"negative": len(refused)}
    assert len(job.finals()) == 8
