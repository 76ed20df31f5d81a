"""CONTRIBUTING.md: its example is a step, and its table lists every folder of the core."""

import re

import pytest
from PIL import Image

from configs.documents.fields import Item
from steps.contract import Frame
from tests.support import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CORE = ("configs", "storage", "steps", "gpu_worker", "flows")


def test_the_example_is_a_step(tmp_path, monkeypatch):
    (code,) = re.findall(r"^   ```python\n(.*?)^   ```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "contributing_mirror.py").write_text(re.sub(r"^   ", "", code, flags=re.MULTILINE))
    monkeypatch.syspath_prepend(tmp_path)
    from contributing_mirror import Mirror

    image = Image.linear_gradient("L").rotate(90).convert("RGB")
    (result,) = Mirror().run([Frame(Item(index=0, name="a", seed=1), image)], None)
    assert result.image.getpixel((0, 0)) == image.getpixel((image.width - 1, 0))


@pytest.mark.parametrize("layer", CORE)
def test_every_folder_of_the_core_is_listed(layer):
    folders = {path.parent.name for path in (ROOT / layer).glob("*/*.py")}
    assert f"| `{layer}/` |" in PAGE
    assert {folder for folder in folders if f"`{folder}/`" not in PAGE and f"`{folder}`" not in PAGE} == set()
