"""docs/facts.md names what judges measure, and its examples are valid."""

import re

from configs.catalogues import catalogue
from configs.catalogues.models import ModelCatalogue, ModelSpec
from configs.documents.problems import check
from configs.documents.yaml_source import parse_yaml
from configs.recipe.recipe import Recipe
from configs.settings.settings import Settings
from steps.judge import MEASURES
from steps.recipe import resolve_program
from tests.support import ROOT

PAGE = (ROOT / "docs" / "facts.md").read_text(encoding="utf-8")


def yaml_examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_judges_recipe_can_be_resolved() -> None:
    recipe, problems = check(Recipe, parse_yaml(yaml_examples()[0].encode(), "facts.md").data)
    assert problems == []
    assert recipe is not None
    assert len(resolve_program(recipe).visits) == 4


def test_the_judges_model_is_valid() -> None:
    spec, problems = check(ModelSpec, parse_yaml(yaml_examples()[1].encode(), "facts.md").data)
    assert problems == []
    assert spec is not None
    assert {part.engine for part in spec.parts.values()} <= set(catalogue.names("engines"))


def test_every_measure_and_fact_of_the_judge_is_described() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for name, measure in MEASURES.items():
        assert any(
            line.startswith(f"| `{name}` |") and all(f"`{fact}`" in line for fact in measure.facts) for line in rows
        )
        assert f"\n### {name}\n" in PAGE


def test_every_model_with_a_judging_part_is_described() -> None:
    models = ModelCatalogue(Settings(models_path=()))
    judging = {role for measure in MEASURES.values() for role in measure.roles}
    for name in models.names():
        if parts := judging & models.get(name).parts.keys():
            assert all(
                f"`{part}`" in line for line in PAGE.splitlines() if line.startswith(f"| `{name}` ") for part in parts
            )
            assert f"\n| `{name}` |" in PAGE
