"""What the README shows works as shown."""

import re
import shlex

import pytest
from PIL import Image
from typer.main import get_command

from configs.catalogues import catalogue
from configs.documents.fields import Item
from configs.settings.settings import load_settings
from flows.cli.main import app
from flows.job.plan import read_plan_request
from steps.contract import Frame
from tests.support import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(language: str, marker: str) -> str:
    (found,) = (text for text in blocks(language) if marker in text)
    return found


def test_the_job_and_the_recipe_are_accepted(tmp_path):
    (tmp_path / "recipe.yaml").write_text(block("yaml", "name: game-icon\nsteps:"))
    job = tmp_path / "job.yaml"
    job.write_text(block("yaml", "name: spring-icons").replace("recipe: game-icon ", "recipe: ./recipe.yaml "))
    request = read_plan_request(job, load_settings())
    assert len(request.items) == 18
    assert [visit.id for visit in request.program.visits] == ["base", "cutout", "repair", "large"]


def test_the_recipe_with_gates_is_accepted(tmp_path):
    (tmp_path / "recipe.yaml").write_text(block("yaml", "name: gated-icon"))
    job = tmp_path / "job.yaml"
    job.write_text(block("yaml", "name: spring-icons").replace("recipe: game-icon ", "recipe: ./recipe.yaml "))
    request = read_plan_request(job, load_settings())
    assert [visit.id for visit in request.program.visits] == [
        *("base", "cutout", "base~2", "cutout~2", "base~3", "cutout~3", "seen")
    ]


def test_the_step_example_is_a_step(tmp_path, monkeypatch):
    module = tmp_path / "readme_grayscale.py"
    module.write_text(block("python", "class Grayscale"))
    monkeypatch.syspath_prepend(tmp_path)
    entry = block("yaml", "grayscale: steps.grayscale:Grayscale").replace("steps.grayscale:", "readme_grayscale:")
    (tmp_path / "catalogue.yaml").write_text(entry)
    catalogue.extend([tmp_path / "catalogue.yaml"])
    step = catalogue.load_step("grayscale")(strength=1.0)
    frame = Frame(Item(index=0, name="a", seed=1), Image.new("RGBA", (4, 4), (255, 0, 0, 128)))
    (result,) = step.run([frame], None)
    red, green, blue, alpha = result.image.getpixel((0, 0))
    assert red == green == blue
    assert alpha == 128


@pytest.mark.parametrize("line", [line for text in blocks("sh") for line in text.splitlines() if "pixelmill " in line])
def test_the_commands_exist(line):
    words = [word for word in shlex.split(line, comments=True) if "=" not in word]
    if "pixelmill" not in words:
        return  # a comment only
    command = get_command(app)
    for word in words[words.index("pixelmill") + 1 :]:
        if not hasattr(command, "commands"):
            return
        command = command.commands[word]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_the_links_lead_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
def test_the_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
