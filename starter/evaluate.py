"""Measure the starter's models: `python -m starter.evaluate` prints a table, and last one line of JSON.

Pictures, prompts' seeds and sprites are ones that no model was trained on. Exit status 1 means that a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODELS_FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Bar:
    """The value that a measure must reach: at least `least`, or at most `most`."""

    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether `value` reaches the bar; a value that is not a number does not."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"


BARS: dict[str, Bar] = {
    "classifier_object_share": Bar(least=0.99),
    "classifier_color_share": Bar(least=0.99),
    "generated_pictures": Bar(least=400),
    "generated_object_share": Bar(least=0.97),
    "generated_color_share": Bar(least=0.97),
    "variety_ratio": Bar(least=0.5),
    "cutout_iou_sprites": Bar(least=0.95),
    "cutout_iou_generated": Bar(least=0.90),
    "upscale_gain_db": Bar(least=3.0),
    "seconds_alone": Bar(most=0.3),
    "seconds_in_batch_of_8": Bar(most=0.3),
    "text_to_image_megabytes": Bar(most=12.0),
    "cutout_megabytes": Bar(most=2.0),
}


def measure() -> Iterator[dict[str, float]]:
    """All measures, in groups as they come."""
    from starter.measures import cutting, generation, upscaling
    from starter.painter import load_painter

    pipeline = load_painter()
    yield sizes()
    speeds = [generation.speed(pipeline)]
    yield generation.judge_of_sprites()
    painted = generation.paint_everything(pipeline)
    yield generation.named_rightly(painted)
    yield generation.variety(pipeline)
    speeds.append(generation.speed(pipeline))
    mask_of = cutting.load_remover()
    yield cutting.on_sprites(mask_of)
    yield cutting.on_generated(mask_of, painted)
    yield upscaling.psnr_over_bicubic()
    # Three times, minutes apart: other programs on the machine come and go.
    speeds.append(generation.speed(pipeline))
    yield {name: min(speed[name] for speed in speeds) for name in speeds[0]}


def sizes() -> dict[str, float]:
    """Return the weight of the files, in millions of bytes."""
    folder = MODELS_FOLDER / "text-to-image"
    return {
        "text_to_image_megabytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6,
        "cutout_megabytes": (MODELS_FOLDER / "cutout.onnx").stat().st_size / 1e6,
    }


def main() -> int:
    """Print the table and the JSON line; return the exit status."""
    argparse.ArgumentParser(prog="python -m starter.evaluate", description=__doc__).parse_args()
    values: dict[str, float] = {}
    print(f"{'measure':32} {'value':>9}  {'bar':>8}")
    for group in measure():
        for name, value in group.items():
            bar = BARS.get(name)
            verdict = "" if bar is None else f"{bar!s:>8}  {'ok' if bar.holds(value) else 'MISSED'}"
            print(f"{name:32} {value:9.4f}  {verdict}".rstrip(), flush=True)
        values.update(group)
    missed = [name for name, bar in BARS.items() if name not in values or not bar.holds(values[name])]
    if missed:
        print(f"missed: {', '.join(missed)}")
    print(json.dumps({name: round(value, 4) for name, value in values.items()}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
