"""The command line: answers at once, refuses nonsense with every mistake, and writes nothing when it does."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from storage.ledger.lease import job_lease
from storage.ledger.records import ItemResult, ItemState
from tests.support.command import Pixelmill, PixelmillHere
from tests.support.ledger_samples import computed, start
from tests.support.new_ledger import new_ledger

HEAVY = ("torch", "diffusers", "transformers", "rembg", "realesrgan", "cv2", "prefect", "sqlalchemy", "boto3")


@pytest.fixture
def pixelmill(tmp_path) -> Pixelmill:
    return PixelmillHere(tmp_path)


@pytest.mark.parts
def test_help_loads_nothing_heavy():
    code = f"""
import sys
from typer.testing import CliRunner
from flows.cli.main import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parts
def test_help_answers_in_a_second_and_a_half():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "flows.cli.main", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.5


def test_a_wrong_job_is_refused_with_every_mistake_and_nothing_written(pixelmill):
    job = pixelmill.write(
        "job.yaml",
        "name: bad/name\nrecipe: no-such-recipe\noutput: ./out\nseed: -2\nitems:\n- {name: a, promt: x}\n",
    )
    result = pixelmill("run", job, "--json")
    assert result.status == 2
    assert {"name", "recipe", "seed"} <= {error["path"] for error in result.document["errors"]}
    assert any("promt" in error["path"] + error["message"] for error in result.document["errors"])
    assert result.document["status"] == "refused"
    assert "job.yaml:1" in result.err and "job.yaml:4" in result.err
    assert not (pixelmill.folder / "out").exists()


@pytest.mark.parts
def test_a_terminal_that_lacks_characters_is_served(tmp_path):
    shell = Pixelmill(tmp_path, {"PYTHONIOENCODING": "ascii"})
    name = "blüten-花"
    job = shell.write("job.yaml", f"name: {name}\nrecipe: game-icon\noutput: ./out\nitems:\n- {{name: a, prompt: x}}\n")
    planned = shell("plan", job, "--json")
    assert planned.document["job"].startswith(name)
    assert shell("plan", job).status == 0


@pytest.mark.parts
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a device that is always full")
@pytest.mark.parametrize("arguments", [("--help",), ("status",), ("status", "--json"), ("models", "list", "--json")])
def test_output_that_cannot_be_written_takes_one_line_to_say(tmp_path, arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli.main", *arguments],
            env=Pixelmill(tmp_path).environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error"]
    assert "No space left" in done.stderr


def test_a_job_file_that_is_not_there_is_refused(pixelmill):
    result = pixelmill("plan", "nowhere.yaml")
    assert result.status == 2
    assert "nowhere.yaml" in result.err


def test_an_unknown_job_is_refused(pixelmill):
    result = pixelmill("status", "nobody", "--json")
    assert result.status == 2
    assert result.document["errors"][0]["path"] == "id"


def test_a_setting_out_of_bounds_is_refused(tmp_path):
    result = PixelmillHere(tmp_path, {"PIXELMILL_MICRO_BATCH": "0"})("models", "list")
    assert result.status == 2
    assert "PIXELMILL_MICRO_BATCH" in result.err


def test_status_without_jobs_says_how_to_start_one(pixelmill):
    result = pixelmill("status")
    assert result.status == 0
    assert "pixelmill run" in result.out
    assert pixelmill("status", "--json").document == {"jobs": []}


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        (("--images", "photos/", "--prompts", "p.txt"), "--prompts: give `--images` or `--prompts`, not both"),
        (("--images", "photoz/"), "--images: cannot be read: "),
        (("--images", ""), "--images: must not be empty"),
        (("--output", "out"), "--output: goes with `--images` or `--prompts`"),
        (("--images", "photos/", "--name", "a/b"), "--name: must not hold a path separator"),
    ],
)
def test_mistakes_of_a_job_without_a_file_name_the_option(tmp_path, options, mistake):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").touch()
    refused = Pixelmill(tmp_path).here("plan", "product-cutout", *options)
    assert refused.status == 2
    assert mistake in refused.err


def test_a_folder_of_images_needs_no_job_file(tmp_path):
    shell = Pixelmill(tmp_path)
    recipe = "name: thumb\nsteps:\n- {id: photo, step: load}\n- {id: small, step: resize, width: 9}\n"
    shell.write("recipe.yaml", recipe)
    (tmp_path / "photos").mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / "photos" / f"{name}.png")
    planned = shell.here("plan", "./recipe.yaml", "--images", "photos/", "--json").document
    assert planned["items"] == {"total": 2, "done": 0, "to_do": 2}
    assert planned["output"] == str(tmp_path / "out" / "recipe")
    assert planned["notices"] == []


def test_a_job_whose_process_is_gone_is_listed_as_interrupted(tmp_path):
    shell = Pixelmill(tmp_path)
    shell.home.mkdir()
    with closing(new_ledger(shell.home / "ledger.db")) as ledger:
        start(ledger, name="x" * 100)
        with job_lease(start(ledger, job_id="job-2").id, ledger):
            listed = {job["job"]: job["interrupted"] for job in shell.here("status", "--json").document["jobs"]}
            assert listed == {"job-1": True, "job-2": False}
            table = shell.here("status").out
    assert "interrupted" in table and "0 of 6" in table and "UTC" in table
    assert "…" not in table


def test_what_waits_for_review_is_listed_with_its_job(tmp_path):
    shell = Pixelmill(tmp_path)
    shell.home.mkdir()
    with closing(new_ledger(shell.home / "ledger.db")) as ledger:
        start(ledger)
        refused = ItemResult(ItemState.QUARANTINED, "too dark", "draw", refused_image="generate-0", refused_by="draw")
        ledger.steps.record("job-1", 1, "draw", [computed(0)], {0: refused})
        (listed,) = shell.here("status", "--json").document["jobs"]
        table = shell.here("status").out
    assert (listed["items"]["quarantined"], listed["items"]["waiting"]) == (1, 1)
    assert "to review" in table
