"""What the form that decides a job again takes and refuses, and its page: without a server."""

import re
from pathlib import Path
from typing import Any

import pytest

from configs.documents.fields import Item
from configs.documents.problems import InvalidInput
from configs.recipe.source import Overrides
from flows.forms import regate
from flows.forms.regate import RegateForm, _regate, regate_markdown
from flows.regate.regate import Applied
from tests.support.jobs.regated_job import Document, RegatedJob
from tests.support.mill import JOB

pytestmark = [pytest.mark.parts, pytest.mark.usefixtures("null_steps")]  # each test decides a job again


def recipe(*conditions: str, **fields: Any) -> Document:
    first = {"id": "base", "step": "null_generate", "size": 8, "require": list(conditions)}
    return {"name": "gated", "steps": [first, {"id": "negative", "step": "null_pass"}], **fields}


@pytest.fixture
def job(tmp_path: Path) -> RegatedJob:
    items = [Item(index=index, name=f"<i>{index}|", seed=index, vars={"size": index}) for index in range(8)]
    own = Overrides(parameters={"base": {"size": 8}, "gone": {"scale": 2}})
    return RegatedJob(tmp_path / "job", recipe("facts.this.brightness < 0.7"), items, overrides=own).run()


def mistakes(regated: RegatedJob, /, **answers: Any) -> set[str]:
    before = regated.ledger.jobs.get(JOB)
    with pytest.raises(InvalidInput) as caught:
        _regate(RegateForm(**answers), regated.ledger, regated.settings)
    assert regated.ledger.jobs.get(JOB) == before
    return {str(problem) for problem in caught.value.problems}


def plain(text: str) -> str:
    """Without the escapes of Markdown."""
    return re.sub(r"\\(.)", r"\1", text)


@pytest.mark.parametrize("apply", [False, True])
def test_every_mistake_is_told_at_once_by_its_line(job: RegatedJob, apply: bool) -> None:
    told = mistakes(job, job=JOB, changes="\n base.size = 99999\njunk\n\nbase.require.sharp=true", apply=apply)
    assert len(told) == 3
    for part in ("changes: junk: write it as", "changes: base.size = 99999: must be at most", "lists no gate `sharp`"):
        assert any(part in each for each in told), told


def test_an_unknown_job_hides_no_other_mistake(job: RegatedJob) -> None:
    told = mistakes(job, job="jab", changes="junk")
    assert any("no job 'jab'. Did you mean job?" in each for each in told) and len(told) == 2


def test_a_recipe_s_path_starts_at_the_working_folder(job: RegatedJob, tmp_path: Path) -> None:
    job.settings = job.settings.model_copy(update={"working_folder": tmp_path})
    assert f"{tmp_path}/nowhere.yaml" in str(mistakes(job, job=JOB, recipe="./nowhere.yaml"))


def test_the_page_says_what_changes_and_shows_names_as_they_are(
    job: RegatedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = job.settings.model_copy(update={"gallery_url": "http://127.0.0.1:4201"})
    applied = Applied(job.decide(recipe("facts.this.brightness < 0.5")))
    page = regate_markdown(applied, served, asked=False)
    said = plain(page)
    assert "With Apply it is recorded; nothing has to be computed." in said
    assert "* newly quarantined: 1" in said and "| done | quarantined | base | facts.this.brightness < 0.5 is" in said
    assert 'base.require: ["facts.this.brightness < 0.7"] → ["facts.this.brightness < 0.5"]' in said
    assert "as the job has set it: base.size=8" in said
    assert "left out, as the recipe has no step `gone`: the job's gone.scale=2" in said
    assert "[Gallery](http://127.0.0.1:4201/files/" in page and "[Review page](" in page
    assert "<i>" not in page and "<i>" in said
    monkeypatch.setattr(regate, "MAX_CHANGES", 1)
    short = regate_markdown(applied, job.settings, asked=False)
    assert f"What changes, the first 1 of {len(applied.plan.changed)}" in plain(short)
    assert short.count("quarantined |") < page.count("quarantined |")
    assert f"pixelmill regate {JOB} … --json" in short


def test_the_page_of_what_is_applied(job: RegatedJob) -> None:
    before = Applied(job.decide(recipe()))
    assert "missing images are made now" in regate_markdown(before, job.settings, asked=True)
    applied = job.apply(recipe())
    said = plain(regate_markdown(applied, job.settings, asked=True))
    assert "**done · 8 of 8 items done" in said and "the recipe until now: " in said
    nothing = regate_markdown(job.apply(None), job.settings, asked=True)
    assert "Nothing to do: the job is as this recipe has it." in nothing
