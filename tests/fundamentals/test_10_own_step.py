"""A step of your own is a class with typed fields and one verb. A catalogue file gives it a name."""

import pytest
from PIL import Image, ImageOps
from pydantic import Field

from configs.catalogues import catalogue
from configs.recipe.recipe import Recipe
from steps import StepResult, Transform, resolve_program
from tests.support.mill import Mill


class Mirror(Transform):
    """Left becomes right."""

    upside_down: bool = Field(default=False, description="Top becomes bottom instead.")

    def transform(self, image: Image.Image) -> StepResult:
        return StepResult(ImageOps.flip(image) if self.upside_down else ImageOps.mirror(image))


@pytest.fixture
def known(tmp_path):
    (tmp_path / "catalogue.yaml").write_text(f"steps:\n  mirror: {__name__}:Mirror\n")
    catalogue.current.cache_clear()
    catalogue.extend([tmp_path / "catalogue.yaml"])
    yield
    catalogue.current.cache_clear()


@pytest.mark.usefixtures("known")
def test_a_step_is_used_by_its_name_and_its_parameters_are_checked(photos, tmp_path):
    steps = [{"id": "photo", "step": "load"}, {"id": "turned", "step": "mirror", "upside_down": True}]
    recipe = Recipe.model_validate({"name": "turn", "steps": steps})
    mill = Mill(tmp_path, resolve_program(recipe), photos("red"), recipe=recipe)
    mill.run()
    assert mill.outcomes() == [{"photo": "computed", "turned": "computed"}]
