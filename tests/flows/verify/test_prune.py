"""What is thrown away: jobs that are forgotten, and artefacts that no job names. Nothing that anybody may need."""

import json
import os
import threading
import time
from contextlib import closing
from datetime import timedelta

import pytest

from configs.documents.problems import InvalidInput
from flows.job.plan import continue_job
from flows.verify.prune import find_unnamed, forget, prune
from storage.images.job_mark import MARK, read_mark, write_mark
from storage.ledger.lease import JobIsRunning, job_lease, lease, lease_of_job, lease_of_pruning
from storage.ledger.records import JobStatus
from storage.objects.keys import sha256_hex
from tests.support.command import PixelmillHere
from tests.support.jobs.verified_job import IconJob
from tests.support.ledger_samples import start
from tests.support.new_ledger import new_ledger

AT_ONCE, A_WEEK = timedelta(0), timedelta(days=7)
ELSEWHERE = "another/7/1/n"  # a holder on a machine that cannot be seen from here


def keys(job: IconJob, prefix: str) -> set[str]:
    return {key for key, _ in job.store.list(prefix)}


def add_unnamed(job: IconJob, *, days_old: float = 0) -> str:
    """An image that a process stored and died before it recorded it."""
    key = f"artefacts/ab/{'ab' * 32}.png"
    job.store.put(key, b"image", sha256=sha256_hex(b"image"), content_type="image/png")
    then = time.time() - days_old * 24 * 3600
    os.utime(job.store.uri(key), (then, then))
    return key


def shell_of(job: IconJob) -> PixelmillHere:
    return PixelmillHere(job.folder, {"PIXELMILL_HOME": "home"})


# -- pruning -----------------------------------------------------------------------------------------------------------
def test_artefacts_that_no_job_names_are_removed_and_no_others(local_icons: IconJob) -> None:
    named = keys(local_icons, "artefacts/")
    old = add_unnamed(local_icons, days_old=8)
    found = prune(local_icons.store, A_WEEK, local_icons.ledger)
    assert ([each.key for each in found.old], found.artefacts) == ([old], len(named) + 1)
    assert keys(local_icons, "artefacts/") == named
    assert local_icons.verify().sound


def test_young_artefacts_stay(local_icons: IconJob) -> None:
    young = add_unnamed(local_icons, days_old=6)
    found = prune(local_icons.store, A_WEEK, local_icons.ledger)
    assert (found.old, found.young) == ((), 1)
    assert young in keys(local_icons, "artefacts/")


def test_without_delete_the_command_only_counts(local_icons: IconJob) -> None:
    old = add_unnamed(local_icons, days_old=8)
    shell = shell_of(local_icons)
    counted = shell("prune", "out", "--json").document
    assert (counted["unnamed"], counted["bytes"], counted["deleted"]) == (1, 5, 0)
    assert "--delete removes them" in shell("prune", "out").err
    assert old in keys(local_icons, "artefacts/")
    assert shell("prune", "out", "--delete", "--json").document["deleted"] == 1
    assert old not in keys(local_icons, "artefacts/")


@pytest.mark.parametrize("place", ["nowhere", "home/ledger.db"])
def test_a_place_that_is_no_folder_is_refused(local_icons: IconJob, place: str) -> None:
    refused = shell_of(local_icons)("prune", place)
    assert refused.status == 2
    assert "PLACE: " in refused.err and "is not there, or is not a folder" in refused.err


def test_what_another_ledger_s_job_names_stays_and_is_told(local_icons: IconJob) -> None:
    """The folder's job is in no ledger here: its manifest says what it needs."""
    with closing(new_ledger(local_icons.folder / "other.db")) as other:
        found = prune(local_icons.store, AT_ONCE, other)
    assert (found.foreign, found.unreadable, found.old) == (("job",), (), ())


def test_a_job_of_another_ledger_without_a_manifest_keeps_everything(local_icons: IconJob) -> None:
    local_icons.store.delete("job/manifest.jsonl")
    before = keys(local_icons, "")
    with closing(new_ledger(local_icons.folder / "other.db")) as other:
        with pytest.raises(InvalidInput, match=r"no manifest yet \(job\)"):
            prune(local_icons.store, AT_ONCE, other)
        assert keys(local_icons, "") == before
        assert prune(local_icons.store, AT_ONCE, other, even_unreadable=True).unreadable == ("job",)
    assert not keys(local_icons, "artefacts/")


