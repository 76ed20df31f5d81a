"""An item is one image to make: a name, a prompt, a seed, variables. A job may list items or expand them."""

from PIL import Image

from configs.settings.settings import Settings
from flows import read_plan_request

JOB = """\
name: icons
recipe: ./thumbnail.yaml
output: ./out
seeds_per_item: 2
matrix:
  image: "{color}.png"
  prompt: "a {color} {object}"
  color: [red, blue]
  object: [potion, key]
"""


def expanded(folder):
    (folder / "thumbnail.yaml").write_text("name: thumbnail\nsteps: [{id: photo, step: load}]\n")
    for color in ("red", "blue"):
        Image.new("RGB", (32, 16), color).save(folder / f"{color}.png")
    (folder / "job.yaml").write_text(JOB)
    return read_plan_request(folder / "job.yaml", Settings(home=folder)).items


def test_a_matrix_becomes_one_item_for_each_combination_and_seed(tmp_path):
    items = expanded(tmp_path)
    assert len(items) == 2 * 2 * 2
    assert [item.name for item in items][:4] == ["red-potion-1", "red-potion-2", "red-key-1", "red-key-2"]
    assert items[0].prompt == "a red potion"
    assert items[0].vars == {"color": "red", "object": "potion"}


def test_seeds_follow_from_names_so_that_they_are_the_same_each_time(tmp_path):
    items = expanded(tmp_path)
    assert len({item.seed for item in items}) == len(items)
    assert [item.seed for item in expanded(tmp_path)] == [item.seed for item in items]
