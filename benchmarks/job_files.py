"""Jobs on disk for benchmarks."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parent / "recipes"
COLORS = ("red", "green", "blue", "purple", "yellow", "teal", "pink")
OBJECTS = ("potion", "shield", "gem", "mushroom", "crown", "bomb", "heart", "fish", "key", "star", "coin", "sword")


def plain_items(count: int) -> list[dict[str, Any]]:
    """Items with names and prompts, as large as those of real jobs."""
    return [
        {
            "name": f"item-{index:05d}",
            "prompt": f"a {COLORS[index % len(COLORS)]} {OBJECTS[index % len(OBJECTS)]}, game icon, white background",
        }
        for index in range(count)
    ]


def starter_items(count: int) -> list[dict[str, Any]]:
    """Items for the starter recipe, mixed as in `jobs/starter.yaml`: of 7, 3 cut out, 2 on a new scene, 2 plain."""
    scenes = ("striped", "checkered", "dotted", "gradient")
    items = []
    for index, item in enumerate(plain_items(count)):
        color, thing = COLORS[index // 7 % len(COLORS)], OBJECTS[index % len(OBJECTS)]
        item["prompt"] = f"a {color} {thing}, game icon, white background"
        kind = index % 7
        if kind < 3:
            item["vars"] = {"transparent": True}
        elif kind < 5:
            item["vars"] = {"scene": scenes[index % len(scenes)], "color": color, "object": thing}
        items.append(item)
    return items


def write_job(
    folder: Path, name: str, *, recipe: str | Path, output: str, items: Iterable[Mapping[str, Any]], seed: int = 0
) -> Path:
    """Writes a job file with its items in a table beside it; returns the job file."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / f"{name}.jsonl"
    table.write_text("".join(json.dumps(item) + "\n" for item in items))
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\nrecipe: {recipe}\noutput: {output}\nseed: {seed}\nitems: {table}\n")
    return path
