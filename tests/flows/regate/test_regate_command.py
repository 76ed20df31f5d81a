"""`pixelmill regate` through the shell, beside a run under the new recipe elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Pixelmill
from tests.support.null.held_steps import null_steps_environment

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]

RECIPE = """
name: icon
steps:
  - {id: base, step: null_draw, require: [facts.this.score >= LIMIT]}
  - {id: large, step: null_shade, by: BY}
"""
JOB = """
name: icons
recipe: ./recipe.yaml
output: ./out
seed: 7
matrix:
  prompt: "a {color} {object}, game icon, white background"
  color: [red, blue]
  object: [potion, key]
"""


def write(shell: Pixelmill, name: str, *, limit: float, by: int) -> str:
    return shell.write(name, RECIPE.replace("LIMIT", str(limit)).replace("BY", str(by)))


def rows(shell: Pixelmill) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shell.folder / "out/icons/manifest.jsonl").read_text().splitlines()]


def outcome(row: dict[str, Any]) -> tuple[Any, ...]:
    steps = {step["step"]: step["fingerprint"] for step in row["steps"]}
    return row["name"], row["state"], row["error"], steps, [final["sha256"] for final in row["finals"]]


@pytest.fixture
def shell(tmp_path: Path, prefect_server: str) -> Iterator[Pixelmill]:
    (tmp_path / "old").mkdir()
    settings = {"PREFECT_API_URL": prefect_server, "PIXELMILL_WORK_POOL": "regate"}
    with Pixelmill(tmp_path / "old", settings | null_steps_environment(tmp_path)).with_worker() as shell:
        yield shell


def test_a_raised_threshold_comes_to_what_a_fresh_run_would(tmp_path: Path, shell: Pixelmill) -> None:
    write(shell, "recipe.yaml", limit=0.0, by=2)
    ran = shell.here("run", shell.write("job.yaml", JOB), "--json")
    assert ran.document["items"]["done"] == 4, ran.err
    scores = sorted(row["steps"][0]["facts"]["score"] for row in rows(shell))
    limit = (scores[1] + scores[2]) / 2

    write(shell, "stricter.yaml", limit=limit, by=2)
    looked = shell.here("regate", "icons", "--recipe", "./stricter.yaml", "--json", "--fail-on-change")
    assert looked.status == 3, looked.err
    assert looked.document["items"]["quarantined"] == 2 == looked.document["items"]["unchanged"]
    assert looked.document["steps"] == {} == looked.document["unmeasured"]
    for_people = shell.here("regate", "icons", "--recipe", "./stricter.yaml")
    assert for_people.status == 0
    assert "newly quarantined: 2" in for_people.out

    write(shell, "larger.yaml", limit=limit, by=3)
    looked = shell.here("regate", "icons", "--recipe", "./larger.yaml", "--json")
    assert looked.document["steps"] == {"large": {"computed": 2, "undecided": 0}}
    applied = shell.here("regate", "icons", "--recipe", "./larger.yaml", "--apply", "--json")
    assert applied.status == 0, applied.err
    steps = applied.document["run"]["steps"]
    assert (steps["base"]["computed"], steps["large"]["computed"]) == (0, 2)
    assert applied.document["run"]["items"]["quarantined"] == 2 and applied.document["removed_finals"] == 4
    verified = shell.here("verify", "icons", "--json")
    assert verified.status == 0, verified.out
    assert shell.here("regate", "icons", "--recipe", "./larger.yaml", "--apply", "--json").document["run"] is None

    (tmp_path / "new").mkdir()
    fresh = Pixelmill(tmp_path / "new", {**shell.env, "PIXELMILL_HOME": str(shell.home)})
    write(fresh, "recipe.yaml", limit=limit, by=3)
    assert fresh.here("run", fresh.write("job.yaml", JOB), "--json").status == 3
    assert [outcome(row) for row in rows(shell)] == [outcome(row) for row in rows(fresh)]

    # The job file with the new recipe finds its job as it is.
    write(shell, "recipe.yaml", limit=limit, by=3)
    again = shell.here("plan", "job.yaml", "--json").document
    assert again["items"]["done"] == 2
    assert {name: step["computed"] for name, step in again["steps"].items()} == {"base": 0, "large": 0}


def test_mistakes(tmp_path: Path) -> None:
    assert Pixelmill(tmp_path).here("regate", "nothing").status == 2
