"""Jobs whose items are the images of a folder, and prompts as people keep them."""

from pathlib import Path

import pytest

from configs.job.items import NO_SEED_NOTICE
from tests.flows.job.workspace import Workspace, job

RECIPE = "name: thumb\nvars: {shop: false}\nsteps:\n- {id: photo, step: load}\n- {id: small, step: resize, width: 9}\n"
FOLDER = job("recipe: thumb", 'items: "photos/**"')


@pytest.fixture
def photos(workspace: Workspace) -> Workspace:
    workspace.write("recipes/thumb.yaml", RECIPE)
    for name in ("A1/front.png", "B2/front.png", "one.jpg", ".hidden/x.png", ".DS_Store", "notes.txt"):
        workspace.write(f"photos/{name}", b"")
    return workspace


def test_the_images_of_a_folder_are_the_items(photos: Workspace) -> None:
    request = photos.request(FOLDER)
    assert [(item.name, item.image) for item in request.items] == [
        ("A1-front", str(photos.folder / "photos/A1/front.png")),
        ("B2-front", str(photos.folder / "photos/B2/front.png")),
        ("one", str(photos.folder / "photos/one.jpg")),
    ]
    assert request.notices == ("1 file is no image and left out: notes.txt",)


def test_another_image_changes_no_seed(photos: Workspace) -> None:
    before = {item.name: item.seed for item in photos.request(FOLDER).items}
    photos.write("photos/A0.png", b"")
    after = {item.name: item.seed for item in photos.request(FOLDER).items}
    assert {name: after[name] for name in before} == before


def test_a_table_beside_the_images_says_more_of_them(photos: Workspace) -> None:
    photos.write("photos/metadata.csv", "file_name,name,prompt,shop\none.jpg,first,a cup,true\nA1/front.png,,,\n")
    first = photos.request(FOLDER).items[-1]
    assert (first.name, first.prompt, first.vars) == ("first", "a cup", {"shop": True})
    assert {item.name for item in photos.request(FOLDER).items} == {"A1-front", "B2-front", "first"}


def test_mistakes_of_that_table_are_all_told(photos: Workspace) -> None:
    photos.write("photos/metadata.csv", "file_name,prompt\nonne.jpg,a\none.jpg,b\none.jpg,c\n,d\n")
    assert photos.seen(FOLDER) == [
        "photos/metadata.csv:2: file_name: no such image: onne.jpg; did you mean `one.jpg`?",
        "photos/metadata.csv:4: file_name: `one.jpg` has a row already, in line 3",
        "photos/metadata.csv:5: file_name: must be the path of an image from the table's folder",
    ]


def test_a_folder_that_is_not_there_is_named(photos: Workspace) -> None:
    (problem,) = photos.seen(job("recipe: thumb", "items: photoz/"))
    assert problem.endswith("items: cannot be read: photoz is not there, or is no folder; correct the path")


def test_a_folder_that_jobs_may_not_read_is_not_looked_into(tmp_path: Path) -> None:
    closed = Workspace(tmp_path, input_folders=(tmp_path / "open",))
    closed.write("recipes/thumb.yaml", RECIPE)
    closed.write("photos/one.png", b"")
    for items in ("photos", "photos/", "nothing/"):
        (problem,) = closed.seen(job("recipe: thumb", f"items: {items}"))
        assert "PIXELMILL_INPUT_FOLDERS" in problem


def test_a_list_of_prompts_has_one_a_line(workspace: Workspace) -> None:
    workspace.write("prompts.txt", "# mine\na red key, game icon\n\n  a blue gem  \r\n")
    request = workspace.request(job("items: prompts.txt", "vars: {transparent: true}"))
    assert [(item.name, item.prompt) for item in request.items] == [
        ("a-red-key-game-icon", "a red key, game icon"),
        ("a-blue-gem", "a blue gem"),
    ]


def test_a_seed_of_minus_one_is_none_as_in_other_tools_and_that_is_told(workspace: Workspace) -> None:
    variables = "vars: {transparent: true}"
    plain = workspace.request(job("items: [{name: a, prompt: x}, {name: b, prompt: y, seed: 5}]", variables))
    given = workspace.request(job("items: [{name: a, prompt: x, seed: -1}, {name: b, prompt: y, seed: 5}]", variables))
    assert [item.seed for item in given.items] == [item.seed for item in plain.items]
    assert given.notices == (NO_SEED_NOTICE,)
    assert plain.notices == ()
    of_job = workspace.request(job("seed: -1"))
    assert of_job.items == workspace.request(job("seed: 0")).items
    assert of_job.notices == (NO_SEED_NOTICE,)


def test_a_seed_of_minus_one_in_a_table_is_none(workspace: Workspace) -> None:
    workspace.write("items.csv", "name,prompt,transparent,seed\na,x,true,-1\n")
    request = workspace.request(job("items: items.csv"))
    assert NO_SEED_NOTICE in request.notices
    assert request.items[0].seed >= 0
