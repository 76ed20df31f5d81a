"""What a job has set itself when it is decided again, and what is changed line by line."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from configs.documents.fields import Item
from configs.documents.problems import InvalidInput
from configs.recipe.source import Overrides
from flows.cli.regate import describe_regate, regate_document
from flows.job.plan import continue_job
from flows.regate.recipe import NewRecipe
from flows.regate.reevaluate import Change
from flows.regate.regate import Applied, RegatePlan, apply
from tests.support.jobs.regated_job import Document, RegatedJob, changes
from tests.support.mill import JOB

pytestmark = [pytest.mark.parts, pytest.mark.usefixtures("null_steps")]  # each test decides a job again

GATES = "gates:\n  dark: {require: facts.this.brightness < 0.7, because: too bright}\n"


def recipe(size: int = 8, **fields: Any) -> Document:
    first = {"id": "base", "step": "null_generate", "size": size, "require": ["facts.this.brightness < 0.7"]}
    return {"name": "gated", "steps": [first, {"id": "negative", "step": "null_pass"}], **fields}


def job_of(folder: Path, document: Document, overrides: Overrides | None, **settings: Any) -> RegatedJob:
    """`document` has the overrides in it already, as the ledger has it."""
    items = [Item(index=index, name=f"i{index}", seed=index, vars={"size": index}) for index in range(8)]
    return RegatedJob(folder / "job", document, items, overrides=overrides, **settings).run()


@pytest.fixture
def job(tmp_path: Path) -> RegatedJob:
    """Its file has set `base.size` to 9; its recipe says 8. Of eight items two are in quarantine."""
    return job_of(tmp_path, recipe(9), Overrides(parameters={"base": {"size": 9}}))


def said(plan: RegatePlan) -> str:
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(describe_regate(Applied(plan), asked=False), highlight=False)
    return console.file.getvalue()  # type: ignore[attr-defined]


def own_of(job: RegatedJob) -> Overrides | None:
    return job.ledger.jobs.get(JOB).overrides


# -- what the job has set itself -------------------------------------------------------------------------------------
def test_the_job_s_own_parameters_hold_in_another_recipe(job: RegatedJob) -> None:
    plan = job.decide(recipe(8))
    assert changes(plan) == {} and plan.is_applied
    assert "as the job has set it: base.size=9" in said(plan)


def test_one_of_them_is_set_otherwise(job: RegatedJob) -> None:
    assert set(changes(job.decide(recipe(8), "base.size=8")).values()) == {Change.TO_RUN}
    assert "as the job has set it" not in said(job.decide(recipe(8), "base.size=8"))
    job.apply(recipe(8), "base.size=8")
    assert own_of(job) == Overrides(parameters={"base": {"size": 8}})
    assert changes(job.decide(recipe(9))) == {}  # and it is the new one that holds from then on


def test_what_a_recipe_has_no_place_for_is_left_out_and_told(tmp_path: Path) -> None:
    before = recipe(9)
    before["steps"].insert(1, {"id": "small", "step": "resize", "width": 4})
    own = Overrides(parameters={"base": {"size": 9}, "small": {"width": 4}})
    job = job_of(tmp_path, before, own)
    without = recipe(8)
    assert "left out, as the recipe has no step `small`: the job's small.width=4" in said(job.decide(without))
    other = recipe(8)
    other["steps"][0] = {"id": "base", "step": "null_pass"}
    other["steps"].insert(0, {"id": "small", "step": "null_generate", "size": 9})
    plan = job.decide(other)
    assert [each["place"] for each in regate_document(Applied(plan), asked=False)["parameters"]["dropped"]] == [
        "base.size",
        "small.width",
    ]
    assert "`base` is a step `null_pass`, which has no `size`" in said(plan)
    job.apply(without)
    assert own_of(job) == Overrides(parameters={"base": {"size": 9}})


def test_a_value_that_another_recipe_refuses_is_told_as_the_job_s(tmp_path: Path) -> None:
    own = Overrides(parameters={"base": {"size": 99999}})  # of a time when that was allowed
    job = job_of(tmp_path, recipe(9), own)
    with pytest.raises(
        InvalidInput, match=r"the job's parameters.base.size: must be at most 4096, .*; `base.size=…` s"
    ):
        job.decide(recipe(8))
    assert changes(job.decide(recipe(8), "base.size=9")) == {}


def test_a_job_of_before_takes_the_recipe_as_it_is_and_is_told_so(tmp_path: Path) -> None:
    job = job_of(tmp_path, recipe(9), None)
    plan = job.decide(recipe(8))
    assert set(changes(plan).values()) == {Change.TO_RUN}
    assert "repeat them, or `pixelmill run` the job file once more" in said(plan)
    assert changes(job.decide(recipe(8), "base.size=9")) == {}
    assert "repeat them" not in said(job.decide(None))  # its own recipe has them


def test_another_run_keeps_them(job: RegatedJob) -> None:
    before = own_of(job)
    continue_job(job.ledger.jobs.get(JOB), job.ledger, job.settings)
    assert own_of(job) == before == Overrides(parameters={"base": {"size": 9}})


@pytest.mark.parametrize("own", [Overrides(parameters={"base": {"size": 9}}), None])
def test_back_by_the_recipe_that_was_kept(tmp_path: Path, own: Overrides | None) -> None:
    job = job_of(tmp_path, recipe(9), own)
    before, finals = job.outcomes(), job.finals()
    applied = job.apply(recipe(8), "base.size=10")
    assert applied.former_recipe is not None and job.outcomes() != before
    wanted = NewRecipe(applied.former_recipe)
    apply(JOB, wanted, job.ledger, job.settings, run=job.bring_to_end)
    assert (job.outcomes(), job.finals(), own_of(job)) == (before, finals, own)


def test_a_kept_recipe_is_one_for_job_files_too(job: RegatedJob) -> None:
    applied = job.apply(recipe(8), "base.size=8")
    assert applied.former_recipe is not None
    from flows.job.plan import read_plan_request

    file = job.folder / "again.yaml"
    file.write_text(
        json.dumps({"name": "again", "recipe": applied.former_recipe, "output": "out", "items": [{"name": "i0"}]})
    )
    assert read_plan_request(file, job.settings).recipe.steps[0].parameters == {"size": 9}  # type: ignore[union-attr]


def test_what_the_job_says_of_repeated_images_holds(tmp_path: Path) -> None:
    document = recipe(8, distinct=True)
    items = [Item(index=index, name=f"i{index}", seed=1) for index in range(2)]
    job = RegatedJob(tmp_path / "job", document, items, overrides=Overrides(distinct=True)).run()
    assert changes(job.decide(recipe(8))) == {}
    assert changes(job.decide(recipe(8), "distinct=false")) == {"i1": Change.DONE}
    assert changes(job.decide(None, "distinct={on_fail: warn}")) == {"i1": Change.DONE}
    with pytest.raises(InvalidInput, match=r"--set distinct=sometimes: must be"):
        job.decide(None, "distinct=sometimes")


# -- another threshold, without a recipe -----------------------------------------------------------------------------
def same(job: RegatedJob, *lines: str) -> bool:
    """Whether the lines decide as a recipe with a gate of 0.5 would."""
    stricter = recipe(9)
    stricter["steps"][0]["require"] = ["facts.this.brightness < 0.5"]
    return changes(job.decide(None, *lines)) == changes(job.decide(stricter)) != {}


def test_a_threshold_of_the_job_s_own_recipe(job: RegatedJob) -> None:
    assert same(job, "base.require=facts.this.brightness < 0.5")
    assert same(job, "base.require[0]=facts.this.brightness < 0.5")
    assert same(job, "base.require=[facts.this.brightness < 0.5]")
    job.apply(None, "base.require=facts.this.brightness < 0.5")
    assert job.ledger.jobs.get(JOB).recipe.leaves[0].require == ("facts.this.brightness < 0.5",)
    assert own_of(job) == Overrides(parameters={"base": {"size": 9}})  # a gate is the recipe's, never the job's


def test_a_gate_by_its_name_keeps_its_words(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(GATES)
    document = recipe(8)
    document["steps"][0]["require"] = [{"that": "facts.this.brightness < 0.7", "because": "too bright", "gate": "dark"}]
    job = job_of(tmp_path, document, Overrides(), gates_path=(tmp_path / "gates.yaml",))
    plan = job.decide(None, "base.require.dark=facts.this.brightness < 0.5")
    reasons = {str(each.result and each.result.error) for each in plan.changed if each.change is Change.QUARANTINED}
    assert reasons and all(reason.startswith("too bright: facts.this.brightness < 0.5") for reason in reasons)


def test_conditions_of_steps_and_steps_in_branches(tmp_path: Path) -> None:
    document = recipe(8)
    document["steps"].append(
        {
            "id": "maybe",
            "when": "vars.size > 100",
            "steps": [{"id": "inner", "step": "null_pass", "require": ["vars.size >= 0"]}],
        }
    )
    job = job_of(tmp_path, document, Overrides())
    visits = changes(job.decide(None, "maybe.when=vars.size > 3"))
    assert visits == dict.fromkeys(["i4", "i5", "i6"], Change.TO_RUN)
    job.apply(None, "maybe.when=vars.size > 3")
    assert changes(job.decide(None, "inner.require=vars.size > 5")) == dict.fromkeys(["i4", "i5"], Change.QUARANTINED)


def test_every_mistake_of_the_lines_is_told_at_once(job: RegatedJob) -> None:
    lines = {
        "junk": "write it as STEP.PARAMETER=VALUE",
        "bas.require=true": "the recipe has no step `bas`; did you mean `base`?",
        "base.require[3]=true": "`base` has 1 gate, and the first is require[0]",
        "negative.require[0]=true": "`negative` has no gates",
        "base.require.sharp=true": "`base` lists no gate `sharp`",
        "negative.when=facts.this.brightnes > 1": "brightnes",
        "base.step=load": "`step` of a step is the recipe's",
        "base.else=[]": "`else` of a step is the recipe's",
        "distinct=": "must be true, false or a rule",
        "vars.limit=1": "variables belong to the items",
    }
    with pytest.raises(InvalidInput) as caught:
        job.decide(None, *lines)
    told = {problem.path: problem.message for problem in caught.value.problems}
    for line, message in lines.items():
        assert message in told[f"--set {line}"], told
