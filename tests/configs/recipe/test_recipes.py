"""The recipes that come with Pixelmill are what its steps take."""

import pytest

from configs.catalogues.gates import find_gate, write_out_gates
from configs.catalogues.models import BUILT_IN as MODELS
from configs.documents.problems import check
from configs.documents.yaml_source import parse_yaml
from configs.recipe.recipe import Recipe
from configs.recipe.source import BUILT_IN, find_recipe, is_recipe_path, recipe_names
from configs.settings.settings import Settings
from steps.recipe import resolve_program


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe(path):
    document = parse_yaml(path.read_bytes(), str(path))
    assert write_out_gates(document.data, lambda name: find_gate(name, Settings())) == []
    recipe, problems = check(Recipe, document.data)
    assert (list(document.problems), problems) == ([], [])
    assert recipe.name == path.stem and recipe.description
    for visit in resolve_program(recipe).visits:
        for ref in visit.step.model_refs():
            assert (MODELS / f"{ref.name}.yaml").is_file()


def test_a_folder_of_ones_own_comes_first(tmp_path):
    (tmp_path / "starter.yaml").touch()
    (tmp_path / "mine.yaml").touch()
    settings = Settings(recipes_path=(tmp_path,))
    assert find_recipe("starter", settings) == tmp_path / "starter.yaml"
    assert find_recipe("game-icon", settings) == BUILT_IN / "game-icon.yaml"
    assert find_recipe("none", settings) is None
    assert {"mine", "starter", "game-icon", "photo-cutout"} <= set(recipe_names(settings))


@pytest.mark.parametrize(
    ("text", "path"), [("game-icon", False), ("a.yaml", True), ("./a", True), ("s3://b/a.yml", True), ("v1.2", False)]
)
def test_names_and_paths(text, path):
    assert is_recipe_path(text) is path
