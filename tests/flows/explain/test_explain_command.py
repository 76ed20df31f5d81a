"""`pixelmill explain` as a user runs it: on the ledger of a home, without a server, a device or a model."""

from pathlib import Path

import pytest
from PIL import Image

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from tests.support.command import Pixelmill, PixelmillHere
from tests.support.mill import Mill

RECIPE = Recipe.model_validate(
    {
        "name": "x",
        "steps": [
            {"id": "photo", "step": "load"},
            {"id": "small", "step": "resize", "width": 8, "require": ["facts.this.height > 8"]},
        ],
    }
)


@pytest.fixture(scope="module")
def pixelmill(tmp_path_factory: pytest.TempPathFactory) -> Pixelmill:
    folder: Path = tmp_path_factory.mktemp("explain")
    Image.new("RGB", (32, 16), "teal").save(folder / "a.png")
    items = [Item(index=0, name="fox", seed=1, image=str(folder / "a.png"))]
    mill = Mill(folder, resolve_program(RECIPE), items, recipe=RECIPE)
    mill.run()
    mill.ledger.close()
    return PixelmillHere(folder)


def test_it_explains_for_people_and_for_programs(pixelmill: Pixelmill) -> None:
    text = pixelmill("explain", "job", "fox")
    assert (text.status, text.err) == (0, "")
    assert "✗ quarantined at small  facts.this.height > 8 is not met" in text.out
    document = pixelmill("explain", "job", "0", "--json").document
    assert [node["kind"] for node in document["way"]] == ["step", "step", "gate"]
    assert document["way"][2]["requirements"] == [
        {"condition": "facts.this.height > 8", "gate": None, "because": None, "met": False}
        | {"seen": {"facts.this.height": 4}}
    ]


@pytest.mark.parametrize(
    ("job", "item", "hint"),
    [
        ("jib", "fox", "Did you mean job?"),
        ("job", "fix", "did you mean `fox`?"),
        pytest.param("job", "9" * 5000, "has no item", id="an index of 5,000 digits"),
    ],
)
def test_an_unknown_name_is_refused_with_one_that_is_near(pixelmill: Pixelmill, job: str, item: str, hint: str) -> None:
    result = pixelmill("explain", job, item, "--json")
    assert result.status == 2
    assert hint in result.err
    assert result.document["errors"][0]["path"] in ("id", "item")
