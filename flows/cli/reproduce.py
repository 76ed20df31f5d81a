"""`pixelmill reproduce`: its work, its exit status, and what it prints for programs and for people."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from configs.documents.problems import InvalidInput
from configs.documents.uris import shown
from configs.settings.settings import Settings
from flows.cli.progress import stages
from flows.report.render import Answer
from flows.reproduce.plan import Difference, legible
from flows.reproduce.reproduce import PixelDifference, Reproduction, ReproductionResult, reproduce
from gpu_worker.monitor.logs import use_logs
from storage.images.png_recipe import Provenance

_VERDICTS = {  # exit status, style
    ReproductionResult.IDENTICAL: (0, "bold green"),
    ReproductionResult.WITHIN_TOLERANCE: (0, "bold green"),
    ReproductionResult.DIFFERENT: (1, "bold red"),
    ReproductionResult.CANNOT: (2, "bold red"),
}
_DIGEST_SHOWN = 12  # digits
_NOTHING_KNOWN = (
    "Steps, models, versions and device are the same. A GPU may give other low bits for another size of "
    "micro-batch; an earlier step may have run elsewhere; or the file's pixels were changed since."
)


def reproduce_command(
    image: str, inputs: Sequence[str], save: Path | None, tolerance: int, settings: Settings, *, console: Console
) -> Answer:
    """Make the image again. Exit status 0: the same within the tolerance; 1: different; 2: it cannot be made here.

    Reasons for status 2 go to `console` as well.
    """
    use_logs(settings, quiet=True)
    try:
        with stages(console) as log:
            done = reproduce(image, inputs=inputs, tolerance=tolerance, save=save, settings=settings, log=log)
    except InvalidInput as refusal:
        for problem in refusal.problems:
            console.print(Text(str(problem)), soft_wrap=True)
        verdict = ReproductionResult.CANNOT
        errors = [{"path": each.path, "message": each.message, "place": each.file} for each in refusal.problems]
        document = {"image": shown(image), "verdict": verdict.value, "errors": errors}
        return Answer(document, _styled(verdict), exit_status(verdict))
    except KeyboardInterrupt:
        raise typer.Abort from None  # no job to continue
    return Answer(reproduction_document(done), describe_reproduction(done), exit_status(done.verdict))


def exit_status(verdict: ReproductionResult) -> int:
    """Return 0 if the images are the same within the tolerance, 1 if different, 2 if not comparable."""
    return _VERDICTS[verdict][0]


def reproduction_document(done: Reproduction) -> dict[str, Any]:
    """Return the result as one JSON object, a stable interface: fields may be added, never renamed or removed."""
    pixels = done.pixels
    return {
        "image": done.image,
        "verdict": done.verdict.value,
        "tolerance": done.tolerance,
        "size": {"then": list(done.size), "here": list(done.made.image.size)},
        "pixels": pixels
        and {
            "total": pixels.pixels,
            "differing": pixels.differing,
            "channels": pixels.channels,
            "largest": list(pixels.largest),
            "mean": [round(value, 6) for value in pixels.mean],
        },
        "differences": [asdict(each) for each in done.differences],
        "made_with": {
            "then": {legible(name): legible(value) for name, value in done.recipe.made_with.items()} or None,
            "here": dict(sorted(done.made.recipe.made_with.items())),
        },
        "steps": [
            {"then": _step(then), "here": _step(here)}
            for then, here in zip(done.recipe.steps, done.made.recipe.steps, strict=True)
        ],
        "sha256": done.made.file.sha256,
        "unused_inputs": list(done.unused),
        "saved": None if done.saved is None else str(done.saved),
        "errors": [],
    }


def _step(mark: Provenance) -> dict[str, Any]:
    return {"step": mark.step, "version": mark.version, "fingerprint": mark.fingerprint}


def _styled(verdict: ReproductionResult) -> Text:
    return Text(verdict.value, _VERDICTS[verdict][1])


def describe_reproduction(done: Reproduction) -> RenderableType:
    """Return the result for a person; texts from the image are never read as Rich markup."""
    lines: list[RenderableType] = [_styled(done.verdict).append(f" · {_how_far(done)}", "default")]
    if done.pixels is not None and done.pixels.differing:
        lines.append(_channels(done.pixels))
    if done.differences:
        lines.append(_table(done.differences))
    elif done.verdict is not ReproductionResult.IDENTICAL and done.recipe.made_with:
        lines.append(Text(f"  {_NOTHING_KNOWN}"))
    if not done.recipe.made_with:
        lines.append(Text("  The image does not record the versions and the device that made it.", "dim"))
    lines += [Text(f"  {name}: no step of the image reads this file", "yellow") for name in done.unused]
    if done.saved is not None:
        lines.append(Text(f"  {done.saved}"))
    return Group(*lines)


def _how_far(done: Reproduction) -> str:
    width, height = done.size
    pixels = done.pixels
    if pixels is None:
        now = done.made.image
        return f"{now.width} x {now.height} pixels, not {width} x {height}"
    size = f"{pixels.pixels:,} pixels ({width} x {height})"
    if not pixels.differing:
        return f"all {size}"
    return f"{pixels.differing:,} of {size} differ, by at most {pixels.worst} of 255"


def _channels(pixels: PixelDifference) -> Table:
    headers = ("channel", Column("largest difference", justify="right"), Column("mean", justify="right"))
    table = Table(*headers, box=None, header_style="dim")
    for name, largest, mean in zip(pixels.channels, pixels.largest, pixels.mean, strict=True):
        table.add_row(name, str(largest), f"{mean:.4f}")
    return table


def _table(differences: tuple[Difference, ...]) -> Table:
    columns = [Column(name, overflow="fold") for name in ("", "then", "here")]
    table = Table("differs", *columns, box=None, header_style="dim")
    for each in differences:
        then, here = (_short(each, text) for text in (each.then, each.here))
        table.add_row(each.kind, Text(each.name), Text(then), Text(here))
    return table


def _short(difference: Difference, text: str | None) -> str:
    if text is None:
        return "–"
    return text[:_DIGEST_SHOWN] if difference.kind == "model" else text
