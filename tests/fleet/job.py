"""The job of the fleet test: sprites in S3, cut out where their item says so, and enlarged, by the starter's models."""

import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, draw_sprite

NAME = "fleet"
SIDE, SCALE = 32, 4  # pixels; the factor
STEPS = ("base", "cutout", "large")
COMPUTED = ("cutout", "large")  # those that note what they compute

_RECIPE = f"""\
name: fleet
vars: {{cut: false}}
steps:
  - {{id: base, step: load}}
  - {{id: cutout, step: logged_remove_background, model: starter, when: vars.cut}}
  - {{id: large, step: logged_upscale, model: starter, scale: {SCALE}}}
keep: [large]
"""


@dataclass(frozen=True)
class SpriteItem:
    """One item: which sprite it starts from, and whether it is cut out."""

    number: int

    @property
    def name(self) -> str:
        return f"sprite-{self.number:05}"

    @property
    def cut(self) -> bool:
        return self.number % 4 == 0

    @property
    def steps(self) -> tuple[str, ...]:
        """Those that make an image of it."""
        return STEPS if self.cut else ("base", "large")

    def png(self) -> bytes:
        """Its input image. Each item's is another one: a sprite, moved, with the item's number in its first pixel."""
        sprite, number = _drawn(self.number % len(OBJECTS)), self.number
        image = ImageChops.offset(sprite, number // len(OBJECTS) % SIDE, number % SIDE)
        image.putpixel((0, 0), (number & 255, number >> 8 & 255, number >> 16))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()


@cache
def _drawn(number: int) -> Image.Image:
    color, background = tuple(COLORS)[number % len(COLORS)], BACKGROUNDS[number % len(BACKGROUNDS)]
    return draw_sprite(OBJECTS[number], color, background, seed=number, size=SIDE).image.convert("RGB")


def items(count: int) -> list[SpriteItem]:
    return [SpriteItem(number) for number in range(count)]


def write_sprites(wanted: list[SpriteItem], folder: Path) -> None:
    """The input images, as files of the folder that the S3 server shows: through S3 they would take a minute."""
    folder.mkdir(parents=True)
    for item in wanted:
        (folder / f"{item.name}.png").write_bytes(item.png())


def upload(client: Any, bucket: str, wanted: list[SpriteItem]) -> str:
    """Puts recipe, table and job file into the bucket with a boto3 client; the URI of the latter."""
    rows = (
        json.dumps({"name": item.name, "image": f"sprites/{item.name}.png", "vars": {"cut": item.cut}})
        for item in wanted
    )
    job = f"name: {NAME}\nrecipe: ./recipe.yaml\noutput: s3://{bucket}\nitems: ./items.jsonl\n"
    for name, text in {"items.jsonl": "\n".join(rows) + "\n", "recipe.yaml": _RECIPE, "fleet.yaml": job}.items():
        client.put_object(Bucket=bucket, Key=f"jobs/{name}", Body=text.encode())
    return f"s3://{bucket}/jobs/fleet.yaml"
