"""Bursts that wait for people, with a real Prefect server and its workers."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from configs.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, Wait
from tests.support.command import Pixelmill
from tests.support.shells import running_up
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.long]


RECIPE = """\
name: strict
steps:
  - {id: original, step: load, require: [{that: facts.this.width > 100, because: too narrow}]}
  - {id: small, step: resize, width: 16}
"""
JOB = """\
name: NAME
recipe: ./strict.yaml
output: ./out
review: wait
items:
  - {name: narrow, image: narrow.png}
  - {name: thin, image: narrow.png}
  - {name: wide, image: wide.png}
"""


MANY = JOB.replace("review: wait", "seeds_per_item: 8")  # a shard each: time to decide while it runs


@dataclass(frozen=True)
class Up:
    shell: Pixelmill
    api: str

    def start(self, name: str) -> UUID:
        """A burst of a job of this name; returns once it waits, or has ended."""
        path = self.shell.write(f"{name}.yaml", JOB.replace("NAME", name))
        run: Any = run_deployment("burst/burst", parameters={"job": path}, timeout=0, as_subflow=False)
        assert self.until(run.id, "Suspended").name == f"burst {name} 3 items"
        return UUID(str(run.id))

    def until(self, run: UUID, state: str) -> FlowRun:
        with get_client(sync_client=True) as client:

            def arrived() -> bool:
                now = client.read_flow_run(run).state
                assert now is not None
                assert now.name == state or not now.is_final(), f"{now.name}: {now.message}"
                return now.name == state

            wait_until(arrived)
            return client.read_flow_run(run)

    def job(self, name: str) -> JobRecord:
        with self.ledger() as ledger:
            return next(job for job in ledger.jobs.all() if job.name == name)

    def waits(self, name: str) -> list[Wait]:
        job = self.job(name)
        with self.ledger() as ledger:
            return ledger.reviews.waits(job.id)

    def ledger(self) -> "closing[Ledger]":
        return closing(Ledger(Settings(home=self.shell.home).resolved_ledger_url))

    def finals(self, name: str) -> list[str]:
        return sorted(path.stem for path in (self.shell.folder / "out" / name / "final").iterdir())


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    shell = Pixelmill(tmp_path_factory.mktemp("up"), {"PIXELMILL_SHARD_SIZE": "1"})
    shell.write("strict.yaml", RECIPE)
    Image.new("RGB", (64, 64), "red").save(shell.folder / "narrow.png")
    Image.new("RGB", (128, 64), "blue").save(shell.folder / "wide.png")
    with running_up(shell) as (api, _), temporary_settings({PREFECT_API_URL: api}):
        yield Up(shell, api)


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return str(max(found, key=lambda each: str(each.created)).data)


def test_a_burst_waits_without_a_process_and_goes_on_with_the_last_decision(up: Up) -> None:
    run = up.start("both")
    state = up.until(run, "Suspended").state
    assert state is not None and "2 items wait for a person" in str(state.message)
    assert up.job("both").status is JobStatus.INCOMPLETE
    assert [wait.flow_run_id for wait in up.waits("both")] == [str(run)]
    assert up.finals("both") == ["wide"]
    assert "2 items wait" in artifact("review-both")

    answer: Any = run_deployment(
        "review/review",
        parameters={"job": "both", "items": "narrow", "decision": "accept", "by": "mira"},
        timeout=0,
        as_subflow=False,
    )
    done = up.until(answer.id, "Completed").state
    assert done is not None and done.message == (
        "1 accepted. A burst waits, and goes on after the last decision. 1 waits for a decision."
    )
    up.until(run, "Suspended")

    shell = Pixelmill(up.shell.folder, {"PREFECT_API_URL": up.api})
    said = shell.here("reject", "both", "thin", "--reason", "too thin", "--json")
    assert (said.status, said.document["waiting"], said.document["burst"]) == (0, 0, "resumed")
    ended = up.until(run, "Completed").state
    assert ended is not None and ended.message == "2 of 3 images, 1 quarantined"
    assert up.finals("both") == ["narrow", "wide"]
    assert up.waits("both") == []
    assert "nothing waits" in artifact("review-both")
    manifest = [json.loads(line) for line in (up.shell.folder / "out/both/manifest.jsonl").read_text().splitlines()]
    assert {row["name"]: row["state"] for row in manifest} == {"narrow": "done", "thin": "quarantined", "wide": "done"}


def test_what_is_accepted_while_the_job_runs_goes_on_before_it_ends(up: Up) -> None:
    path = up.shell.write("many.yaml", MANY.replace("NAME", "many"))
    run: Any = run_deployment("burst/burst", parameters={"job": path}, timeout=0, as_subflow=False)
    wait_until(lambda: some_wait(up, "many"))
    accepted = up.shell.here("accept", "many", "--all", "--json").document["items"]
    assert 0 < len(accepted) < 16
    with up.ledger() as ledger:
        assert ledger.jobs.get(up.job("many").id).status is JobStatus.RUNNING, (
            "it was decided too late to test anything"
        )
    up.until(run.id, "Completed")
    assert set(accepted) < set(up.finals("many"))


def some_wait(up: Up, name: str) -> bool:
    with up.ledger() as ledger:
        return any(ledger.reviews.count_waiting(job.id) for job in ledger.jobs.all() if job.name == name)


def test_cancelling_ends_the_wait_with_items_in_quarantine(up: Up) -> None:
    run = up.start("called-off")
    said = up.shell("cancel", "called-off", "--json")
    assert said.document["cancelled"] is True
    ended = up.until(run, "Completed").state
    assert ended is not None and ended.message == "1 of 3 images, 2 quarantined"
    assert up.waits("called-off") == []
    assert up.job("called-off").status is JobStatus.INCOMPLETE


def test_a_waiting_burst_that_is_cancelled_in_prefect_leaves_the_job_as_it_is(up: Up) -> None:
    run = up.start("gone")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())
    up.until(run, "Cancelled")
    assert up.job("gone").status is JobStatus.INCOMPLETE
    wait_until(lambda: up.waits("gone") == [])
    accepted = up.shell("accept", "gone", "--all", "--resume", "--json")
    assert accepted.status == 0, accepted.err
    assert accepted.document["items"]["done"] == 3
