"""Deciding a job again: what is told, what is applied, and what is left alone."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from configs.documents.fields import Item
from configs.documents.problems import InvalidInput
from configs.documents.yaml_source import parse_yaml
from flows.cli.regate import describe_regate
from flows.regate import regate as module
from flows.regate.recipe import NewRecipe
from flows.regate.reevaluate import Change, Reevaluation
from flows.regate.regate import Applied, plan_regate
from storage.ledger.lease import JobIsRunning, lease_of_job
from storage.ledger.records import ItemState, JobStatus, ReviewVerdict
from storage.ledger.runs import JobChanged
from storage.objects.keys import sha256_hex
from tests.support import ROOT
from tests.support.jobs.job_template import JobTemplate
from tests.support.jobs.regated_job import Document, RegatedJob, changes
from tests.support.mill import JOB
from tests.support.without_torch import command
from tests.support.without_torch import run as run_without_torch

pytestmark = [pytest.mark.parts, pytest.mark.usefixtures("null_steps")]


def recipe(*conditions: str, **fields: Any) -> Document:
    """An image and its negative; the conditions are the gate of the first."""
    first: Document = {"id": "base", "step": "null_generate", "size": 8}
    if conditions:
        first["require"] = list(conditions)
    return {"name": "gated", "steps": [first, {"id": "negative", "step": "null_pass"}], **fields}


def items(count: int = 8) -> list[Item]:
    """Their brightnesses are 0.77, 0.46, 0.92, 0.42, 0.25, 0.67, 0.65 and 0.33."""
    return [Item(index=index, name=f"i{index}", seed=index, vars={"size": index}) for index in range(count)]


def gate(limit: float) -> Document:
    return recipe(f"facts.this.brightness < {limit}")


@pytest.fixture(scope="module")
def gated(null_steps: None, tmp_path_factory: pytest.TempPathFactory) -> JobTemplate[RegatedJob]:
    folder = tmp_path_factory.mktemp("gated")
    return JobTemplate(folder, lambda place: RegatedJob(place, gate(0.7), items()), RegatedJob.run)


@pytest.fixture
def job(gated: JobTemplate[RegatedJob]) -> Iterator[RegatedJob]:
    """Gated at 0.7: of eight items two are in quarantine."""
    with gated.as_new() as made:
        yield made


def states(job: RegatedJob) -> dict[str, str]:
    return {report.record.item.name: report.record.state.value for report in job.reports()}


def one(job: RegatedJob, item: str, document: Document | None) -> Reevaluation:
    return next(each for each in job.decide(document).items if each.item.name == item)


def quarantined(job: RegatedJob) -> set[str]:
    return {name for name, state in states(job).items() if state == "quarantined"}


# -- a look ----------------------------------------------------------------------------------------------------------
def test_a_look_changes_nothing(job: RegatedJob) -> None:
    before, record = job.outcomes(), job.ledger.jobs.get(JOB)
    files = {path: path.read_bytes() for path in (job.folder / "out").rglob("*") if path.is_file()}
    job.decide(gate(0.4))
    assert (job.outcomes(), job.ledger.jobs.get(JOB)) == (before, record)
    assert {path: path.read_bytes() for path in files} == files
    assert len([path for path in (job.folder / "out").rglob("*") if path.is_file()]) == len(files)


def test_the_same_recipe_changes_nothing(job: RegatedJob) -> None:
    assert changes(job.decide(None)) == {} == changes(job.decide(gate(0.7)))
    assert job.decide(None).is_applied


def test_a_stricter_gate_tells_its_reason_with_the_values(job: RegatedJob) -> None:
    plan = job.decide(gate(0.5))
    now = {report.record.item.name for report in job.reports() if report.record.state is ItemState.DONE}
    dark = {each.item.name for each in plan.items if each.change is Change.UNCHANGED}
    stricter = {name for name, change in changes(plan).items() if change is Change.QUARANTINED}
    assert stricter and stricter < now and dark < now
    result = one(job, min(stricter), gate(0.5)).result
    assert result is not None and result.error is not None
    assert result.error_step == "base"
    assert result.error.startswith("facts.this.brightness < 0.5 is not met (facts.this.brightness is 0.")
    # Those that were rejected before are rejected by other words.
    assert {name for name, change in changes(plan).items() if change is Change.OTHER_RECORD} == quarantined(job)


def test_a_milder_gate_tells_what_has_to_be_computed(job: RegatedJob) -> None:
    plan = job.decide(recipe())
    bright = quarantined(job)
    assert changes(plan) == dict.fromkeys(sorted(bright), Change.TO_RUN)
    assert {each.expected for each in plan.changed} == {ItemState.DONE}
    (need,) = plan.needs().items()
    assert need[0] == "negative" and need[1].computed == len(bright)


def test_an_image_that_another_job_made_counts_as_known(job: RegatedJob, tmp_path: Path) -> None:
    again = RegatedJob(tmp_path / "again", gate(0.7), items(), store=job.store).run()
    other = RegatedJob(tmp_path / "other", recipe(), items(), store=job.store).run()
    again.ledger.steps.add_artefacts(
        [entry.artefact for report in other.reports() for entry in report.steps.values() if entry.artefact]
    )
    assert set(changes(again.decide(recipe())).values()) == {Change.DONE}
    again.apply(recipe())
    assert again.computed == {}
    assert set(states(again).values()) == {"done"}


def test_one_look_up_a_visit_and_of_nothing_that_is_known(job: RegatedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    find = job.ledger.steps.find_artefacts
    monkeypatch.setattr(
        job.ledger.steps, "find_artefacts", lambda root, wanted: (asked.append(len(wanted)), find(root, wanted))[1]
    )
    job.decide(gate(0.5))
    assert asked == []
    job.decide(recipe(), "base.size=9")
    assert asked == [8, 8]


def test_facts_that_nobody_measured_are_told_and_measured(job: RegatedJob) -> None:
    wanted = recipe("facts.this.brightness < 0.7", "facts.this.wrap_seam < 500")
    plan = job.decide(wanted)
    assert plan.unmeasured() == {"wrap_seam": 8}
    assert set(changes(plan).values()) == {Change.TO_MEASURE}
    job.apply(wanted)
    assert job.computed == {}
    artefact = job.reports()[0].steps["base"].artefact
    assert artefact is not None and "wrap_seam" in artefact.facts
    assert job.decide(wanted).unmeasured() == {}
    assert job.is_sound()


def test_a_fact_that_needs_a_source_is_not_missed_without_one(job: RegatedJob) -> None:
    plan = job.decide(recipe("facts.this.difference == 0"))
    assert plan.unmeasured() == {}
    assert {each.expected for each in plan.items} == {ItemState.QUARANTINED}


# -- mistakes --------------------------------------------------------------------------------------------------------
def test_every_mistake_is_told_at_once(job: RegatedJob) -> None:
    wrong = recipe("facts.this.brightnes < 1", "vars.colour")
    wrong["steps"][1]["step"] = "nul_pass"
    with pytest.raises(InvalidInput) as caught:
        job.decide(wrong, "nothing.size=2", "junk")
    text = str(caught.value)
    for part in ("--set junk", "--set nothing.size=2", "brightness`", "null_pass`", "colour"):
        assert part in text


def test_a_parameter_that_is_out_of_bounds_is_told_as_it_was_given(job: RegatedJob) -> None:
    with pytest.raises(InvalidInput, match=r"--set base.size=9999: must be at most 4096"):
        job.decide(None, "base.size=9999")


def test_a_recipe_that_is_not_there(job: RegatedJob) -> None:
    with pytest.raises(InvalidInput, match="unknown recipe `nowhere`"):
        plan_regate(JOB, NewRecipe("nowhere"), job.ledger, job.settings)


def test_a_job_whose_items_are_lost_is_not_decided(job: RegatedJob) -> None:
    import sqlite3

    with sqlite3.connect(job.folder / "home" / "ledger.db") as database:
        database.execute("DELETE FROM items WHERE name = 'i2'")
    database.close()
    with pytest.raises(InvalidInput, match="lost 1 of the job's 8 items"):
        job.decide(None)


def test_defaults_of_variables(tmp_path: Path) -> None:
    before = recipe("facts.this.brightness < vars.limit", vars={"limit": 0.7})
    made = [item.model_copy(update={"vars": {"limit": 0.7}}) for item in items()]
    job = RegatedJob(tmp_path / "job", before, made).run()
    with pytest.raises(InvalidInput, match=r"vars\.limit: the default was 0\.7 and is 0\.5 here, and 8 items"):
        job.decide(recipe("facts.this.brightness < vars.limit", vars={"limit": 0.5}))
    fresh = recipe("facts.this.brightness < vars.most", vars={"limit": 0.7, "most": 0.5})
    job.apply(fresh)
    assert {report.record.item.vars["most"] for report in job.reports()} == {0.5}
    assert job.is_sound() and job.decide(None).is_applied


# -- apply -----------------------------------------------------------------------------------------------------------
def test_items_that_are_unchanged_are_not_touched(job: RegatedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []
    publish = type(job.store).publish
    monkeypatch.setattr(
        type(job.store),
        "publish",
        lambda self, source, key, **about: (published.append(key), publish(self, source, key, **about))[1],
    )
    bright = quarantined(job)
    before = {report.record.item.name: report for report in job.reports()}
    job.apply(recipe())
    assert set(published) == {f"{JOB}/final/{name}.png" for name in bright}
    after = {report.record.item.name: report for report in job.reports()}
    assert {name for name in before if before[name] != after[name]} == bright
    assert job.computed == {"negative": len(bright)}


def test_a_final_that_is_none_any_more_goes_and_its_image_stays(job: RegatedJob) -> None:
    finals = job.finals()
    applied = job.apply(gate(0.5))
    gone = finals.keys() - job.finals().keys()
    assert applied.removed == len(gone) > 0
    assert job.computed == {}
    assert all(job.store.exists(f"artefacts/{print_[:2]}/{print_}.png") for print_ in _prints(applied.plan.changed))
    assert job.is_sound()
    lines = [json.loads(line) for line in job.store.get(f"{JOB}/manifest.jsonl").splitlines()]
    assert {line["name"]: line["state"] for line in lines} == states(job)


def _prints(changed: list[Reevaluation]) -> set[str]:
    return {fingerprint for each in changed for fingerprint in each.images_before.values()}


def test_a_final_that_is_the_only_copy_left_becomes_the_artefact_again(job: RegatedJob) -> None:
    final, data = next(iter(job.finals().items()))
    name = final.rpartition("/")[2].removesuffix(".png")
    report = next(report for report in job.reports() if report.record.item.name == name)
    artefact = report.steps["negative"].artefact
    assert artefact is not None
    job.store.delete(artefact.key)
    job.apply(recipe("vars.size < 0"))
    assert job.finals() == {}
    assert sha256_hex(job.store.get(artefact.key)) == sha256_hex(data)
    assert not job.store.exists(f"{JOB}/contact-sheet.png")


def test_back_by_the_recipe_that_was_kept(job: RegatedJob) -> None:
    before, finals, revision = job.outcomes(), job.finals(), job.ledger.jobs.get(JOB).revision
    applied = job.apply(gate(0.5))
    assert applied.former_recipe is not None and job.outcomes() != before
    assert job.ledger.jobs.get(JOB).revision == applied.plan.new.revision != revision
    wanted = NewRecipe(applied.former_recipe)
    module.apply(JOB, wanted, job.ledger, job.settings, run=job.bring_to_end)
    assert (job.outcomes(), job.finals()) == (before, finals)
    assert job.computed == {}


def test_the_job_goes_by_its_new_recipe_afterwards(job: RegatedJob) -> None:
    run = job.ledger.jobs.get(JOB).run
    job.apply(gate(0.5))
    record = job.ledger.jobs.get(JOB)
    assert record.recipe.leaves[0].require == ("facts.this.brightness < 0.5",)
    assert (record.run, record.status) == (run + 1, JobStatus.INCOMPLETE)
    assert job.apply(gate(0.5)).summary is None
    assert job.ledger.jobs.get(JOB) == record


def test_steps_of_other_names_are_recorded_by_them(job: RegatedJob) -> None:
    renamed = gate(0.7)
    renamed["steps"][1]["id"] = "inverted"
    plan = job.decide(renamed)
    assert set(changes(plan).values()) == {Change.OTHER_RECORD}
    job.apply(renamed)
    done = next(report for report in job.reports() if report.record.state is ItemState.DONE)
    assert list(done.steps) == ["base", "inverted"]
    assert job.is_sound() and job.computed == {}


def test_other_finals_of_images_that_are_there(job: RegatedJob) -> None:
    both = {**gate(0.7), "keep": ["base", "negative"]}
    assert set(changes(job.decide(both)).values()) == {Change.OTHER_FINALS}
    job.apply(both)
    assert {key.rpartition("/")[2] for key in job.finals()} >= {"i1.base.png", "i1.negative.png"}
    assert job.is_sound() and job.computed == {}


def test_an_image_that_the_store_has_lost_is_made_again(job: RegatedJob) -> None:
    job.apply(gate(0.5))
    wanted = next(each for each in job.decide(gate(0.7)).items if each.change is Change.DONE)
    image = wanted.ways["negative"]
    assert image is not None
    job.store.delete(image.key)
    job.apply(gate(0.7))
    assert job.computed == {"negative": 1}
    assert job.is_sound()


def test_a_failed_item_stays_failed_until_its_step_changes(tmp_path: Path) -> None:
    some = items(4)
    some[1] = some[1].model_copy(update={"vars": {"poison": True, "size": 1}})
    job = RegatedJob(tmp_path / "job", gate(0.95), some).run()
    assert states(job)["i1"] == "failed"
    assert changes(job.decide(gate(0.96))) == {}
    assert changes(job.decide(None, "base.size=9")) == dict.fromkeys(["i0", "i1", "i2", "i3"], Change.TO_RUN)
    job.apply(gate(0.96))
    assert states(job)["i1"] == "failed" and job.computed == {}
    # A step that this item skips after all.
    other = gate(0.95)
    other["steps"][0]["when"] = "vars.size != 1"
    other["steps"].insert(0, {"id": "plain", "step": "null_generate", "size": 4, "when": "vars.size == 1"})
    assert one(job, "i1", other).change is Change.TO_RUN


# -- gates by name ---------------------------------------------------------------------------------------------------
def test_a_gate_whose_file_changed(tmp_path: Path) -> None:
    file = tmp_path / "gates.yaml"

    def write(limit: float) -> None:
        file.write_text(f"gates:\n  dark: {{require: facts.this.brightness < {limit}, because: too bright}}\n")

    write(0.7)
    named = recipe({"that": "facts.this.brightness < 0.7", "because": "too bright", "gate": "dark"})  # type: ignore[arg-type]
    job = RegatedJob(tmp_path / "job", named, items(), gates_path=(file,)).run()
    assert job.decide(None).is_applied
    write(0.5)
    changed = [each for each in job.decide(None).changed if each.change is Change.QUARANTINED]
    assert changed and all(
        str(each.result and each.result.error).startswith("too bright: facts.this.brightness < 0.5") for each in changed
    )
    job.apply(None)
    assert job.is_sound()
    file.write_text("gates:\n  other: {require: facts.this.brightness < 1, because: too bright}\n")
    with pytest.raises(InvalidInput, match="unknown gate `dark`"):
        job.decide(None)


# -- people ----------------------------------------------------------------------------------------------------------
def test_what_a_person_accepted_stays_accepted(job: RegatedJob) -> None:
    kept = next(report for report in job.reports() if report.record.state is ItemState.DONE)
    artefact = kept.steps["base"].artefact
    assert artefact is not None
    job.review(kept.record.item.name, artefact.fingerprint, ReviewVerdict.ACCEPTED)
    job.apply(recipe("vars.size < 0"))
    assert [name for name, state in states(job).items() if state == "done"] == [kept.record.item.name]
    (warning,) = job.reports()[kept.record.item.index].record.warnings
    assert warning.endswith("accepted in review")


def test_what_a_person_rejected_stays_in_quarantine(job: RegatedJob) -> None:
    first, *others = sorted(quarantined(job))
    image = next(report for report in job.reports() if report.record.item.name == first).steps["base"].artefact
    assert image is not None and others
    job.review(first, image.fingerprint, ReviewVerdict.REJECTED)
    assert changes(job.decide(recipe())) == dict.fromkeys(others, Change.TO_RUN)


# -- repeated images -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("verdict", ["quarantine", "warn"])
def test_repeated_images_are_told_as_at_the_end_of_a_job(tmp_path: Path, verdict: str) -> None:
    twins = [item.model_copy(update={"seed": item.index // 2}) for item in items(4)]
    rule = {"distance": 1, "on_fail": verdict}
    job = RegatedJob(tmp_path / "job", recipe(), twins).run()
    repeated = Change.QUARANTINED if verdict == "quarantine" else Change.OTHER_RECORD
    assert changes(job.decide(recipe(distinct=rule))) == {"i1": repeated, "i3": repeated}
    job.apply(recipe(distinct=rule))
    assert job.computed == {} and job.is_sound()
    told = [(report.record.error, *report.record.warnings) for report in job.reports()]
    assert ["near-duplicate of item" in str(each) for each in told] == [False, True, False, True]
    assert job.decide(None).is_applied
    fresh = RegatedJob(tmp_path / "fresh", recipe(distinct=rule), twins).run()
    assert (fresh.outcomes(), fresh.finals()) == (job.outcomes(), job.finals())
    job.apply(recipe())
    assert set(states(job).values()) == {"done"} and len(job.finals()) == 4


# -- input files -----------------------------------------------------------------------------------------------------
def loaded(**fields: Any) -> Document:
    steps = [{"id": "photo", "step": "load", "require": ["facts.this.brightness < 0.7"], **fields}]
    return {"name": "photos", "steps": [*steps, {"id": "small", "step": "resize", "width": 4}]}


@pytest.fixture
def photos(tmp_path: Path) -> RegatedJob:
    some = []
    for index, shade in enumerate((20, 100, 140, 230)):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (8, 8), (shade,) * 3).save(path)
        some.append(Item(index=index, name=f"i{index}", seed=0, image=str(path)))
    return RegatedJob(tmp_path / "job", loaded(), some).run()


def test_input_files_that_are_gone_are_not_needed(photos: RegatedJob, tmp_path: Path) -> None:
    for path in tmp_path.glob("*.png"):
        path.unlink()
    stricter = loaded(require=["facts.this.brightness < 0.5"])
    assert changes(photos.decide(stricter)) == {"i2": Change.QUARANTINED, "i3": Change.OTHER_RECORD}
    photos.apply(stricter)
    assert list(states(photos).values()) == ["done", "done", "quarantined", "quarantined"]
    assert photos.is_sound()


def test_an_input_file_that_changed_is_another_image(photos: RegatedJob, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (30, 30, 30)).save(tmp_path / "3.png")
    assert changes(photos.decide(loaded())) == {"i3": Change.TO_RUN}
    photos.apply(loaded())
    assert photos.computed == {"photo": 1, "small": 1}
    assert set(states(photos).values()) == {"done"} and photos.is_sound()


# -- others at work, and interruptions -------------------------------------------------------------------------------
def test_a_job_that_somebody_works_at_is_refused(job: RegatedJob) -> None:
    code = "from storage.ledger.lease import this_process; print(this_process(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        job.ledger.leases.take(lease_of_job(JOB), other.stdout.readline().strip(), dead=None)
        with pytest.raises(JobIsRunning, match="running already"):
            job.apply(gate(0.5))
        assert changes(job.decide(gate(0.5)))
        other.communicate("\n")


def test_a_job_that_went_on_meanwhile_is_left_alone(job: RegatedJob) -> None:
    old = job.ledger.jobs.get(JOB)
    job.apply(gate(0.5))
    before = job.outcomes()
    with pytest.raises(JobChanged):
        job.ledger.runs.change_recipe(
            old, recipe=old.recipe, overrides=None, revision="x", model_digests={}, variables={}, items=[]
        )
    assert job.outcomes() == before


class Killed(BaseException):
    """The process ends here."""


PLACES = ("publish", "keep", "before the ledger", "after the ledger", "first removal", "removed", "finish")


MILD, OTHER = gate(0.5), recipe("facts.this.brightness > 0.4")  # from one to the other some items leave, some come


@pytest.fixture(scope="module")
def mild(null_steps: None, tmp_path_factory: pytest.TempPathFactory) -> JobTemplate[RegatedJob]:
    """All images are there, also those of the items that the gate refuses."""

    def run(job: RegatedJob) -> None:
        job.run()
        job.apply(recipe())
        job.apply(MILD)

    return JobTemplate(tmp_path_factory.mktemp("mild"), lambda place: RegatedJob(place, MILD, items()), run)


@pytest.fixture(scope="module")
def regated(mild: JobTemplate[RegatedJob]) -> tuple[list[tuple[Any, ...]], dict[str, bytes]]:
    """Outcomes and finals of a change that nothing interrupted."""
    with mild.as_new() as done:
        done.apply(OTHER)
        return done.outcomes(), done.finals()


@pytest.mark.parametrize("place", PLACES)
def test_a_regate_that_was_interrupted_is_completed_by_the_next(
    mild: JobTemplate[RegatedJob],
    regated: tuple[list[tuple[Any, ...]], dict[str, bytes]],
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with mild.as_new() as job:
        with monkeypatch.context() as patch:
            _kill_at(place, job, patch)
            with pytest.raises(Killed):
                job.apply(OTHER)
        applied = job.apply(OTHER)
        assert applied.summary is not None
        assert (job.outcomes(), job.finals()) == regated
        assert job.is_sound()


def _kill_at(place: str, job: RegatedJob, patch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    def die_after(work: Any) -> Any:
        def both(*arguments: Any, **options: Any) -> Any:
            work(*arguments, **options)
            raise Killed

        return both

    match place:
        case "publish":
            patch.setattr(type(job.store), "publish", die_after(type(job.store).publish))
        case "keep":
            patch.setattr(module, "_keep_recipe", die)
        case "before the ledger":
            patch.setattr(job.ledger.runs, "change_recipe", die)
        case "after the ledger":
            patch.setattr(job.ledger.runs, "change_recipe", die_after(job.ledger.runs.change_recipe))
        case "first removal":
            patch.setattr(type(job.store), "delete", die_after(type(job.store).delete))
        case "removed":
            patch.setattr(module, "_remove_finals", die_after(module._remove_finals))
        case "finish":
            patch.setattr(job, "bring_to_end", die)


# -- the command -----------------------------------------------------------------------------------------------------
def test_a_look_needs_no_library_that_computes_images(job: RegatedJob, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(json.dumps(gate(0.5)))
    catalogue_file = ROOT / "tests/support/null/catalogue.yaml"
    environment = {"PIXELMILL_HOME": str(job.folder / "home"), "PIXELMILL_CATALOGUE_PATH": str(catalogue_file)}
    looked = run_without_torch(
        command("regate", JOB, "--recipe", "new.yaml", "--json", "--fail-on-change"), tmp_path, **environment
    )
    assert looked.returncode == 3, looked.stderr
    document = json.loads(looked.stdout)
    assert document["items"]["quarantined"] > 0 and document["run"] is None
    applied = run_without_torch(
        command("regate", JOB, "--recipe", "new.yaml", "--json", "--apply"), tmp_path, **environment
    )
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["run"]["items"]["quarantined"] == len(quarantined(job))
    assert job.is_sound()


# -- the page --------------------------------------------------------------------------------------------------------
def test_the_pages_example_is_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "regate.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (answer,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    before = parse_yaml(written.encode(), "regate.md").data
    after = parse_yaml(written.replace("< 0.7", "< 0.5").replace("width: 4", "width: 6").encode(), "regate.md").data
    some = []
    for index, (name, shade) in enumerate({"night": 20, "evening": 100, "noon": 140, "flash": 230}.items()):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (8, 8), (shade,) * 3).save(path)
        some.append(Item(index=index, name=name, seed=0, image=str(path)))
    job = RegatedJob(tmp_path / "job", before, some).run()
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(describe_regate(Applied(job.decide(after)), asked=False), highlight=False)
    shown = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert shown == answer.splitlines()
