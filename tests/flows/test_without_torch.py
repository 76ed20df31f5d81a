"""What the flows image does: plan, run bursts, report and verify without the libraries that compute images."""

import json
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.without_torch import command, run

pytestmark = pytest.mark.parts


def test_the_block_blocks(tmp_path: Path) -> None:
    done = run("import torch", tmp_path)
    assert "No module named 'torch'" in done.stderr


def test_everything_that_flows_are_made_of_can_be_imported_and_nobody_asks_for_torch(tmp_path: Path) -> None:
    files = (path.relative_to(ROOT) for path in (ROOT / "flows").rglob("*.py") if path.stem != "__init__")
    modules = sorted(".".join(file.with_suffix("").parts) for file in files)
    assert "flows.burst.burst" in modules
    done = run(f"import {', '.join(modules)}, gpu_worker.process.prefect_worker\nprint(asked_for)", tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_job_is_planned(tmp_path: Path) -> None:
    done = run(command("plan", str(ROOT / "jobs" / "starter.yaml"), "--json"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"]["base"]["computed"] == 56


def test_a_worker_says_what_to_install(tmp_path: Path) -> None:
    done = run(command("worker", "start"), tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert "pixelmill[worker]" in done.stdout


def test_a_job_of_this_machine_alone_is_refused_before_a_server_is_started(tmp_path: Path) -> None:
    done = run(command("run", str(ROOT / "jobs" / "starter.yaml"), "--json"), tmp_path)
    assert done.returncode == 1
    assert "pixelmill[worker]" in done.stderr
    assert not (tmp_path / "home" / "prefect" / "server.json").exists()
