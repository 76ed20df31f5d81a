"""What a job file becomes: steps, items, digests and a revision."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from configs.catalogues import catalogue
from configs.job.items import derive_seed
from configs.recipe.recipe import Distinct
from flows.job.request import JobRequest, read_request
from tests.flows.job.workspace import JOB, RECIPE, Workspace, job


@pytest.fixture
def own_catalogue() -> Iterator[None]:
    """What is added to the process's catalogue goes with the test."""
    catalogue.current.cache_clear()
    yield
    catalogue.current.cache_clear()


# -- what a job becomes ----------------------------------------------------------------------------------------------


def test_a_request(workspace, monkeypatch):
    monkeypatch.chdir(workspace.folder)
    request = workspace.request()
    (item,) = request.items
    assert (item.index, item.name, item.prompt, item.seed) == (0, "potion", "a red potion", derive_seed(0, "potion", 0))
    assert item.vars == {"transparent": True}
    assert [(visit.id, visit.name) for visit in request.program.visits] == [
        ("base", "generate"),
        ("cutout", "remove_background"),
        ("repair", "inpaint"),
        ("large", "upscale"),
    ]
    assert request.program.decisions[0].condition.text == "vars.transparent"
    assert request.recipe.keep == ("large",)
    assert request.output == f"{workspace.folder}/out"
    assert set(request.model_digests) == {"tiny/diffusion", "tiny/cutout", "tiny/upscaler"}
    assert re.fullmatch("[0-9a-f]{64}", request.revision)


def test_items_matrix_and_zip_are_concatenated(workspace):
    request = workspace.request(
        JOB
        + "seeds_per_item: 2\nseed: 7\nvars: {transparent: false, style: flat}\n"
        + 'matrix:\n  prompt: "a {color} {object}, {style}"\n  color: [red, blue]\n  object: [potion, key]\n'
        + "zip:\n  name: z-{n}\n  prompt: number {n}\n  n: [1, 2]\n  transparent: [true, false]\n"
    )
    assert [item.name for item in request.items][::2] == [
        "potion-1",
        "red-potion-1",
        "red-key-1",
        "blue-potion-1",
        "blue-key-1",
        "z-1-1",
        "z-2-1",
    ]
    assert [item.index for item in request.items] == list(range(14))
    assert request.items[2].prompt == "a red potion, flat"
    assert request.items[2].vars == {"transparent": False, "style": "flat", "color": "red", "object": "potion"}
    assert request.items[3].seed == derive_seed(7, "red-potion", 1)
    assert request.items[10].vars == {"transparent": True, "style": "flat", "n": 1}


@pytest.mark.parametrize("name", ["items.csv", "items.jsonl", "items.parquet"])
def test_items_from_a_table(workspace, name):
    import pyarrow
    import pyarrow.parquet

    workspace.write("tables/items.csv", "name,prompt,transparent,image\na,x,true,in.png\nb,y,,\n")
    workspace.write(
        "tables/items.jsonl",
        '{"name":"a","prompt":"x","transparent":true,"image":"in.png"}\n{"name":"b","prompt":"y"}\n',
    )
    table = pyarrow.table({"name": ["a", "b"], "prompt": "xy", "transparent": [True, None], "image": ["in.png", None]})
    pyarrow.parquet.write_table(table, workspace.folder / "tables/items.parquet")
    image = workspace.write("tables/in.png", "")
    request = workspace.request(job(f"items: tables/{name}"))
    assert [(item.name, item.prompt, item.vars, item.image) for item in request.items] == [
        ("a", "x", {"transparent": True}, str(image)),
        ("b", "y", {}, None),
    ]


def test_a_job_in_a_bucket_names_its_neighbours(workspace):
    folder = "s3://bucket/jobs/icons"
    workspace.objects = {
        f"{folder}/job.yaml": job("items: ../items.csv", "recipe: ./icon.yaml", "output: s3://bucket/out/").encode(),
        f"{folder}/icon.yaml": RECIPE.encode(),
        "s3://bucket/jobs/items.csv": b"name,prompt,transparent,image\na,x,true,in.png\n",
    }
    request = read_request(f"{folder}/job.yaml", workspace.settings, read_bytes=workspace.read)
    assert request.items[0].image == "s3://bucket/jobs/icons/in.png"
    assert request.output == "s3://bucket/out"


def test_a_recipes_variables_are_defaults(workspace):
    workspace.write("recipes/icon.yaml", RECIPE + "vars: {transparent: false, mood: calm}\n")
    request = workspace.request(job("vars: {mood: wild}", "items: [{name: a, prompt: x}]"))
    assert request.items[0].vars == {"transparent": False, "mood": "wild"}


def test_a_job_sets_parameters_of_its_recipe(workspace):
    request = workspace.request(job("parameters: {large: {scale: 2}}"))
    assert request.program.visits[3].step.scale == 2
    assert request.revision != workspace.request().revision


def test_another_job_of_the_same_recipe_uses_a_path(workspace):
    workspace.write("shared/mine.yaml", RECIPE)
    assert workspace.request(job("recipe: shared/mine.yaml")).recipe.name == "icon"


@pytest.mark.usefixtures("own_catalogue")
def test_a_step_of_ones_own(workspace, tmp_path):
    more = workspace.write("more.yaml", "steps:\n  own_step_of_this_test: tests.configs.own_step:Invert\n")
    mine = Workspace(tmp_path, catalogue_path=(more,))
    mine.write("recipes/icon.yaml", "name: icon\nsteps: [{id: a, step: own_step_of_this_test, amount: 2}]\n")
    assert mine.request().program.visits[0].step.amount == 2
    mine.write("recipes/icon.yaml", "name: icon\nsteps: [{id: a, step: own_step_of_this_test, amount: 11}]\n")
    assert mine.seen() == ["recipes/icon.yaml:2: steps[0].amount: must be at most 10, not 11"]


