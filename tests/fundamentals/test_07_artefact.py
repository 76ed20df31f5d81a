"""An artefact is an image in the store. Its key is its fingerprint; a final is a copy with a readable name."""

from io import BytesIO

from PIL import Image

from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from storage.objects.keys import artefact_key, sha256_hex
from tests.support.mill import Mill

RECIPE = Recipe.model_validate(
    {"name": "thumbnail", "steps": [{"id": "photo", "step": "load"}, {"id": "small", "step": "resize", "width": 8}]}
)


def test_an_artefact_is_found_by_its_fingerprint_and_a_final_by_its_name(photos, tmp_path):
    mill = Mill(tmp_path, resolve_program(RECIPE), photos("red"), recipe=RECIPE)
    mill.run()
    (report,) = mill.reports()
    artefact = report.steps["small"].artefact
    assert artefact.key == artefact_key(artefact.fingerprint, "png")
    assert artefact.key == f"artefacts/{artefact.fingerprint[:2]}/{artefact.fingerprint}.png"

    data = mill.store.get(artefact.key)
    assert sha256_hex(data) == artefact.sha256
    assert Image.open(BytesIO(data)).size == (8, 4)

    assert list(report.record.finals.values()) == ["job/final/red.png"]
    assert mill.store.get("job/final/red.png") == data
