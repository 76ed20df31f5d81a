"""An image is named by the fingerprint of everything that made it, so what was made before is reused."""

from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from tests.support.mill import Mill


def recipe(width: int) -> Recipe:
    steps = [{"id": "photo", "step": "load"}, {"id": "small", "step": "resize", "width": width}]
    return Recipe.model_validate({"name": "thumbnail", "steps": steps})


def run(folder, items, width):
    folder.mkdir(exist_ok=True)
    made = recipe(width)
    mill = Mill(folder, resolve_program(made), items, recipe=made)
    mill.run()
    return mill


def test_equal_inputs_give_equal_fingerprints_anywhere(photos, tmp_path):
    items = photos("red")
    one, other = run(tmp_path / "one", items, 8), run(tmp_path / "other", items, 8)
    fingerprints = [[step.artefact.fingerprint for step in mill.reports()[0].steps.values()] for mill in (one, other)]
    assert fingerprints[0] == fingerprints[1]


def test_a_changed_parameter_changes_the_steps_from_there_on(photos, tmp_path):
    items = photos("red")
    (one,), (other,) = (run(tmp_path / str(width), items, width).reports() for width in (8, 9))
    assert one.steps["photo"].artefact.fingerprint == other.steps["photo"].artefact.fingerprint
    assert one.steps["small"].artefact.fingerprint != other.steps["small"].artefact.fingerprint


def test_two_items_with_the_same_image_share_the_work(photos, tmp_path):
    (red,) = photos("red")
    twin = red.model_copy(update={"index": 1, "name": "twin", "seed": 7})  # these steps read neither name nor seed
    mill = run(tmp_path, [red, twin], 8)
    first, second = mill.reports()
    assert second.steps["small"].artefact == first.steps["small"].artefact
    assert len(list(mill.store.list("artefacts/"))) == 2