# -- the revision ----------------------------------------------------------------------------------------------------


def revisions(workspace: Workspace, *jobs: str) -> list[str]:
    return [workspace.request(text).revision for text in jobs]


def test_the_revision_is_that_of_the_images(workspace):
    before = workspace.request().revision
    assert workspace.request(job("name: other", "output: ./elsewhere", "description: words")).revision == before
    workspace.write(
        "recipes/icon.yaml", RECIPE.replace("name: icon", "name: other").replace("vars.trans", "vars . trans")
    )
    assert workspace.request().revision == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("job.yaml", "red", "blue"),
        ("job.yaml", "true", "false"),
        ("job.yaml", "icons\n", "icons\nseed: 1\n"),
        ("job.yaml", "recipe", "seeds_per_item: 2\nrecipe"),
        ("recipes/icon.yaml", "width: 64", "width: 128"),
        ("recipes/icon.yaml", "0.02", "0.03"),
        ("recipes/icon.yaml", "[large]", "[base]"),
        ("recipes/icon.yaml", "id: base", "id: first"),
        ("models/weights.bin", "weights", "other weights"),
    ],
)
def test_the_revision_changes_with_what_decides_the_images(workspace, file, old, new):
    before = workspace.request().revision
    text = (workspace.folder / file).read_text()
    assert old in text
    workspace.write(file, text.replace(old, new))
    assert workspace.request((workspace.folder / "job.yaml").read_text()).revision != before


def test_the_revision_changes_with_an_input_file(workspace):
    workspace.write("in.png", "one")
    text = job("items: [{name: a, prompt: x, image: in.png, vars: {transparent: true}}]")
    before = workspace.request(text).revision
    assert workspace.request(text).revision == before
    workspace.write("in.png", "other")
    assert workspace.request(text).revision != before


# -- size and speed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (
            "matrix:\n  prompt: x\n" + "".join(f"  a{n}: [{', '.join(map(str, range(100)))}]\n" for n in range(9)),
            "matrix",
        ),
        ("seeds_per_item: 6\nmatrix: {prompt: '{a}', a: [1]}", "matrix"),
        ("seeds_per_item: 11", "items"),
    ],
)
def test_a_job_that_is_too_large_is_refused_before_it_is_expanded(tmp_path, text, path):
    workspace = Workspace(tmp_path, max_items=10)
    start = time.perf_counter()
    (problem,) = workspace.problems(JOB + text)
    assert time.perf_counter() - start < 2
    assert problem.path == path
    assert "items, more than 10: make it smaller, or raise PIXELMILL_MAX_ITEMS" in problem.message


def test_a_job_may_be_as_large_as_the_setting_says(tmp_path):
    workspace = Workspace(tmp_path, max_items=10)
    assert len(workspace.request(JOB + "seeds_per_item: 5\nmatrix: {prompt: '{a}', a: [1]}").items) == 10
    workspace.write("items.csv", "name,prompt,transparent\n" + "".join(f"i{n},x,true\n" for n in range(11)))
    assert "items.csv:12: more than 10 items" in workspace.seen(job("items: items.csv"))[0]


@pytest.mark.parts
def test_ten_thousand_items_in_two_seconds(workspace):
    rows = [{"name": f"i{n}", "prompt": f"potion {n}", "transparent": n % 2 == 0} for n in range(10_000)]
    workspace.write("items.jsonl", "\n".join(map(json.dumps, rows)))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        request = workspace.request(job("items: items.jsonl"))
        seconds.append(time.process_time() - start)
    assert len(request.items) == 10_000
    assert min(seconds) < 2


@pytest.mark.parts
def test_a_request_can_be_read_in_a_process_without_torch(workspace):
    path = workspace.write("job.yaml", JOB)
    code = f"""
import sys
from pathlib import Path
from configs.settings.settings import Settings
from flows.job.request import read_request
settings = Settings(models_path=(Path({str(workspace.folder / "models")!r}),),
                    recipes_path=(Path({str(workspace.folder / "recipes")!r}),), home=Path({str(workspace.folder)!r}))
request = read_request({str(path)!r}, settings, read_bytes=lambda uri: Path(uri).read_bytes())
print(request.revision, [name for name in ("torch", "diffusers", "prefect", "cv2", "pyarrow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [workspace.request().revision, "[]\n"]


def test_the_request_cannot_be_changed(workspace):
    request = workspace.request()
    assert isinstance(request, JobRequest)
    with pytest.raises(AttributeError):
        request.items = ()


def test_a_job_can_ask_for_distinct_images(workspace):
    plain, asked = workspace.request(), workspace.request(JOB + "distinct: {distance: 8, on_fail: warn}\n")
    assert plain.recipe.distinction is None
    assert asked.recipe.distinction == Distinct(distance=8, on_fail="warn")
    assert plain.revision != asked.revision
    assert workspace.request(JOB + "distinct: false\n").revision == plain.revision
    assert all("likeness" in visit.facts for visit in asked.program.visits)


def test_and_go_without_what_the_recipe_asks_for(workspace):
    workspace.write("recipes/icon.yaml", RECIPE + "distinct: true\n")
    assert workspace.request().recipe.distinction == Distinct()
    assert workspace.request(JOB + "distinct: false\n").recipe.distinction is None
