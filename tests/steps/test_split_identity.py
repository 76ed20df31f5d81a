"""From what a fingerprint was computed from, every step and its item can be had again."""

from typing import Any

import pytest

from configs.catalogues import catalogue
from configs.documents.fields import MAX_SEED, Item
from steps.contract import Step
from tests.steps import images
from tests.steps.new_step import new_step

OTHERS: dict[str, dict[str, Any]] = {
    "generate": {"from_image": True, "prompt": "{{a}} {prompt} of {color}", "negative_prompt": "{color}", "width": 64},
    "inpaint": {"mask": "item", "prompt": "{{{name}}}", "seed_offset": 5, "strength": 0.5},
    "remove_background": {"background": "#ff8800", "clean_edges": True},
    "upscale": {"scale": 2.5, "tile": 32, "alpha": "model"},
    "resize": {"height": 7, "fit": "cover"},
    "pad": {"square": True, "color": "teal"},
    "trim": {"by": "border", "margin": 4},
    "convert": {"format": "avif", "quality": 30},
}
ITEMS = [
    images.item(vars={"color": "red"}),
    images.item(prompt="{not} a {{placeholder", negative_prompt="{nor} this", vars={"color": "}{"}, seed=MAX_SEED),
    images.item(negative_prompt="", image="/input.png", mask="/mask.png", vars={"color": "é狐"}),
]


def restored(step: Step, item: Item) -> tuple[Step, Item]:
    parameters, fields = type(step).split_identity(step.identity(item))
    return type(step).model_validate(parameters), Item(**{"index": 0, "name": "another", "seed": 3, **fields})


@pytest.mark.parametrize("item", ITEMS, ids=["plain", "braces", "files"])
@pytest.mark.parametrize("parameters", [{}, OTHERS], ids=["few", "many"])
@pytest.mark.parametrize("name", catalogue.names("steps"))
def test_the_way_back_leads_to_the_same_identity(name: str, parameters: dict[str, dict[str, Any]], item: Item) -> None:
    kind = catalogue.load_step(name)
    if getattr(kind, "keeps_image", False):
        pytest.skip("makes no image")
    step = new_step(name, **parameters.get(name, {}))
    other_step, other_item = restored(step, item)
    assert other_step.identity(other_item) == step.identity(item)


def test_a_drawing_step_asks_the_model_for_the_same(name: str = "inpaint") -> None:
    step = new_step(name, **OTHERS[name])
    for item in ITEMS:
        other_step, other_item = restored(step, item)
        assert other_step.request(other_item) == step.request(item)
