"""Python code, run where the libraries that compute images seem not to be installed."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

BLOCKED = ("torch", "torchvision", "diffusers", "transformers", "rembg", "onnxruntime", "realesrgan", "safetensors")
# As if they were not installed, for imports and for whoever only asks whether they could be imported.
BLOCK = f"""
import importlib.machinery, sys
find, asked_for = importlib.machinery.PathFinder.find_spec, []
def find_spec(name, path=None, target=None):
    if name.partition(".")[0] not in {BLOCKED!r}:
        return find(name, path, target)
    asked_for.append(name)
importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
"""


def run(code: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PIXELMILL_"))}
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "PIXELMILL_HOME": str(folder / "home"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def command(*arguments: str) -> str:
    return f"sys.argv = {['pixelmill', *arguments]!r}\nfrom flows.cli.main import main\nmain()\n"
