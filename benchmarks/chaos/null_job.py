"""The job that faults are done to: null items whose final image can be foretold from their seeds."""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

JOB = "chaos"
BASE, FINAL = "base", "final"  # ids of the steps
STEP_OF_CLASS = {"NullGenerate": BASE, "NullPass": FINAL}  # as the compute log calls them
SIDE = 64  # pixels

_RECIPE = """\
name: chaos
steps:
  - {{id: {base}, step: null_generate, size: {side}, seconds: {seconds}}}
  - {{id: {final}, step: null_pass, seconds: {seconds}}}
"""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class NullItem:
    name: str
    seed: int

    @property
    def color(self) -> Color:
        """Color of the base image."""
        red, green, blue = Random(self.seed).randbytes(3)
        return red, green, blue

    def color_after(self, step: str) -> Color:
        if step == BASE:
            return self.color
        red, green, blue = self.color
        return 255 - red, 255 - green, 255 - blue


def make_items(count: int, seed: int) -> list[NullItem]:
    chance = Random(seed)
    return [NullItem(f"item-{number:04}", chance.randrange(2**31)) for number in range(count)]


def write_job(folder: Path, items: list[NullItem], *, output: str, seconds: float) -> Path:
    """Writes the recipe, the items' table and the job file; returns the latter's path. `seconds`: of a step, each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(_RECIPE.format(base=BASE, final=FINAL, side=SIDE, seconds=seconds))
    rows = (json.dumps({"name": item.name, "seed": item.seed}) for item in items)
    (folder / "items.jsonl").write_text("\n".join(rows) + "\n")
    job = folder / "job.yaml"
    job.write_text(f"name: {JOB}\nrecipe: ./recipe.yaml\noutput: {output}\nitems: ./items.jsonl\n")
    return job
