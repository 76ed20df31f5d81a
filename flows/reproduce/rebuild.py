"""Makes an image again as a worker made it: same steps, same runtime, same files between the steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

from configs.documents.problems import Problem
from flows.reproduce.rebuild_plan import CannotRebuild, PlannedStep, RebuildPlan, legible
from gpu_worker.device.device import DeviceUnavailable
from gpu_worker.device.micro_batch import InvalidResult, run_in_batches
from gpu_worker.device.model_pool import ModelLoadError
from gpu_worker.device.runtime import WorkerRuntime
from gpu_worker.monitor.failures import BrokenInstallation, DeviceLost, describe
from steps.contract import Frame, StepResult
from storage.images.image_formats import UnreadableImage, UnwritableImage
from storage.images.images import EncodedImage, decode, encode
from storage.images.png_recipe import ImageRecipe, Provenance


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The image as it is read back from its file, the file itself, and what it was made with."""

    image: Image.Image
    file: EncodedImage
    recipe: ImageRecipe


def rebuild(
    plan: RebuildPlan,
    files: Mapping[str, bytes],
    runtime: WorkerRuntime,
    *,
    max_pixels: int,
    log: Callable[[str], None],
) -> Rebuilt:
    """Runs the plan's steps. `files`: SHA-256 -> bytes of the input files; `say` is told of each stage as it begins.

    No image on the way may have more than `max_pixels`. Raises CannotRebuild where a step, a model or the device fails.
    """
    worker = _Rebuild(plan, files, runtime, max_pixels, log)
    file: EncodedImage | None = None
    image: Image.Image | None = None
    marks: tuple[Provenance, ...] = ()
    recipe = ImageRecipe(())
    for number, planned in enumerate(plan.steps, 1):
        marks = (*marks, planned.here)
        try:
            result = worker.run(planned, image)
            is_last = number == len(plan.steps)
            image = result.image
            # As the worker does: only PNG surely gives back the pixels that it was given.
            if is_last or result.encoding.format != "png":
                recipe = ImageRecipe(marks, runtime.made_with(planned.visit.step))
                log(f"{planned.label}: encoding")
                file = _encoded(result, recipe)
                image = decode(file.data, max_pixels=max_pixels)
        except _FAILURES as error:
            raise CannotRebuild([Problem(planned.label, legible(describe(error)))]) from error
    assert file is not None and image is not None, "a plan has steps"
    return Rebuilt(image, file, recipe)


# What concerns this image, this device or these models. Anything else is a mistake of Pixelmill's own.
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
class _Rebuild:
    plan: RebuildPlan
    files: Mapping[str, bytes]
    runtime: WorkerRuntime
    max_pixels: int
    log: Callable[[str], None]

    def run(self, planned: PlannedStep, image: Image.Image | None) -> StepResult:
        step = planned.visit.step
        inputs = {
            file: decode(self.files[digest], max_pixels=self.max_pixels) for file, digest in planned.files.items()
        }
        with self.runtime.context() as context:
            for ref in step.model_refs():
                self.log(f"{planned.label}: loading {ref}")
                context.model(ref)
            self.log(planned.label)
            (outcome,) = run_in_batches(
                step,
                [Frame(planned.item, image, inputs)],
                context,
                1,
                name=planned.visit.name,
                model_digests=self.plan.model_digests,
                free_memory=self.runtime.free_memory,
            )
        if outcome.error is not None:
            raise CannotRebuild([Problem(planned.label, legible(outcome.error))])
        (result,) = outcome.results
        if result.image.width * result.image.height > self.max_pixels:
            size = f"{result.image.width:,} x {result.image.height:,} pixels"
            message = f"its image has {size}, more than PIXELMILL_MAX_PIXELS allows ({self.max_pixels:,})"
            raise CannotRebuild([Problem(planned.label, message)])
        return result


def _encoded(result: StepResult, recipe: ImageRecipe) -> EncodedImage:
    encoding = result.encoding
    return encode(
        result.image, format=encoding.format, quality=encoding.quality, lossless=encoding.lossless, recipe=recipe
    )
