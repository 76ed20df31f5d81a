"""Configs and the planning of a request load no library that computes, stores or orchestrates."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.parts

HEAVY = (
    "torch", "torchvision", "diffusers", "transformers", "rembg", "onnxruntime", "realesrgan", "cv2", "scipy",
    "pyarrow", "boto3", "botocore", "prefect", "sqlalchemy", "sqlmodel",
)  # fmt: skip
CONFIGS = (
    "catalogue", "conditions", "digests", "fields", "grid", "items", "job", "job_items", "models", "recipe",
    "recipe_files", "settings", "settings_table", "tables", "text", "uris", "validation", "warm_windows",
    "yaml_source",
)  # fmt: skip
RESOLVE = """
from configs.recipe import Recipe
from steps.compile import resolve_program
from configs.catalogue import names
for name in names("steps"):
    __import__("configs.catalogue").catalogue.load_step(name)
resolve_program(Recipe.model_validate({"name": "r", "steps": [{"id": "a", "step": "load"}]}))
"""


@pytest.mark.parametrize(
    "code",
    [
        "; ".join(f"import configs.{name}" for name in CONFIGS),
        "import flows.request",
        RESOLVE,
    ],
    ids=["configs", "flows.request", "resolving every step"],
)
def test_nothing_heavy_is_loaded(code):
    code += f"\nimport sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
