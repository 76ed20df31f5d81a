"""Configs and the planning of a request load no library that computes, stores or orchestrates."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.parts

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch", "torchvision", "diffusers", "transformers", "rembg", "onnxruntime", "realesrgan", "cv2", "scipy",
    "pyarrow", "boto3", "botocore", "prefect", "sqlalchemy", "sqlmodel",
)  # fmt: skip
CONFIGS = sorted(
    ".".join(path.with_suffix("").relative_to(ROOT).parts)
    for path in (ROOT / "configs").rglob("*.py")
    if path.name != "__init__.py"
)
RESOLVE = """
from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from configs.catalogues.catalogue import load_step, names
for name in names("steps"):
    load_step(name)
resolve_program(Recipe.model_validate({"name": "r", "steps": [{"id": "a", "step": "load"}]}))
"""


@pytest.mark.parametrize(
    "code",
    [
        "; ".join(f"import {name}" for name in CONFIGS),
        "import flows.job.request",
        RESOLVE,
    ],
    ids=["configs", "flows.job.request", "resolving every step"],
)
def test_nothing_heavy_is_loaded(code):
    code += f"\nimport sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
