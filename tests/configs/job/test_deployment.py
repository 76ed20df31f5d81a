"""Deployments as files."""

from pathlib import Path

import pytest

from configs.documents.problems import InvalidInput
from configs.job.deployment import deployments
from configs.settings.settings import Settings


def test_the_built_in_ones_are_read_and_every_recipe_has_a_form():
    found = {each.name: each for each in deployments(Settings())}
    assert {"burst", "retry-failed", "regate", "verify", "warm-up", "game-icon", "nightly-icons"} <= set(found)
    assert {each.recipe for each in found.values()} >= {"game-icon", "starter", "photo-cutout"}
    assert found["nightly-icons"].schedules[0].cron == "0 2 * * *"
    assert not found["nightly-icons"].schedules[0].active


def test_a_recipe_of_one_s_own_has_a_form_without_a_file(tmp_path: Path):
    (tmp_path / "posters.yaml").write_text("name: posters\nsteps: []\n")
    found = {each.name: each for each in deployments(Settings(recipes_path=(tmp_path,)))}
    assert found["posters"].recipe == "posters"


def test_a_file_of_one_s_own_comes_before_the_built_in(tmp_path: Path):
    (tmp_path / "burst.yaml").write_text("name: burst\nflow: mine.flows.burst\n")
    found = {each.name: each for each in deployments(Settings(deployments_path=(tmp_path,)))}
    assert found["burst"].flow == "mine.flows.burst"


MISTAKES = [
    ("name: a\n", "either `flow` or `recipe`"),
    ("name: a\nflow: x.y\nrecipe: b\n", "either `flow` or `recipe`"),
    ("name: a\nflow: x.y\npol: gpu\n", "did you mean `pool`?"),
    ("name: a\nflow: x.y\nschedules: [{crn: x}]\n", "did you mean `cron`?"),
    ("name: a\nrecipe: b\nchoices: {a b: {title: x, options: {a: {}, b: {}}}}\n", "name of a parameter"),
    ("name: a\nrecipe: b\nchoices: {c: {title: x, options: {a: {}}}}\n", "at least 2 entries"),
    ("name: a\nrecipe: b\nchoices: {c: {title: x, options: {a: {prompt: x}, b: {}}}}\n", "must contain {prompt}"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_mistakes_are_named_with_their_file(tmp_path: Path, text: str, said: str):
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("name: [\n")
    with pytest.raises(InvalidInput) as refusal:
        deployments(Settings(deployments_path=(tmp_path,)))
    assert said in str(refusal.value)
    assert f"{tmp_path}/a.yaml:" in str(refusal.value)
    assert f"{tmp_path}/b.yaml:" in str(refusal.value)
