"""The form that decides a job again, in a real Prefect server and with its workers."""

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
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from configs.recipe.source import Overrides
from configs.settings.settings import Settings
from flows.prefect_api.deployments import SHARD, entrypoint_of
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord
from tests.support.command import Pixelmill
from tests.support.shells import running_up
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e


RECIPE = """\
name: photos
steps:
  - {id: original, step: load, require: [{that: facts.this.width > 10, because: too narrow}]}
  - {id: small, step: resize, width: 16}
"""
JOB = """\
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
    galleries: str

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

    def job(self) -> JobRecord:
        with closing(Ledger(Settings(home=self.shell.home).resolved_ledger_url)) as ledger:
            return ledger.jobs.all()[0]

    def finals(self) -> list[str]:
        return sorted(path.stem for path in (self.shell.folder / "out" / "photos" / "final").iterdir())

    def outcomes(self) -> dict[str, str]:
        lines = (self.shell.folder / "out/photos/manifest.jsonl").read_text().splitlines()
        return {row["name"]: row["state"] for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Two photos of 64 and 128 pixels, made 24 pixels wide by the job, 16 by the recipe."""
    shell = Pixelmill(tmp_path_factory.mktemp("up"))
    shell.write("photos.yaml", RECIPE)
    Image.new("RGB", (64, 64), "red").save(shell.folder / "narrow.png")
    Image.new("RGB", (128, 64), "blue").save(shell.folder / "wide.png")
    with running_up(shell) as (api, served):
        ran = Pixelmill(shell.folder, {"PREFECT_API_URL": api})("run", shell.write("job.yaml", JOB), "--json")
        assert ran.status == 0, ran.err
        with temporary_settings({PREFECT_API_URL: api}):
            yield Up(shell, served)


def artifact() -> str:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["regate-photos"])))
    return str(max(found, key=lambda each: str(each.created)).data)


def shards_of(job: JobRecord) -> int:
    """How many flow runs of shards the job has had on the GPU workers' pool."""
    with get_client(sync_client=True) as client:
        mine = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{job.id}"]))
        deployment = client.read_deployment_by_name(f"{SHARD.name}/{SHARD.name}")
        assert deployment.entrypoint == entrypoint_of(SHARD)
        return sum(run.deployment_id == deployment.id for run in client.read_flow_runs(flow_run_filter=mine))


def test_the_form_has_words_defaults_and_order(up: Up) -> None:
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
    before = up.job()
    assert before.overrides == Overrides(parameters={"small": {"width": 24}})

    refused = up.regate(recipe="nowhere", changes="small.width=0\njunk\n")
    assert refused.is_failed() and str(refused.message).startswith("Nothing was started. 2 mistakes: changes: junk: ")
    assert "unknown recipe `nowhere`" in str(refused.message)

    stricter = "original.require[0] = facts.this.width > 100"
    looked = up.regate(recipe="photos.yaml", changes=stricter)
    assert looked.is_completed() and looked.message == "Nothing was changed: 1 of 2 items unchanged."
    assert up.job() == before and up.finals() == ["narrow", "wide"]
    page = artifact()
    assert "| narrow | done | quarantined | original | too narrow" in page
    assert f"[Gallery]({up.galleries}/files/" in page

    # What has to be computed runs on the workers of the GPU pool, as in any burst.
    shards = shards_of(up.job())
    applied = up.regate(changes=f"{stricter}\nsmall.width=32", apply=True)
    assert applied.is_completed() and applied.message == "1 of 2 images, 1 quarantined"
    assert up.outcomes() == {"narrow": "quarantined", "wide": "done"} and up.finals() == ["wide"]
    assert Image.open(up.shell.folder / "out/photos/final/wide.png").width == 32
    assert shards_of(up.job()) == shards + 1
    assert up.job().overrides == Overrides(parameters={"small": {"width": 32}})
    assert "**incomplete · 1 of 2 items done\\, 1 quarantined" in artifact()
