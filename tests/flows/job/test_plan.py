"""What a plan says that a run would do."""

from pathlib import Path

import pytest

from flows.job.plan import make_plan
from gpu_worker.walk.prediction import Forecast
from storage.objects.artefacts import StoreError
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


def test_an_output_that_takes_no_images_is_found_out(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    request = workspace.request(job(f"output: {tmp_path}/file/out"))
    with pytest.raises(StoreError, match="a part of the path is a file, not a folder"):
        make_plan(request, new_ledger(tmp_path / "ledger.db"), workspace.settings)


def test_a_plan_leaves_nothing_at_the_output(workspace: Workspace, tmp_path: Path) -> None:
    request = workspace.request(job(f"output: {tmp_path}/new/out"))
    make_plan(request, new_ledger(tmp_path / "ledger.db"), workspace.settings)
    assert not (tmp_path / "new").exists()
