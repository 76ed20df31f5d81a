"""Makes an image again from what its file says of itself, and finds out whether it is the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from configs.documents.problems import InvalidInput, Problem
from configs.documents.uris import resolve, shown
from configs.reporting import Log
from configs.settings.settings import Settings
from flows.reproduce.pixel_difference import PixelDifference, pixel_difference
from flows.reproduce.rebuild import Rebuilt, rebuild
from flows.reproduce.rebuild_plan import CannotRebuild, Difference, RebuildPlan, legible, plan_rebuild
from gpu_worker.device.installation import DEVICE, can_compute
from gpu_worker.device.runtime import get_runtime
from storage.images.image_formats import FORMATS, UnreadableImage, open_image
from storage.images.images import decode
from storage.images.png_recipe import ImageRecipe, read_recipe
from storage.inputs.sources import read_item_file
from storage.objects.artefacts import ContentConflict, StoreError
from storage.objects.folder_store import FolderStore
from storage.objects.keys import sha256_hex


class ReproductionResult(StrEnum):
    IDENTICAL = "identical"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"
    CANNOT = "cannot be rebuilt"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """An image made again. `pixels` None: it came out in another size."""

    image: str
    recipe: ImageRecipe
    verdict: ReproductionResult
    tolerance: int
    size: tuple[int, int]
    rebuilt: Rebuilt
    pixels: PixelDifference | None
    differences: tuple[Difference, ...]
    unused: tuple[str, ...]  # inputs that no step reads
    saved: Path | None


class _Original(NamedTuple):
    image: Image.Image
    recipe: ImageRecipe
    format: str | None  # as Pillow calls it


def reproduce(
    image: str, *, inputs: Sequence[str], tolerance: int, save: Path | None, settings: Settings, log: Log
) -> Reproduction:
    """Reads the image (a path or URI), makes it again on this machine, and compares. `tolerance` is 0 … 255.

    `inputs` are the item's own files that its steps read, in any order; `save` is where to write the new image. Raises
    InvalidInput with every mistake at once before anything is computed, CannotRebuild where computing fails; then
    nothing was written.
    """
    log("reading")
    problems: list[Problem] = []
    original = _read_original(image, settings, problems)
    files = _read_inputs(inputs, settings, problems)
    if save is not None:
        problems += _objections(save, original)
    plan = _plan(image, original, files, settings, problems, log)
    if problems or original is None or plan is None:
        raise InvalidInput(problems)
    data = {digest: content for digest, (_, content) in files.items()}
    try:
        rebuilt = rebuild(plan, data, get_runtime(settings), max_pixels=settings.max_pixels, log=log)
    except CannotRebuild as reasons:
        raise CannotRebuild(_in_file(reasons.problems, image)) from reasons
    log("comparing")
    pixels = pixel_difference(original.image, rebuilt.image)
    return Reproduction(
        image=shown(image),
        recipe=original.recipe,
        verdict=_verdict(pixels, tolerance),
        tolerance=tolerance,
        size=original.image.size,
        rebuilt=rebuilt,
        pixels=pixels,
        differences=(*plan.differences, *_environment_differences(original.recipe, rebuilt.recipe)),
        unused=tuple(name for digest, (name, _) in files.items() if digest not in plan.files),
        saved=None if save is None else _save(rebuilt, save),
    )


def _read_original(image: str, settings: Settings, problems: list[Problem]) -> _Original | None:
    try:
        data = _read(image, settings)
        recipe = read_recipe(data)
        if recipe is not None:
            return _Original(decode(data, max_pixels=settings.max_pixels), recipe, open_image(data).format)
        message = (
            "carries no recipe that this version of Pixelmill understands: it was not made by Pixelmill, a newer "
            "version made it, or another program has written the file since"
        )
    except (StoreError, UnreadableImage) as error:
        message = str(error)
    problems.append(Problem("", message, shown(image)))
    return None


def _read_inputs(inputs: Sequence[str], settings: Settings, problems: list[Problem]) -> Mapping[str, tuple[str, bytes]]:
    """SHA-256 -> name and bytes."""
    files = {}
    for name in inputs:
        try:
            data = _read(name, settings)
            files[sha256_hex(data)] = shown(name), data
        except StoreError as error:
            problems.append(Problem("--input", str(error), shown(name)))
    return files


def _read(name: str, settings: Settings) -> bytes:
    return read_item_file(resolve(name, str(Path.cwd())), settings)


def _objections(save: Path, original: _Original | None) -> list[Problem]:
    if save.exists() or save.is_symlink():
        return [Problem("--save", "is there already and is not written over: choose another name", str(save))]
    traits = next((known for name, known in FORMATS.items() if original and name.upper() == original.format), None)
    ending = save.suffix.lower().lstrip(".").replace("jpeg", "jpg")
    if traits is not None and ending != traits.extension:
        message = (
            f"the image is a {original.format}: choose a name that ends in .{traits.extension}" if original else ""
        )
        return [Problem("--save", message, str(save))]
    return []


def _plan(
    image: str,
    original: _Original | None,
    files: Mapping[str, object],
    settings: Settings,
    problems: list[Problem],
    log: Log,
) -> RebuildPlan | None:
    if original is None:
        return None
    log("looking for its models")
    try:
        return plan_rebuild(
            original.recipe, get_runtime(settings).catalogue, files=files.keys(), can_compute=can_compute()
        )
    except CannotRebuild as reasons:
        problems += _in_file(reasons.problems, image)
        return None


def _in_file(problems: Iterable[Problem], image: str) -> list[Problem]:
    return [replace(problem, file=shown(image)) for problem in problems]


def _verdict(pixels: PixelDifference | None, tolerance: int) -> ReproductionResult:
    if pixels is None:
        return ReproductionResult.DIFFERENT
    if not pixels.differing:
        return ReproductionResult.IDENTICAL
    return ReproductionResult.WITHIN_TOLERANCE if pixels.worst <= tolerance else ReproductionResult.DIFFERENT


def _environment_differences(then: ImageRecipe, here: ImageRecipe) -> list[Difference]:
    """None if the image does not say what it was made with."""
    if not then.made_with:
        return []
    was, now = then.made_with, here.made_with
    return [
        Difference(
            "device" if name == DEVICE else "software",
            legible(name),
            legible(was[name]) if name in was else None,
            now.get(name),
        )
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    ]


def _save(rebuilt: Rebuilt, save: Path) -> Path:
    file = rebuilt.file
    path = save.expanduser().absolute()
    try:
        FolderStore(path.parent).put(path.name, file.data, sha256=file.sha256, content_type=file.content_type)
    except ContentConflict:
        message = "came to be while the image was computed, and is not written over: choose another name"
        raise InvalidInput([Problem("--save", message, str(save))]) from None
    except StoreError as error:
        raise InvalidInput([Problem("--save", str(error), str(save))]) from None
    return path
