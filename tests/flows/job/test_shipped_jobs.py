"""The jobs that come with Pixelmill: each can be planned, and their gates let some items pass and others not."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from configs.settings.settings import Settings
from flows.job.plan import read_plan_request
from tests.support import ROOT
from tests.support.command import Pixelmill, Result

pytestmark = pytest.mark.long

JOBS = ROOT / "jobs"


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_job_can_run(path, tmp_path):
    request = read_plan_request(path, Settings(home=tmp_path))
    assert request.job.name == path.stem and len(request.items) > 8


@pytest.fixture(scope="module")
def shell(tmp_path_factory, prefect_server) -> Iterator[Pixelmill]:
    """A user's shell, with a worker that keeps its models from one job to the next."""
    settings = {"PREFECT_API_URL": prefect_server, "PIXELMILL_WORK_POOL": "shipped"}
    with Pixelmill(tmp_path_factory.mktemp("shipped"), settings).with_worker() as shell:
        yield shell


def run_some(shell: Pixelmill, name: str, places: Sequence[int]) -> Result:
    """Runs a job that comes with Pixelmill; of its `zip` only the items at these places, with one image each."""
    document: dict[str, Any] = YAML(typ="safe").load(JOBS / f"{name}.yaml")
    document["zip"] = {
        field: [values[place] for place in places] if isinstance(values, list) else values
        for field, values in document["zip"].items()
    }
    document.pop("seeds_per_item", None)
    with (shell.folder / f"{name}.yaml").open("w") as file:
        YAML(typ="safe").dump(document, file)
    return shell.here("run", f"{name}.yaml", "--json")


def failures(document) -> dict[str, str | None]:
    return {failure["item"]: failure["step"] for failure in document["failures"]}


@pytest.mark.e2e
def test_icons_are_checked_and_twins_and_dragons_kept_back(shell):
    job = shell.write(
        "icons.yaml",
        """
name: icons
recipe: checked-icon
output: ./out
items:
  - {name: bell, prompt: "a teal bell, game icon, cream background", seed: 4}
  - {name: twin, prompt: "a teal bell, game icon, cream background", seed: 4}
  - {name: dragon, prompt: "a red dragon, game icon, cream background"}
""",
    )
    first = shell.here("run", job, "--json")
    assert first.status == 3, first.err
    assert failures(first.document) == {"twin": "distinct", "dragon": "seen"}
    counts = first.document["items"]
    assert (counts["done"], counts["failed"], counts["quarantined"], counts["pending"]) == (1, 0, 2, 0)
    folder = Path(first.document["output"])
    assert [path.name for path in (folder / "final").iterdir()] == ["bell.png"]
    again = shell.here("run", job, "--json")
    assert failures(again.document) == failures(first.document)
    assert not any(step["computed"] for step in again.document["steps"].values())


@pytest.mark.e2e
def test_products_are_cut_out_unless_the_photo_is_bad(shell):
    job = shell.write(
        "products.yaml",
        f"""
name: products
recipe: product-cutout
output: ./out
zip:
  name: "{{color}}-{{product}}"
  image: {JOBS / "products"}/{{color}}-{{product}}.png
  color: [red, blue, teal]
  product: [cup, globe, book]
  backdrop: [white, studio, none]
""",
    )
    done = shell.here("run", job, "--json")
    assert done.status == 3, done.err
    assert failures(done.document) == {"blue-globe": "cutout"}
    assert done.document["steps"]["shop"]["computed"] == 1
    assert done.document["steps"]["studio"]["computed"] == 0


@pytest.mark.e2e
def test_the_best_of_four_drafts_is_enlarged(shell):
    ran = run_some(shell, "explore", [0])
    assert ran.status == 0, ran.err
    folder = Path(ran.document["output"])
    assert [path.name for path in (folder / "final").iterdir()] == ["red-rocket.png"]
    steps = ran.document["steps"]
    assert (steps["draft"]["computed"], steps["large"]["computed"]) == (4, 1)


@pytest.mark.e2e
def test_pictures_for_a_class_show_what_their_word_says(shell):
    ran = run_some(shell, "lesson-picture", [0, 5, 10])
    assert ran.status == 3, ran.err
    assert failures(ran.document) == {"yellow-banana-card": "seen"}  # which the models do not draw
    folder = Path(ran.document["output"])
    assert sorted(path.name for path in (folder / "final").iterdir()) == [
        *("blue-umbrella-scene.png", "purple-book-sticker.png", "red-apple-card.jpg")
    ]
    steps = ("drawn", "paper", "sticker", "poster")
    assert [ran.document["steps"][step]["computed"] for step in steps] == [
        8,
        1,
        1,
        1,
    ]  # the banana four times, one twice


@pytest.mark.e2e
def test_a_tile_whose_edges_do_not_meet_is_quarantined(shell):
    ran = run_some(shell, "texture", [1, 12])
    assert ran.status == 3, ran.err
    assert list(failures(ran.document)) == ["blue-cup-checkered"]
    assert [path.name for path in (Path(ran.document["output"]) / "final").iterdir()] == ["yellow-star-dotted.png"]
