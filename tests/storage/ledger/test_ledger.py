"""What the ledger promises, on SQLite and on PostgreSQL."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from configs.documents.problems import InvalidInput
from storage.ledger.ledger import Ledger
from storage.ledger.records import (
    ItemResult,
    ItemState,
    JobStatus,
    Outcome,
    Progress,
    ShardState,
    StepCounts,
    StepOutcome,
)
from tests.support.ledger_samples import RECIPE, ROOT, artefact, computed, reused, start

DONE, FAILED, PENDING = ItemState.DONE, ItemState.FAILED, ItemState.PENDING


def states(ledger: Ledger) -> list[ItemState]:
    return [record.state for record in ledger.items.find("job-1")]


# -- jobs --------------------------------------------------------------------------------------------------------------
def test_a_job_comes_back_as_it_was_given(ledger: Ledger) -> None:
    before = datetime.now(UTC)
    job = start(ledger)
    assert ledger.jobs.get("job-1") == job
    assert (job.name, job.output, job.run, job.total) == ("foxes", ROOT, 1, 6)
    assert job.recipe == RECIPE
    assert job.recipe.steps[2].parameters == {"scale": 2}
    assert job.model_digests == {"starter/diffusion": "d" * 64}
    assert (job.status, job.error, job.finished_at) == (JobStatus.RUNNING, None, None)
    assert before - timedelta(seconds=1) <= job.started_at <= datetime.now(UTC)
    assert job.started_at.utcoffset() == timedelta(0)


def test_an_unknown_job_is_refused_with_near_names(ledger: Ledger) -> None:
    start(ledger)
    with pytest.raises(LookupError, match="foxes"):
        ledger.jobs.get("foxxes")
    for use in (ledger.items.progress, ledger.steps.counts, lambda job: list(ledger.items.reports(job))):
        with pytest.raises(LookupError):
            use("foxxes")
    with pytest.raises(LookupError):
        ledger.jobs.set_status("foxxes", JobStatus.DONE)


def test_a_name_that_several_jobs_have_is_refused_with_their_ids(ledger: Ledger) -> None:
    start(ledger)
    start(ledger, job_id="job-2", output="file:///elsewhere")
    with pytest.raises(LookupError, match=r"More than one.*job-2 \(file:///elsewhere\), job-1 \(file:///out\)"):
        ledger.jobs.get("foxes")


def test_a_job_is_found_by_its_id_or_by_a_name_of_its_own(ledger: Ledger) -> None:
    assert ledger.jobs.count() == 0
    first = start(ledger)
    assert [ledger.jobs.find(wanted, field="id") for wanted in ("job-1", "foxes")] == [first, first]
    start(ledger, job_id="job-2", output="file:///elsewhere")
    assert (ledger.jobs.find("job-1", field="id"), ledger.jobs.count()) == (first, 2)
    for wanted, problem in (("foxes", "id: More than one job"), ("foxxes", "id: The ledger has no job")):
        with pytest.raises(InvalidInput, match=problem):
            ledger.jobs.find(wanted, field="id")


def test_jobs_come_newest_start_first(ledger: Ledger) -> None:
    start(ledger, job_id="old")
    start(ledger, job_id="new")
    assert [job.id for job in ledger.jobs.all()] == ["new", "old"]
    start(ledger, job_id="old")
    assert [job.id for job in ledger.jobs.all()] == ["old", "new"]


def test_a_job_ends_and_begins_again(ledger: Ledger) -> None:
    start(ledger)
    ledger.jobs.set_status("job-1", JobStatus.FAILED, "the budget is spent")
    job = ledger.jobs.get("job-1")
    assert (job.status, job.error) == (JobStatus.FAILED, "the budget is spent")
    assert job.finished_at is not None
    job = start(ledger)
    assert (job.status, job.error, job.finished_at, job.run) == (JobStatus.RUNNING, None, None, 2)


def test_the_same_revision_keeps_what_is_done(ledger: Ledger) -> None:
    created = start(ledger).created_at
    ledger.steps.record(
        "job-1", 1, "draw", [computed(0)], {0: ItemResult(DONE, finals={"draw": "foxes/final/item-0.png"})}
    )
    job = start(ledger)
    assert (job.run, job.created_at) == (2, created)
    assert ledger.items.progress("job-1") == Progress(total=6, pending=5, done=1, failed=0, quarantined=0)
    assert ledger.steps.counts("job-1")["draw"].computed == 1


def test_the_same_revision_may_be_sharded_anew(ledger: Ledger) -> None:
    start(ledger, shard_size=3)
    start(ledger, shard_size=2)
    assert [record.shard for record in ledger.items.find("job-1")] == [0, 0, 1, 1, 2, 2]
    assert [shard.items for shard in ledger.runs.shards("job-1")] == [2, 2, 2]


def test_another_revision_begins_from_nothing_but_artefacts(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0)], {0: ItemResult(DONE)})
    job = start(ledger, count=4, revision="b" * 64)
    assert (job.run, job.total) == (2, 4)
    assert states(ledger) == [PENDING] * 4
    assert ledger.steps.counts("job-1")["draw"] == StepCounts()
    assert list(ledger.steps.find_artefacts(ROOT, ["generate-0"])) == ["generate-0"]


def test_a_start_that_fails_changes_nothing(ledger: Ledger) -> None:
    job = start(ledger)
    items = [(record.item, 0) for record in ledger.items.find("job-1")]
    with pytest.raises(Exception, match=r"(?i)unique"):
        start(ledger, revision="b" * 64, items=[*items, items[0]])
    assert ledger.jobs.get("job-1") == job
    assert len(ledger.items.find("job-1")) == 6


# -- items -------------------------------------------------------------------------------------------------------------
def test_items_come_back_in_order_and_filtered(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [], {4: ItemResult(FAILED, error="out of paint", error_step="draw")})
    records = ledger.items.find("job-1")
    assert [record.item.index for record in records] == list(range(6))
    assert (records[2].item.prompt, records[2].item.seed) == ("a fox é 2", 2**63 - 3)
    assert records[2].item.vars == {"n": 2}
    assert [record.item.index for record in ledger.items.find("job-1", shard=1)] == [3, 4, 5]
    assert [record.item.index for record in ledger.items.find("job-1", shard=1, states=[PENDING])] == [3, 5]
    [failed] = ledger.items.find("job-1", states=[FAILED])
    assert (failed.error, failed.error_step) == ("out of paint", "draw")


def test_reset_makes_chosen_items_pending_again(ledger: Ledger) -> None:
    start(ledger)
    failure = StepOutcome(1, Outcome.FAILED, error="no paint", traceback="Traceback …")
    ends = {0: ItemResult(DONE, finals={"draw": "f/0.png"}), 1: ItemResult(FAILED, error="no paint", error_step="cut")}
    ledger.steps.record("job-1", 1, "draw", [computed(0), computed(1)])
    ledger.steps.record("job-1", 1, "cut", [computed(0, "cut"), failure], ends)
    assert ledger.items.reset("job-1", states=[FAILED], indices=[0, 2]) == 0
    assert ledger.items.reset("job-1", states=[FAILED]) == 1
    record = ledger.items.find("job-1")[1]
    assert (record.state, record.error, record.error_step) == (PENDING, None, None)
    assert ledger.steps.counts("job-1")["cut"] == StepCounts(computed=1, seconds=0.5)  # the failure is gone
    assert ledger.steps.counts("job-1")["draw"].computed == 2  # what succeeded is not
    assert ledger.items.reset("job-1", indices=[0, 0, 99]) == 1
    assert ledger.items.find("job-1")[0].finals == {}
    assert ledger.items.reset("job-1") == 6


def test_what_is_done_stays_done(ledger: Ledger) -> None:
    """A duplicate shard comes late, and fails."""
    start(ledger)
    finals = {"draw": "foxes/final/item-0.png"}
    ledger.steps.record("job-1", 1, "draw", [computed(0)], {0: ItemResult(DONE, finals=finals)})
    ledger.steps.record(
        "job-1", 1, "draw", [StepOutcome(0, Outcome.FAILED, error="late")], {0: ItemResult(FAILED, error="late")}
    )
    [record] = ledger.items.find("job-1", states=[DONE])
    assert (record.finals, record.error) == (finals, None)
    assert ledger.steps.counts("job-1")["draw"] == StepCounts(computed=1, seconds=0.5)


def test_what_failed_may_still_be_done(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [], {0: ItemResult(FAILED, error="x", error_step="draw")})
    ledger.steps.record("job-1", 1, "draw", [computed(0)], {0: ItemResult(DONE)})
    record = ledger.items.find("job-1")[0]
    assert (record.state, record.error, record.error_step) == (DONE, None, None)


# -- steps and artefacts -----------------------------------------------------------------------------------------------
def test_artefacts_are_found_by_root_and_fingerprint(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0), computed(1)])
    names = [f"generate-{number}" for number in range(1500)]  # more than one slice
    found = ledger.steps.find_artefacts(ROOT, names)
    assert found == {"generate-0": artefact(0), "generate-1": artefact(1)}
    assert ledger.steps.find_artefacts("s3://elsewhere", names) == {}
    assert ledger.steps.find_artefacts(ROOT, []) == {}
    ledger.steps.forget_artefacts(ROOT, names[1:])
    assert list(ledger.steps.find_artefacts(ROOT, names)) == ["generate-0"]


def test_a_known_artefact_stays_as_it_is(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0)])
    other = StepOutcome(1, Outcome.COMPUTED, 1.0, artefact(0, sha256="6" * 64, facts={}))
    ledger.steps.record("job-1", 1, "draw", [other, other])
    assert ledger.steps.find_artefacts(ROOT, ["generate-0"]) == {"generate-0": artefact(0)}


def test_facts_that_are_no_numbers_become_null(ledger: Ledger) -> None:
    start(ledger)
    entry = StepOutcome(0, Outcome.COMPUTED, 1.0, artefact(0, facts={"sharpness": float("nan"), "name": "é"}))
    ledger.steps.record("job-1", 1, "draw", [entry])
    assert ledger.steps.find_artefacts(ROOT, ["generate-0"])["generate-0"].facts == {"sharpness": None, "name": "é"}


def test_errors_of_any_bytes_can_be_recorded(ledger: Ledger) -> None:
    start(ledger)
    entry = StepOutcome(0, Outcome.FAILED, error="nul \x00", traceback="half a pair \ud800")
    ledger.steps.record("job-1", 1, "draw", [entry], {0: ItemResult(FAILED, error="nul \x00")})
    report = next(iter(ledger.items.reports("job-1")))
    assert report.steps["draw"].error == "nul �"
    assert report.steps["draw"].traceback == "half a pair ?"


def test_counts_name_every_step_in_recipe_order(ledger: Ledger) -> None:
    start(ledger)
    assert list(ledger.steps.counts("job-1")) == ["draw", "cut", "big"]
    ledger.steps.record("job-1", 1, "cut", [StepOutcome(0, Outcome.SKIPPED), StepOutcome(1, Outcome.FAILED, error="x")])
    ledger.steps.record("job-1", 1, "draw", [computed(0, seconds=2.0), computed(1, seconds=1.0), reused(2)])
    counts = ledger.steps.counts("job-1")
    assert counts["draw"] == StepCounts(computed=2, reused=1, seconds=3.0)
    assert counts["cut"] == StepCounts(skipped=1, failed=1)
    assert counts["big"] == StepCounts()


def test_all_visits_of_a_step_count_as_that_step(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0, seconds=2.0), computed(1, seconds=1.0), reused(2)])
    ledger.steps.record("job-1", 1, "cut", [StepOutcome(0, Outcome.SKIPPED)])
    ledger.steps.record("job-1", 1, "draw~2", [computed(0, seconds=4.0)])
    counts = ledger.steps.counts("job-1")
    assert list(counts) == ["draw", "cut", "big"]
    assert counts["draw"] == StepCounts(computed=3, reused=1, seconds=7.0)


def test_a_run_costs_its_own_images_and_loads(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [replace(computed(0), cost=0.25), replace(computed(1), cost=0.5)])
    ledger.runs.record_model_load("job-1", 1, "starter/diffusion", "worker", 2.0, 0.125)
    assert ledger.runs.cost("job-1", 1) == 0.875
    assert ledger.steps.counts("job-1", 1)["draw"].cost == 0.75
    start(ledger)
    assert ledger.runs.cost("job-1", 2) == 0
    assert ledger.steps.counts("job-1", 2)["draw"].cost == 0


def test_a_run_counts_the_work_of_earlier_runs_as_reused(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0), computed(1), StepOutcome(2, Outcome.SKIPPED)])
    start(ledger)
    ledger.steps.record("job-1", 2, "draw", [computed(3, seconds=4.0)])
    assert ledger.steps.counts("job-1", 2)["draw"] == StepCounts(computed=1, reused=2, skipped=1, seconds=4.0)
    assert ledger.steps.counts("job-1")["draw"] == StepCounts(computed=3, skipped=1, seconds=5.0)


def test_an_image_found_again_was_computed_once(ledger: Ledger) -> None:
    """A shard was killed after its first step; resumed, it finds the artefact."""
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0, seconds=2.0)])
    ledger.steps.record("job-1", 1, "draw", [reused(0)])
    assert ledger.steps.counts("job-1", 1)["draw"] == StepCounts(computed=1, seconds=2.0)


def test_an_outcome_replaces_an_earlier_one(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [StepOutcome(0, Outcome.FAILED, error="x", traceback="t"), computed(1)])
    other = StepOutcome(1, Outcome.REUSED, 0.0, artefact(9))
    ledger.steps.record("job-1", 1, "draw", [reused(0), other])
    assert ledger.steps.counts("job-1")["draw"] == StepCounts(reused=2)
    reports = list(ledger.items.reports("job-1"))
    assert (reports[0].steps["draw"].error, reports[0].steps["draw"].traceback) == (None, None)
    assert reports[1].steps["draw"].artefact == artefact(9)


def test_an_item_that_ends_has_the_steps_of_its_last_way_alone(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0), computed(1)])
    ledger.steps.record("job-1", 1, "cut", [computed(0, "cut"), computed(1, "cut")])
    failed = StepOutcome(0, Outcome.FAILED, error="x")
    ledger.steps.record("job-1", 1, "draw", [failed], {0: ItemResult(FAILED)}, {0: {"draw"}})
    reports = list(ledger.items.reports("job-1"))
    assert [list(report.steps) for report in reports[:2]] == [["draw"], ["draw", "cut"]]


def test_a_run_that_is_over_changes_no_item(ledger: Ledger) -> None:
    start(ledger)
    start(ledger, revision="b" * 64)
    ledger.steps.record("job-1", 1, "draw", [computed(0)], {0: ItemResult(DONE)})
    assert states(ledger) == [PENDING] * 6
    assert ledger.steps.counts("job-1")["draw"] == StepCounts()
    assert list(ledger.steps.find_artefacts(ROOT, ["generate-0"])) == ["generate-0"]


def test_a_record_that_fails_changes_nothing(ledger: Ledger) -> None:
    start(ledger)
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        ledger.steps.record("job-1", 1, "draw", [computed(0), computed(77)], {0: ItemResult(DONE)})
    assert states(ledger) == [PENDING] * 6
    assert ledger.steps.find_artefacts(ROOT, ["generate-0"]) == {}


def test_reports_bring_items_steps_and_artefacts_together(ledger: Ledger) -> None:
    start(ledger, count=1203)  # several slices
    ledger.steps.record("job-1", 1, "cut", [StepOutcome(7, Outcome.SKIPPED)])
    ledger.steps.record(
        "job-1", 1, "draw", [computed(7), computed(1202)], {1202: ItemResult(DONE, finals={"draw": "f.png"})}
    )
    reports = list(ledger.items.reports("job-1"))
    assert [report.record.item.index for report in reports] == list(range(1203))
    assert list(reports[7].steps) == ["draw", "cut"]
    assert reports[7].steps["draw"] == computed(7)
    assert reports[1202].record == ledger.items.find("job-1", states=[DONE])[0]
    assert reports[8].steps == {}


def test_a_report_survives_the_loss_of_its_artefact(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [computed(0)])
    ledger.steps.forget_artefacts(ROOT, ["generate-0"])
    report = next(iter(ledger.items.reports("job-1")))
    assert report.steps["draw"] == StepOutcome(0, Outcome.COMPUTED, 0.5, None)


# -- shards and workers ------------------------------------------------------------------------------------------------
def test_shards_count_what_is_pending(ledger: Ledger) -> None:
    start(ledger)
    ledger.steps.record("job-1", 1, "draw", [], {0: ItemResult(DONE), 1: ItemResult(FAILED)})
    found = ledger.runs.shards("job-1")
    assert [(shard.index, shard.state, shard.items, shard.attempts) for shard in found] == [
        (0, ShardState.PENDING, 1, 0),
        (1, ShardState.PENDING, 3, 0),
    ]


def test_each_flow_run_that_is_seen_running_is_an_attempt(ledger: Ledger) -> None:
    start(ledger)
    ledger.runs.set_shard("job-1", 0, ShardState.PENDING, flow_run_id="first")  # submitted
    ledger.runs.set_shard("job-1", 0, ShardState.RUNNING, flow_run_id="first")
    ledger.runs.set_shard("job-1", 0, ShardState.RUNNING, flow_run_id="first")  # a heartbeat
    ledger.runs.set_shard("job-1", 0, ShardState.RUNNING)
    assert ledger.runs.shards("job-1")[0].attempts == 1
    ledger.runs.set_shard("job-1", 0, ShardState.FAILED, error="worker died")
    ledger.runs.set_shard("job-1", 0, ShardState.RUNNING, flow_run_id="second")
    shard = ledger.runs.shards("job-1")[0]
    assert (shard.attempts, shard.flow_run_id, shard.error) == (2, "second", None)


def test_a_flow_run_that_was_followed_by_another_is_not_heard(ledger: Ledger) -> None:
    start(ledger)
    for flow_run in ("first", "second"):
        ledger.runs.set_shard("job-1", 0, ShardState.RUNNING, flow_run_id=flow_run)
    before = ledger.runs.shards("job-1")[0]
    ledger.runs.set_shard("job-1", 0, ShardState.FAILED, flow_run_id="first", error="cancelled")
    assert ledger.runs.shards("job-1")[0] == before


def test_a_heartbeat_moves_the_time(ledger: Ledger) -> None:
    start(ledger)
    before = ledger.runs.shards("job-1")[0].updated_at
    time.sleep(0.002)
    ledger.runs.set_shard("job-1", 0, ShardState.RUNNING, flow_run_id="first")
    assert ledger.runs.shards("job-1")[0].updated_at > before


def test_a_new_run_starts_its_shards_anew(ledger: Ledger) -> None:
    start(ledger)
    ledger.runs.set_shard("job-1", 0, ShardState.FAILED, flow_run_id="first", error="x")
    start(ledger)
    shard = ledger.runs.shards("job-1")[0]
    assert (shard.state, shard.attempts, shard.flow_run_id, shard.error) == (ShardState.PENDING, 0, None, None)


def test_an_unknown_shard_is_refused(ledger: Ledger) -> None:
    start(ledger)
    with pytest.raises(LookupError, match="shard 9"):
        ledger.runs.set_shard("job-1", 9, ShardState.RUNNING)


def test_model_loads_are_counted_by_job_and_run(ledger: Ledger) -> None:
    start(ledger)
    ledger.runs.record_model_load(None, None, "starter/diffusion", "gpu-0", 1.5)
    for run in (1, 1, 2):
        ledger.runs.record_model_load("job-1", run, "starter/diffusion", "gpu-0", 1.5)
    ledger.runs.record_model_load("job-1", 2, "starter/cutout", "gpu-1", 0.5)
    loads = ledger.runs.model_loads("job-1")
    assert {model: (load.count, load.seconds) for model, load in loads.items()} == {
        "starter/diffusion": (3, 4.5),
        "starter/cutout": (1, 0.5),
    }
    assert ledger.runs.model_loads("job-1", 1)["starter/diffusion"].count == 2


@pytest.mark.parts
def test_ten_thousand_items_are_no_burden(ledger: Ledger) -> None:
    began = time.process_time()
    start(ledger, count=10_000, shard_size=500)
    assert time.process_time() - began < 2  # of this process: a row by row insert takes several times that
    assert len(ledger.runs.shards("job-1")) == 20


# -- leases ------------------------------------------------------------------------------------------------------------
def test_a_lease_is_the_first_one_s_until_it_is_dropped(ledger: Ledger) -> None:
    assert ledger.leases.take("work", "first").owner == "first"
    assert ledger.leases.take("work", "second").owner == "first"
    ledger.leases.drop("work", "second")
    assert ledger.leases.find(["work", "other"]).keys() == {"work"}
    ledger.leases.drop("work", "first")
    assert ledger.leases.take("work", "second").owner == "second"


def test_only_the_holder_s_beats_count(ledger: Ledger) -> None:
    before = ledger.leases.take("work", "first")
    assert ledger.leases.confirm("work", "first")
    assert not ledger.leases.confirm("work", "second")
    assert ledger.leases.find(["work"])["work"].heartbeat == before.heartbeat + 1


def test_a_lease_passes_on_only_as_it_was_seen(ledger: Ledger) -> None:
    seen = ledger.leases.take("work", "first")
    ledger.leases.confirm("work", "first")
    assert ledger.leases.take("work", "second", dead=seen).owner == "first"
    assert ledger.leases.take("work", "second", dead=ledger.leases.find(["work"])["work"]).owner == "second"
    assert not ledger.leases.confirm("work", "first")


def test_the_most_frequent_errors_come_first(ledger: Ledger) -> None:
    job = start(ledger)
    for index, error in enumerate(("too dark", "no prompt", "too dark")):
        ledger.steps.record(job.id, 1, "base", [], {index: ItemResult(ItemState.FAILED, error=error)})
    assert ledger.items.common_errors(job.id) == [("too dark", 2), ("no prompt", 1)]
    assert ledger.items.common_errors(job.id, limit=1) == [("too dark", 2)]


@pytest.mark.parametrize("ended", [JobStatus.DONE, JobStatus.INCOMPLETE, JobStatus.FAILED])
def test_only_a_running_job_is_canceled(ledger: Ledger, ended: JobStatus) -> None:
    start(ledger)
    assert ledger.jobs.set_status("job-1", ended, "why")
    assert not ledger.jobs.set_status("job-1", JobStatus.CANCELLED, "cancelled")
    assert not ledger.jobs.end_if_running("job-1", JobStatus.CANCELLED, "cancelled")
    job = ledger.jobs.get("job-1")
    assert (job.status, job.error) == (ended, "why")
    assert job.finished_at is not None


def test_a_job_that_runs_again_has_neither_error_nor_end(ledger: Ledger) -> None:
    start(ledger)
    assert ledger.jobs.end_if_running("job-1", JobStatus.CANCELLED, "cancelled")
    again = start(ledger)
    assert (again.status, again.error, again.finished_at, again.run) == (JobStatus.RUNNING, None, None, 2)
