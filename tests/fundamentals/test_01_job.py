"""A job is one request: a recipe, and the items to make with it. It is read as a whole before anything runs."""

import pytest
from PIL import Image

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from flows import read_plan_request

RECIPE = """\
name: thumbnail
steps:
  - {id: photo, step: load}
  - {id: small, step: resize, width: 64}
"""
JOB = """\
name: holidays
recipe: ./thumbnail.yaml
output: ./out
items:
  - {name: beach, image: ./beach.png}
"""


def test_a_job_file_becomes_a_checked_request(tmp_path):
    (tmp_path / "thumbnail.yaml").write_text(RECIPE)
    (tmp_path / "job.yaml").write_text(JOB)
    Image.new("RGB", (32, 16), "gold").save(tmp_path / "beach.png")
    request = read_plan_request(tmp_path / "job.yaml", Settings(home=tmp_path))
    assert [item.name for item in request.items] == ["beach"]
    assert [visit.id for visit in request.program.visits] == ["photo", "small"]


def test_mistakes_are_reported_with_their_line_before_anything_runs(tmp_path):
    (tmp_path / "thumbnail.yaml").write_text(RECIPE.replace("width", "widht"))
    (tmp_path / "job.yaml").write_text(JOB)  # whose beach.png is not there either
    with pytest.raises(InvalidInput) as refused:
        read_plan_request(tmp_path / "job.yaml", Settings(home=tmp_path))
    assert "thumbnail.yaml:4: steps[1].widht: unknown field; did you mean `width`?" in str(refused.value)
    assert "job.yaml:5: items[0].image: no such file" in str(refused.value)
