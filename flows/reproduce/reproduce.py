"""Make an image again from the recipe in its file, as a worker makes it, and compare the two."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from configs.documents.problems import InvalidInput, Problem
from configs.documents.uris import resolve, shown
from configs.failures import Log
from configs.settings.settings import Settings
from flows.reproduce.plan import CannotReproduce, Difference, PlannedStep, ReproductionPlan, legible, plan_reproduction
from gpu_worker.device.device import DEVICE, DeviceUnavailable, can_compute
from gpu_worker.device.micro_batch import InvalidResult, run_in_batches
from gpu_worker.device.model_pool import ModelLoadError
from gpu_worker.device.runtime import WorkerRuntime, get_runtime
from gpu_worker.monitor.failures import BrokenInstallation, DeviceLost, describe
from steps.contract import Frame, StepResult
from storage.images.images import (
    FORMATS,
    EncodedImage,
    UnreadableImage,
    UnwritableImage,
    decode,
    encode,
    has_lost_recipe,
    open_image,
    read_recipe,
)
from storage.images.png_recipe import ImageRecipe, Provenance
from storage.inputs.sources import read_item_file
from storage.objects.artefacts import ContentConflict, StoreError
from storage.objects.folder_store import FolderStore
from storage.objects.keys import sha256_hex

_BAND_PIXELS = 2**22  # compared at once: the differences of a whole large image would take gigabytes


class ReproductionResult(StrEnum):
    """The verdict on a reproduction; the values are printed and part of the JSON output."""

    IDENTICAL = "identical"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"
    CANNOT = "cannot be rebuilt"


@dataclass(frozen=True, slots=True)
class PixelDifference:
    """The difference of two images of one size: absolute, 0 … 255, one entry for each letter of `channels`."""

    channels: str  # RGB, or RGBA if either image is
    pixels: int
    differing: int  # pixels that differ in any channel
    largest: tuple[int, ...]
    mean: tuple[float, ...]  # over all pixels

    @property
    def worst(self) -> int:
        """The largest difference of any channel, 0 … 255."""
        return max(self.largest)


@dataclass(frozen=True, slots=True)
class NewImage:
    """The new image as read back from its file, the file itself, and what it was made with."""

    image: Image.Image
    file: EncodedImage
    recipe: ImageRecipe


@dataclass(frozen=True, slots=True)
class Reproduction:
    """An image that was made again, and how the new one differs."""

    image: str
    recipe: ImageRecipe
    verdict: ReproductionResult
    tolerance: int
    size: tuple[int, int]
    made: NewImage
    pixels: PixelDifference | None  # None if the sizes differ
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
    """Read the image (a path or URI), make it again on this machine, and compare. `tolerance` is 0 … 255.

    `inputs` are the item's own files that its steps read, in any order; `save` is where to write the new image. Raises
    InvalidInput with every mistake at once before anything is computed, and CannotReproduce where computing fails;
    nothing has been written then.
    """
    log("reading")
    problems: list[Problem] = []
    original = _read_original(image, settings, problems)
    files = _read_inputs(inputs, settings, problems)
    if save is not None:
        problems += _objections(save, original)
    plan = None
    if original is not None:
        log("looking for its models")
        models = get_runtime(settings).catalogue
        try:
            plan = plan_reproduction(original.recipe, models, files=files, can_compute=can_compute())
        except CannotReproduce as reasons:
            problems += _in_file(reasons, image)
    if problems or original is None or plan is None:
        raise InvalidInput(problems)
    data = {digest: content for digest, (_, content) in files.items()}
    try:
        made = _Runner(plan, data, get_runtime(settings), settings.max_pixels, log).run()
    except CannotReproduce as reasons:
        raise CannotReproduce(_in_file(reasons, image)) from reasons
    log("comparing")
    pixels = pixel_difference(original.image, made.image)
    return Reproduction(
        image=shown(image),
        recipe=original.recipe,
        verdict=_verdict(pixels, tolerance),
        tolerance=tolerance,
        size=original.image.size,
        made=made,
        pixels=pixels,
        differences=(*plan.differences, *_environment_differences(original.recipe, made.recipe)),
        unused=tuple(name for digest, (name, _) in files.items() if digest not in plan.files),
        saved=None if save is None else _save(made, save),
    )


def _read_original(image: str, settings: Settings, problems: list[Problem]) -> _Original | None:
    try:
        data = _read(image, settings)
        recipe = read_recipe(data)
        if recipe is not None:
            return _Original(decode(data, max_pixels=settings.max_pixels), recipe, open_image(data).format)
        if has_lost_recipe(data):
            message = (
                "was made by Pixelmill, but its recipe is longer than a JPEG holds and was left out: give the image of "
                "a step before it, or store it as png, webp or avif"
            )
        else:
            message = (
                "carries no recipe that this version of Pixelmill understands: it was not made by Pixelmill, a newer "
                "version made it, or another program has written the file since"
            )
    except (StoreError, UnreadableImage) as error:
        message = str(error)
    problems.append(Problem("", message, shown(image)))
    return None


def _read_inputs(inputs: Sequence[str], settings: Settings, problems: list[Problem]) -> Mapping[str, tuple[str, bytes]]:
    """Return SHA-256 -> (name, bytes)."""
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
    if original is None or traits is None or ending == traits.extension:
        return []
    message = f"the image is a {original.format}: choose a name that ends in .{traits.extension}"
    return [Problem("--save", message, str(save))]


def _in_file(reasons: CannotReproduce, image: str) -> list[Problem]:
    return [replace(problem, file=shown(image)) for problem in reasons.problems]


def pixel_difference(one: Image.Image, other: Image.Image) -> PixelDifference | None:
    """Compare images of mode RGB or RGBA, colors under transparent pixels included.

    Returns None if their sizes differ.
    """
    if one.size != other.size:
        return None
    channels = "RGBA" if "RGBA" in (one.mode, other.mode) else "RGB"
    width, height = one.size
    largest = np.zeros(len(channels), np.uint8)
    total = np.zeros(len(channels), np.int64)
    differing = 0
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        first, second = (np.asarray(image.crop(box).convert(channels)) for image in (one, other))
        apart = np.maximum(first, second) - np.minimum(first, second)
        differing += int(np.count_nonzero(apart.any(axis=2)))
        largest = np.maximum(largest, apart.max(axis=(0, 1)))
        total += apart.sum(axis=(0, 1), dtype=np.int64)
    pixels = width * height
    return PixelDifference(
        channels,
        pixels,
        differing,
        largest=tuple(largest.tolist()),
        mean=tuple((total / pixels).tolist()),
    )


def _verdict(pixels: PixelDifference | None, tolerance: int) -> ReproductionResult:
    if pixels is None:
        return ReproductionResult.DIFFERENT
    if not pixels.differing:
        return ReproductionResult.IDENTICAL
    return ReproductionResult.WITHIN_TOLERANCE if pixels.worst <= tolerance else ReproductionResult.DIFFERENT


def _environment_differences(then: ImageRecipe, here: ImageRecipe) -> list[Difference]:
    """Return nothing for an image that does not record what it was made with."""
    if not then.made_with:
        return []
    was, now = then.made_with, here.made_with
    return [
        Difference.of("device" if name == DEVICE else "software", name, was.get(name), now.get(name))
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    ]


def _save(made: NewImage, save: Path) -> Path:
    file = made.file
    path = save.expanduser().absolute()
    try:
        FolderStore(path.parent).put(path.name, file.data, sha256=file.sha256, content_type=file.content_type)
    except StoreError as error:
        taken = "came to be while the image was computed, and is not written over: choose another name"
        message = taken if isinstance(error, ContentConflict) else str(error)
        raise InvalidInput([Problem("--save", message, str(save))]) from None
    return path


# What concerns this image, this device or these models. Anything else is a bug.
_FAILURES = (
    BrokenInstallation,
    DeviceLost,
    DeviceUnavailable,
    InvalidResult,
    ModelLoadError,
    UnreadableImage,
    UnwritableImage,
)


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs a plan as a worker does: same steps, same runtime, same encoding between the steps."""

    plan: ReproductionPlan
    files: Mapping[str, bytes]  # SHA-256 -> bytes of the input files
    runtime: WorkerRuntime
    max_pixels: int  # that an image may have, also between the steps
    log: Log

    def run(self) -> NewImage:
        """Raise CannotReproduce where a step, a model or the device fails."""
        file: EncodedImage | None = None
        image: Image.Image | None = None
        history: tuple[Provenance, ...] = ()
        recipe = ImageRecipe(())
        for planned in self.plan.steps:
            history = (*history, planned.here)
            try:
                result = self._run_step(planned, image)
                image = result.image
                # As the worker does: only PNG surely gives back the pixels that it was given.
                if planned is self.plan.steps[-1] or result.encoding.format != "png":
                    recipe = ImageRecipe(history, self.runtime.made_with(planned.visit.step))
                    self.log(f"{planned.visit.id}: encoding")
                    file = encode(result.image, **asdict(result.encoding), recipe=recipe)
                    image = decode(file.data, max_pixels=self.max_pixels)
            except _FAILURES as error:
                raise CannotReproduce([Problem(planned.visit.id, legible(describe(error)))]) from error
        assert file is not None and image is not None, "a plan has steps"
        return NewImage(image, file, recipe)

    def _run_step(self, planned: PlannedStep, image: Image.Image | None) -> StepResult:
        damaged = planned.visit.step.takes_damaged
        inputs = {
            file: decode(self.files[digest], max_pixels=self.max_pixels, damaged=damaged)
            for file, digest in planned.files.items()
        }
        with self.runtime.context() as context:
            for ref in planned.visit.step.model_refs():
                self.log(f"{planned.visit.id}: loading {ref}")
                context.model(ref)
            self.log(planned.visit.id)
            (outcome,) = run_in_batches(
                planned.visit.step,
                [Frame(planned.item, image, inputs)],
                context,
                1,
                name=planned.visit.name,
                model_digests=self.plan.model_digests,
                free_memory=self.runtime.free_memory,
            )
        if outcome.error is not None:
            raise CannotReproduce([Problem(planned.visit.id, legible(outcome.error))])
        (result,) = outcome.results
        if result.image.width * result.image.height > self.max_pixels:
            size = f"{result.image.width:,} x {result.image.height:,} pixels"
            message = f"its image has {size}, more than PIXELMILL_MAX_PIXELS allows ({self.max_pixels:,})"
            raise CannotReproduce([Problem(planned.visit.id, message)])
        return result