def test_nothing_is_pruned_while_a_job_runs_or_is_about_to_begin(local_icons: IconJob) -> None:
    add_unnamed(local_icons, days_old=8)
    before = keys(local_icons, "")
    for held in ("job", "job-that-begins"):  # the ledger does not know yet where that one writes
        with job_lease(held, local_icons.ledger), pytest.raises(JobIsRunning, match=f"a process works at {held}"):
            prune(local_icons.store, A_WEEK, local_icons.ledger)
    local_icons.mill.start()
    with pytest.raises(JobIsRunning, match="job is running in"):
        prune(local_icons.store, A_WEEK, local_icons.ledger)
    assert keys(local_icons, "") == before


def test_no_job_goes_on_while_its_output_is_pruned(local_icons: IconJob) -> None:
    root = local_icons.store.root
    with lease(lease_of_pruning(root), local_icons.ledger), pytest.raises(JobIsRunning, match="is being pruned"):
        continue_job(local_icons.job, local_icons.ledger, local_icons.mill.settings)


# -- forgetting --------------------------------------------------------------------------------------------------------
def test_a_job_is_forgotten_and_its_images_stay(local_icons: IconJob) -> None:
    before = keys(local_icons, "")
    forget(local_icons.job, local_icons.ledger, local_icons.mill.settings, images=False)
    assert local_icons.ledger.jobs.count() == 0
    assert keys(local_icons, "") - {f"job/{MARK}"} == before
    mark = read_mark(local_icons.store, "job")
    assert mark is not None and mark.is_forgotten
    found = find_unnamed(local_icons.store, AT_ONCE, local_icons.ledger)
    assert {each.key for each in found.old} == {key for key in before if key.startswith("artefacts/")}


def test_with_its_images_go_its_folder_and_the_artefacts_that_no_other_job_names(local_icons: IconJob) -> None:
    shared = local_icons.artefact("first", "small")
    ours = start(local_icons.ledger, output=local_icons.store.root)
    outcome = local_icons.report("first").steps["small"]
    local_icons.ledger.steps.record(ours.id, ours.run, "draw", [outcome])
    local_icons.ledger.jobs.set_status(ours.id, JobStatus.DONE)
    forget(local_icons.job, local_icons.ledger, local_icons.mill.settings, images=True)
    assert keys(local_icons, "") == {shared.key}
    assert [job.id for job in local_icons.ledger.jobs.all()] == [ours.id]


def test_a_running_job_is_never_forgotten(local_icons: IconJob) -> None:
    name, ending = lease_of_job("job"), threading.Event()
    local_icons.ledger.leases.take(name, ELSEWHERE)

    def beat() -> None:
        while not ending.wait(0.2):
            local_icons.ledger.leases.confirm(name, ELSEWHERE)

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with pytest.raises(JobIsRunning):
            forget(local_icons.job, local_icons.ledger, local_icons.mill.settings, images=True)
    finally:
        ending.set()
        heart.join()
    assert local_icons.verify().sound


def test_a_folder_that_another_ledger_has_taken_is_left_alone(local_icons: IconJob) -> None:
    with closing(new_ledger(local_icons.folder / "other.db")) as other:
        write_mark(local_icons.store, start(other, job_id="job", name="job", output=local_icons.store.root))
    before = keys(local_icons, "")
    with pytest.raises(InvalidInput, match="another ledger's by now"):
        forget(local_icons.job, local_icons.ledger, local_icons.mill.settings, images=True)
    forget(local_icons.job, local_icons.ledger, local_icons.mill.settings, images=False)
    mark = read_mark(local_icons.store, "job")
    assert mark is not None and not mark.is_forgotten
    assert keys(local_icons, "") == before


def test_images_are_kept_while_a_job_of_another_ledger_beside_them_has_no_manifest(local_icons: IconJob) -> None:
    """What it needs cannot be known yet."""
    with closing(new_ledger(local_icons.folder / "other.db")) as other:
        write_mark(local_icons.store, start(other, job_id="foreign", name="foreign", output=local_icons.store.root))
    before = keys(local_icons, "")
    with pytest.raises(InvalidInput, match=r"no manifest yet \(foreign\)"):
        forget(local_icons.job, local_icons.ledger, local_icons.mill.settings, images=True)
    assert keys(local_icons, "") == before


def test_the_command_asks_first_and_tells_what_goes(local_icons: IconJob) -> None:
    shell = shell_of(local_icons)
    refused = shell("forget", "job", "--images")
    assert (refused.status, "--yes: is needed" in refused.err) == (2, True)
    told = shell("forget", "job", "--images", "--dry-run", "--json").document
    assert told == {
        "job": "job",
        "items": 5,
        "files": len(keys(local_icons, "job/")),
        "artefacts": len(keys(local_icons, "artefacts/")),
        "dry_run": True,
    }
    assert local_icons.verify().sound
    assert shell("forget", "job", "--yes", "--json").document["files"] == 0
    assert json.loads(shell("status", "--json").out) == {"jobs": []}
