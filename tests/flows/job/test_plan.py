"""What a plan says that a run would do."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from flows.job.plan import make_plan, start_job
from flows.job.request import revision_of
from gpu_worker.walk.prediction import Forecast
from storage.objects.artefacts import StoreError
from storage.objects.folder_store import FolderStore
from tests.flows.job.workspace import Workspace, job
from tests.support.new_ledger import new_ledger

GATED = """\
name: gated
steps:
  - {id: base, step: generate, model: tiny, width: 64, height: 64, require: [facts.this.width > 1], on_fail: {retry: 3}}
  - {id: large, step: upscale, model: tiny, scale: 4}
"""


def test_steps_are_counted_and_not_their_visits(workspace: Workspace) -> None:
    workspace.write("recipes/gated.yaml", GATED)
    ledger = new_ledger(workspace.folder / "ledger.db")
    plan = make_plan(workspace.request(job("recipe: gated")), ledger, workspace.settings)
    assert plan.steps == {"base": Forecast(computed=1, undecided=1), "large": Forecast(undecided=1)}


@pytest.mark.parametrize("own", [None, 5, 2**40])
def test_a_job_of_an_earlier_version_keeps_its_seeds(workspace: Workspace, own: int | None) -> None:
    """They had 63 bits, and its file now gives others: its images would all be made again."""
    text = job(f"items: [{{name: key, prompt: a key, seed: {own or 'null'}}}]", "vars: {transparent: true}")
    text += f"output: {workspace.folder}/out\n"
    ledger = new_ledger(workspace.folder / "ledger.db")
    request = workspace.request(text.replace("output: ./out\n", ""))
    (item,) = request.items
    former = item.model_copy(update={"wide_seeds": True, "seed": own or item.seed + 7 * 2**32})
    revision = revision_of(request.recipe, request.program, [former], request.model_digests)
    begun = start_job(replace(request, items=(former,), revision=revision), ledger, workspace.settings, log=print)
    assert make_plan(request, ledger, workspace.settings).request.items == (former,)
    again = start_job(request, ledger, workspace.settings, log=print)
    assert (again.run, again.revision) == (2, begun.revision)
    assert [record.item for record in ledger.items.find(again.id)] == [former]


def test_a_seed_that_a_job_now_gives_itself_is_taken(workspace: Workspace) -> None:
    ledger = new_ledger(workspace.folder / "ledger.db")
    request = workspace.request(job(f"output: {workspace.folder}/out"))
    former = request.items[0].model_copy(update={"wide_seeds": True, "seed": request.items[0].seed + 2**32})
    start_job(replace(request, items=(former,)), ledger, workspace.settings, log=print)
    given = workspace.request(
        job(f"output: {workspace.folder}/out", "items: [{name: potion, prompt: x, seed: 3, vars: {transparent: true}}]")
    )
    (item,) = make_plan(given, ledger, workspace.settings).request.items
    assert (item.seed, item.wide_seeds) == (3, False)


def test_an_output_that_takes_no_images_is_found_out(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    request = workspace.request(job(f"output: {tmp_path}/file/out"))
    with pytest.raises(StoreError, match="a part of the path is a file, not a folder"):
        make_plan(request, new_ledger(tmp_path / "ledger.db"), workspace.settings)


def test_a_plan_leaves_nothing_at_the_output(workspace: Workspace, tmp_path: Path) -> None:
    request = workspace.request(job(f"output: {tmp_path}/new/out"))
    make_plan(request, new_ledger(tmp_path / "ledger.db"), workspace.settings)
    assert not (tmp_path / "new").exists()


class SilentStore(FolderStore):
    """Answers late, as a server behind a firewall."""

    def check_writable(self, *, patient: bool = True) -> None:
        time.sleep(0.2)


def test_an_output_that_answers_late_is_named_while_one_waits(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.job.plan.SLOW_SECONDS", 0.05)
    monkeypatch.setattr("flows.job.plan.open_store", lambda *_: SilentStore(tmp_path / "out"))
    said: list[str] = []
    start_job(workspace.request(), new_ledger(tmp_path / "ledger.db"), workspace.settings, log=said.append)
    assert said == [f"waiting for an answer from {(tmp_path / 'out').as_uri()}"]
