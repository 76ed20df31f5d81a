"""docs/tutorial.md works as written: its files are saved, its commands are run, and they print what it shows."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support.command import Pixelmill

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"^```(yaml|sh|text)\n(.*?)^```", (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"), re.M | re.S
)
SETUP = ("make demo", "export PATH=", "mkdir -p ~/badges")  # prepares the shell, and has tests of its own


def comparable(text: str) -> str:
    """Return a text without what differs between machines and terminals: durations, low digits, line breaks."""
    text = re.sub(r"\d+\.\d\d s\b", "… s", text)
    text = re.sub(r"\d\.\d{3,}", lambda number: f"{float(number[0]):.2f}", text)
    return " ".join(text.split())


@pytest.mark.e2e
def test_the_tutorial_works_as_written(tmp_path, prefect_server):
    shell = Pixelmill(tmp_path, {"PREFECT_API_URL": prefect_server, "PIXELMILL_WORK_POOL": "tutorial"})
    with shell.with_worker():
        follow_the_tutorial(shell)


def follow_the_tutorial(shell: Pixelmill) -> None:
    printed = ""
    for language, block in BLOCKS:
        if language == "yaml":
            shell.write(block.splitlines()[0].removeprefix("# "), block)
        elif language == "text":
            assert comparable(block) in comparable(printed)
        else:
            for line in block.splitlines():
                if not line.startswith(SETUP):
                    command, *arguments = shlex.split(line)
                    assert command == "pixelmill"
                    result = shell.here(*arguments)
                    assert result.status == 0, result.err
                    printed = result.out


@pytest.mark.parts
def test_the_mistake_that_the_reader_is_told_to_make_is_refused(tmp_path):
    shell = Pixelmill(tmp_path)
    recipe, job = [block for language, block in BLOCKS if language == "yaml"][:2]
    shell.write("badge.yaml", recipe.replace("steps: 6", "stps: 6"))
    shell.write("badges.yaml", job)
    result = shell("plan", "badges.yaml")
    assert result.status == 2
    assert "badge.yaml:4: steps[0].stps: unknown field; did you mean `steps`?" in result.err
