"""Bursts that wait for people, and the forms that decide and regate, with a real Prefect server and its workers."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from configs.recipe.source import Overrides
from configs.settings.settings import Settings
from flows.prefect_api.deployments import SHARD, entrypoint_of
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, Wait
from tests.support.command import Pixelmill, Result
from tests.support.hostile_surroundings import hostile_surroundings
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

PHOTOS_RECIPE = RECIPE.replace("strict", "photos").replace("100", "10")
PHOTOS = """\
name: photos
recipe: ./photos.yaml
output: ./out
parameters: {small: {width: 24}}
items:
  - {name: narrow, image: narrow.png}
  - {name: wide, image: wide.png}
"""


@dataclass(frozen=True)
class Up:
    shell: Pixelmill
    api: str
    galleries: str

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

    def regate(self, **answers: Any) -> State[Any]:
        """How a run of the form ended."""
        run: Any = run_deployment("regate/regate", parameters={"job": "photos", **answers}, timeout=0, as_subflow=False)
        with get_client(sync_client=True) as client:

            def state() -> State[Any]:
                found = client.read_flow_run(UUID(str(run.id))).state
                assert found is not None
                return found

            wait_until(lambda: state().is_final())
            return state()

    def beside(self, *arguments: str) -> Result:
        """A command that finds the server and its workers."""
        return Pixelmill(self.shell.folder, {**self.shell.env, "PREFECT_API_URL": self.api}).here(*arguments)

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

    def outcomes(self, name: str) -> dict[str, str]:
        lines = (self.shell.folder / "out" / name / "manifest.jsonl").read_text().splitlines()
        return {row["name"]: row["state"] for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    shell = Pixelmill(folder, {"PIXELMILL_SHARD_SIZE": "1", **hostile_surroundings(folder)})
    shell.write("strict.yaml", RECIPE)
    shell.write("photos.yaml", PHOTOS_RECIPE)
    Image.new("RGB", (64, 64), "red").save(shell.folder / "narrow.png")
    Image.new("RGB", (128, 64), "blue").save(shell.folder / "wide.png")
    with running_up(shell) as (api, galleries), temporary_settings({PREFECT_API_URL: api}):
        yield Up(shell, api, galleries)


def test_up_serves_from_a_folder_of_namesakes_behind_a_proxy(up: Up) -> None:
    answers = {"prompts": "a key", "dry_run": True}
    run: Any = run_deployment("images/game-icon", parameters=answers, timeout=0, as_subflow=False)
    done = up.until(run.id, "Completed").state
    assert done is not None and done.message == "Dry run: 1 images, 1 of them to be made. Nothing was."
    assert (up.shell.folder / "its-home" / "ledger.db").is_file()


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

    shell = Pixelmill(up.shell.folder, {**up.shell.env, "PREFECT_API_URL": up.api})
    said = shell.here("reject", "both", "thin", "--reason", "too thin", "--json")
    assert (said.status, said.document["waiting"], said.document["burst"]) == (0, 0, "resumed")
    ended = up.until(run, "Completed").state
    assert ended is not None and ended.message == "2 of 3 images, 1 quarantined"
    assert up.finals("both") == ["narrow", "wide"]
    assert up.waits("both") == []
    assert "nothing waits" in artifact("review-both")
    assert up.outcomes("both") == {"narrow": "done", "thin": "quarantined", "wide": "done"}


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
    said = up.shell.here("cancel", "called-off", "--json")
    assert said.document["cancelled"] is True
    ended = up.until(run, "Completed").state
    assert ended is not None and ended.message == "1 of 3 images, 2 quarantined, 2 to review"
    assert up.waits("called-off") == []
    assert up.job("called-off").status is JobStatus.INCOMPLETE


def test_a_waiting_burst_that_is_cancelled_in_prefect_leaves_the_job_as_it_is(up: Up) -> None:
    run = up.start("gone")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())
    up.until(run, "Cancelled")
    assert up.job("gone").status is JobStatus.INCOMPLETE
    wait_until(lambda: up.waits("gone") == [])
    accepted = up.beside("accept", "gone", "--all", "--resume", "--json")
    assert accepted.status == 0, accepted.err
    assert accepted.document["items"]["done"] == 3


def shards_of(job: JobRecord) -> int:
    """How many flow runs of shards the job has had on the GPU workers' pool."""
    with get_client(sync_client=True) as client:
        mine = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{job.id}"]))
        deployment = client.read_deployment_by_name(f"{SHARD.name}/{SHARD.name}")
        assert deployment.entrypoint == entrypoint_of(SHARD)
        return sum(run.deployment_id == deployment.id for run in client.read_flow_runs(flow_run_filter=mine))


def test_the_regate_form_has_words_defaults_and_order(up: Up) -> None:
    with get_client(sync_client=True) as client:
        schema: Any = client.read_deployment_by_name("regate/regate").parameter_openapi_schema
    fields = schema["properties"]
    assert [name for name, _ in sorted(fields.items(), key=lambda each: each[1]["position"])] == [
        "job",
        "recipe",
        "changes",
        "apply",
    ]
    assert schema["required"] == ["job"]
    assert [fields[name]["title"] for name in fields] == ["Job", "Recipe", "Changes", "Apply"]
    assert fields["apply"]["default"] is False and fields["apply"]["type"] == "boolean"
    assert "facts.this.contrast" in fields["changes"]["description"]
    assert not any("anyOf" in field or "$ref" in field for field in fields.values())


def test_a_threshold_is_tried_and_then_applied(up: Up) -> None:
    job = up.shell.write("photos-job.yaml", PHOTOS)
    ran = up.beside("run", job, "--json")
    assert ran.status == 0, ran.err
    before = up.job("photos")
    assert before.overrides == Overrides(parameters={"small": {"width": 24}})

    refused = up.regate(recipe="nowhere", changes="small.width=0\njunk\n")
    assert refused.is_failed() and str(refused.message).startswith("Nothing was started. 2 mistakes: changes: junk: ")
    assert "unknown recipe `nowhere`" in str(refused.message)

    stricter = "original.require[0] = facts.this.width > 100"
    looked = up.regate(recipe="photos.yaml", changes=stricter)
    assert looked.is_completed() and looked.message == "Nothing was changed: 1 of 2 items unchanged."
    assert up.job("photos") == before and up.finals("photos") == ["narrow", "wide"]
    page = artifact("regate-photos")
    assert "| narrow | done | quarantined | original | too narrow" in page
    assert f"[Gallery]({up.galleries}/files/" in page

    # What has to be computed runs on the workers of the GPU pool, as in any burst.
    shards = shards_of(up.job("photos"))
    applied = up.regate(changes=f"{stricter}\nsmall.width=32", apply=True)
    assert applied.is_completed() and applied.message == "1 of 2 images, 1 quarantined, 1 to review"
    assert up.outcomes("photos") == {"narrow": "quarantined", "wide": "done"} and up.finals("photos") == ["wide"]
    assert Image.open(up.shell.folder / "out/photos/final/wide.png").width == 32
    assert shards_of(up.job("photos")) == shards + 1
    assert up.job("photos").overrides == Overrides(parameters={"small": {"width": 32}})
    assert "**incomplete · 1 of 2 items done\\, 1 quarantined" in artifact("regate-photos")
