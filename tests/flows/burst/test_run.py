"""Whole jobs through the command line: server, worker, starter models, store and ledger, and what kills them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from starter.sprites import draw_sprite
from storage.objects.open_store import open_store
from tests.support.command import Pixelmill
from tests.support.null.held_steps import hold, null_steps_environment
from tests.support.servers.s3 import rclone_s3
from tests.support.shells import only_job, processes_below, recorded, some_recorded
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

RECIPE = """
name: icon
vars: {transparent: false}
steps:
  - {id: base, step: generate, model: starter, width: 64, height: 64, steps: 20, guidance: 3.0}
  - {id: cutout, step: remove_background, model: starter, when: vars.transparent}
  - {id: large, step: upscale, model: starter, scale: SCALE}
keep: [large]
"""

JOB = """
name: icons
recipe: ./recipe.yaml
output: OUTPUT
seed: 7
items:
  - {name: cut, prompt: "a red potion, game icon, white background", vars: {transparent: true}}
matrix:
  prompt: "a {color} {object}, game icon, white background"
  color: [red, blue, green]
  object: [potion, key]
"""

# For what ends processes: whether they have loaded a model makes no difference there.
HELD_RECIPE = "name: held\nsteps:\n- {id: base, step: held_generate}\n- {id: large, step: null_pass}\n"

ITEMS = 7


@pytest.fixture
def shell(tmp_path, prefect_server) -> Pixelmill:
    """A user's shell before one long-lived Prefect server."""
    return Pixelmill(tmp_path, {"PREFECT_API_URL": prefect_server, **null_steps_environment(tmp_path)})


@pytest.fixture(scope="module")
def warm(tmp_path_factory, prefect_server) -> Iterator[Pixelmill]:
    """A home with a worker that is there before the tests."""
    folder = tmp_path_factory.mktemp("warm")
    settings = {"PREFECT_API_URL": prefect_server, "PIXELMILL_WORK_POOL": "runs"}
    with Pixelmill(folder, settings | null_steps_environment(folder)).with_worker() as shell:
        yield shell


@pytest.fixture
def warm_shell(tmp_path, warm) -> Pixelmill:
    """A shell in that home, with a folder of its own."""
    return Pixelmill(tmp_path, {**warm.env, "PIXELMILL_HOME": str(warm.home)})


def write_job(shell: Pixelmill, *, output: str = "./out", scale: int = 4) -> str:
    shell.write("recipe.yaml", RECIPE.replace("SCALE", str(scale)))
    return shell.write("job.yaml", JOB.replace("OUTPUT", output))


def write_held_job(shell: Pixelmill) -> str:
    """A job of as many items, of which the first ones are made at once."""
    shell.write("recipe.yaml", HELD_RECIPE)
    return shell.write("job.yaml", JOB.replace("OUTPUT", "./out"))


def test_a_job_over_s3_is_made_once_and_a_changed_step_alone_is_made_again(shell, tmp_path, monkeypatch):
    with rclone_s3() as server, Pixelmill(tmp_path, {**shell.env, **server.environment}).with_worker() as shell:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        output = f"s3://{server.bucket}/assets"
        store = open_store(output, server.settings())
        job = write_job(shell, output=output)

        first = shell("run", job, "--json")
        assert first.status == 0, first.err
        assert first.err.splitlines()[0] == f"icons: the gallery will be {output}/icons/index.html"
        none = dict.fromkeys(("failed", "quarantined", "waiting", "pending"), 0)
        assert first.document["items"] == {"total": ITEMS, "done": ITEMS, **none}
        assert first.document["steps"]["base"]["computed"] == ITEMS
        assert first.document["steps"]["cutout"]["computed"] == 1
        assert first.document["steps"]["cutout"]["skipped"] == ITEMS - 1
        assert set(first.document["model_loads"].values()) == {1}
        finals = {key: store.get(key) for key, _ in store.list("icons/final/")}
        assert len(finals) == ITEMS

        again = shell.here("run", job, "--json")
        assert again.status == 0
        assert {step: counts["computed"] for step, counts in again.document["steps"].items()} == {
            "base": 0,
            "cutout": 0,
            "large": 0,
        }
        assert again.document["steps"]["large"]["reused"] == ITEMS
        assert again.document["model_loads"] == {}

        changed = shell.here("run", write_job(shell, output=output, scale=2), "--json")
        assert changed.status == 0
        assert changed.document["steps"]["base"] == {
            "computed": 0,
            "reused": ITEMS,
            "skipped": 0,
            "failed": 0,
            "seconds": 0.0,
            "cost": 0.0,
        }
        assert changed.document["steps"]["large"]["computed"] == ITEMS
        assert changed.document["model_loads"] == {}  # the worker has kept the one that it needs


def test_a_killed_child_costs_nothing_that_was_recorded(shell):
    held = hold(shell)
    process = shell.start("run", write_held_job(shell), "--json")
    wait_until(lambda: some_recorded(shell))
    (child,) = processes_below(process, "gpu_worker.process.worker_child")
    child.kill()
    before = recorded(shell)
    held.unlink()
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert f'"total": {ITEMS}, "done": {ITEMS}' in out
    assert 0 < before < recorded(shell) == ITEMS


def test_a_plan_counts_what_went_with_the_output(warm_shell):
    job = write_held_job(warm_shell)
    assert warm_shell.here("run", job).status == 0
    shutil.rmtree(warm_shell.folder / "out")
    planned = warm_shell.here("plan", job, "--json").document["steps"]
    assert {step: counts["computed"] for step, counts in planned.items()} == {"base": ITEMS, "large": ITEMS}


def test_cancel_stops_the_job_and_resume_ends_it(warm_shell):
    held = hold(warm_shell)
    process = warm_shell.start("run", write_held_job(warm_shell), "--json")
    wait_until(lambda: some_recorded(warm_shell))
    assert warm_shell.here("cancel", only_job(warm_shell).id, "--json").document["cancelled"] is True
    out, _ = process.communicate(timeout=60)
    held.unlink()
    assert process.returncode == 1
    assert '"status": "cancelled"' in out
    assert 0 < recorded(warm_shell) < ITEMS
    assert warm_shell.here("resume", only_job(warm_shell).id, "--json").document["items"]["done"] == ITEMS


def test_a_bad_item_fails_alone_and_is_retried_once_it_is_mended(warm_shell):
    shell = warm_shell
    broken = Path(shell.write("broken.png", "not an image"))
    shell.write("recipe.yaml", "name: r\nsteps:\n- {id: photo, step: load}\n- {id: small, step: resize, width: 32}\n")
    draw(shell.folder / "sound.png", seed=1)
    items = "items:\n- {name: broken, image: broken.png}\n- {name: sound, image: sound.png}\n"
    job = shell.write("job.yaml", f"name: photos\nrecipe: ./recipe.yaml\noutput: ./out\n{items}")

    result = shell.here("run", job, "--json")
    assert result.status == 3
    assert result.document["items"]["done"] == 1
    assert [failure["item"] for failure in result.document["failures"]] == ["broken"]

    draw(broken, seed=2)
    mended = shell.here("retry", "photos", "--json")
    assert mended.status == 0
    assert mended.document["items"]["done"] == 2
    assert mended.document["steps"]["small"] == {
        "computed": 1,
        "reused": 1,
        "skipped": 0,
        "failed": 0,
        "seconds": mended.document["steps"]["small"]["seconds"],
        "cost": 0.0,
    }


def draw(path: Path, seed: int) -> None:
    draw_sprite("potion", "red", "white", seed).image.save(path)
