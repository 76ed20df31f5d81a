"""diffusers: one set of Stable Diffusion weights that paints from noise, from an image and under a mask."""

import logging
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy, deepcopy
from functools import cache
from importlib.util import find_spec
from math import lcm
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from pydantic import Field

from configs.documents.notes import Notes
from steps.contract import MemoryFallback
from steps.diffusion import SCHEDULERS, ImageRequest, Sampling, SchedulerName, Task
from steps.engines.hugging_face import PretrainedOptions, offline, silence_transformers
from steps.side_by_side import side_by_side


class DiffusersOptions(PretrainedOptions):
    """Options of a model part whose engine is `diffusers`."""

    dtype: Literal["float32", "float16", "bfloat16"] | None = Field(
        default=None, description="Numbers to compute with; default: float16 on cuda, float32 elsewhere."
    )
    variant: str | None = Field(default=None, description="Which files of the folder to read, such as fp16.")
    vae_tiling: bool = Field(default=False, description="Decode in tiles: less memory for large images.")


def load(source: str, options: Mapping[str, Any], device: str) -> "Diffusion":
    """Return the weights in a diffusers folder (`model_index.json` and safetensors), moved to `device`.

    No file of the folder is run: weights are tensors only, classes are those of the installed libraries. Raises
    FileNotFoundError where there is no such folder and nothing may be downloaded, and pydantic's
    ValidationError for unknown options.
    """
    checked = DiffusersOptions.model_validate(dict(options))
    _silence_libraries()
    with nullcontext() if checked.allow_download else offline():
        pipeline = _read_pipeline(source, checked, device)
    if checked.vae_tiling:
        pipeline.vae.enable_tiling()
    return Diffusion(pipeline.to(device), device)


def _read_pipeline(source: str, checked: DiffusersOptions, device: str) -> Any:
    import torch
    from diffusers import DiffusionPipeline

    where: dict[str, Any] = {"local_files_only": not checked.allow_download, "revision": checked.revision}
    if not checked.allow_download and Path(source).is_absolute() and not Path(source).is_dir():
        raise FileNotFoundError(
            f"{source} is not a folder: put the model's diffusers folder there, or correct `source`"
        )
    try:
        index = DiffusionPipeline.load_config(source, **where)
    except OSError as error:
        raise FileNotFoundError(
            f"{source} is not a diffusers folder and not in the local cache: correct `source`, or set the option "
            f"allow_download: true to fetch it"
        ) from error
    # A safety checker would blacken images without any report; most folders have none anyway.
    unwanted = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
    return DiffusionPipeline.from_pretrained(
        source,
        dtype=getattr(torch, checked.dtype or ("float16" if device.startswith("cuda") else "float32")),
        variant=checked.variant,
        use_safetensors=True,  # never pickles, which run code
        trust_remote_code=False,  # nor code from a model's folder
        **where,
        **unwanted,
    )


class Diffusion:
    """Loaded weights, and the pipelines over them, each made when first asked for."""

    def __init__(self, pipeline: Any, device: str) -> None:
        self._base = pipeline
        self._device = device
        self._placement = Placement(pipeline, device)
        self._of_thread = threading.local()

    @property
    def latent_block(self) -> int:
        return int(self._base.vae_scale_factor)

    @property
    def size_multiple(self) -> int:
        return lcm(8, self.latent_block)  # diffusers needs multiples of 8 with any autoencoder

    @property
    def default_size(self) -> tuple[int, int]:
        sample = self._base.unet.config.sample_size
        height, width = (sample, sample) if isinstance(sample, int) else sample
        return width * self.latent_block, height * self.latent_block

    @property
    def fallbacks(self) -> Collection[MemoryFallback]:
        vae = self._base.vae
        tile = (MemoryFallback.TILE,) if hasattr(vae, "use_tiling") and hasattr(vae, "tile_latent_min_size") else ()
        offload = (MemoryFallback.OFFLOAD,) if self._device != "cpu" and _has_accelerate() else ()
        return (*tile, *offload)

    def pipeline(self, task: Task, scheduler: SchedulerName | None = None, *, in_tiles: bool = False) -> Any:
        """Return the diffusers pipeline of a task, over the same weights as the others, with a scheduler of its own.

        Each thread has its own: a pipeline and its scheduler keep the state of a run. With `in_tiles` its autoencoder
        works in tiles.
        """
        pipelines = self._of_thread.__dict__
        key = f"{task} {scheduler} {in_tiles}"
        if key not in pipelines:
            pipelines[key] = self._new_pipeline(task, scheduler, in_tiles)
        return pipelines[key]

    def paint(
        self,
        task: Task,
        requests: Sequence[ImageRequest],
        sampling: Sampling,
        fallback: MemoryFallback = MemoryFallback.NONE,
    ) -> list[Image.Image]:
        """One RGB image per request, in order.

        On a CPU each image is computed alone, several side by side: the same seed gives the same bytes. Other devices
        compute the whole micro-batch at once.

        TILE has the autoencoder work in overlapping tiles of at most 64 latents a side, whose seams it blends: the
        composition stays, but shades and fine details shift, as its normalization sees one tile at a time. OFFLOAD lets
        text encoder, denoiser and autoencoder take turns on the device, and changes no pixel further.
        """
        if self._device == "cpu":
            return side_by_side(lambda request: self._paint_batch(task, [request], sampling, fallback)[0], requests)
        pipeline = self._pipeline_for(task, sampling, fallback)
        with self._placement.use(pipeline, offload=fallback >= MemoryFallback.OFFLOAD):
            return self._paint_batch(task, requests, sampling, fallback)

    def is_truncated(self, prompt: str) -> bool:
        tokenizer = self._base.tokenizer
        return bool(len(tokenizer(prompt).input_ids) > tokenizer.model_max_length)

    def _pipeline_for(self, task: Task, sampling: Sampling, fallback: MemoryFallback) -> Any:
        in_tiles = MemoryFallback.TILE in self.fallbacks and fallback >= MemoryFallback.TILE
        pipeline = self.pipeline(task, sampling.scheduler, in_tiles=in_tiles)
        if in_tiles:
            # At least two tiles along the longer side.
            half = max(sampling.width, sampling.height) // self.latent_block // 2
            latents = -(-min(_TILE, half) // _TILE_MULTIPLE) * _TILE_MULTIPLE
            pipeline.vae.tile_latent_min_size = latents
            pipeline.vae.tile_sample_min_size = latents * self.latent_block
        return pipeline

    def _new_pipeline(self, task: Task, scheduler: SchedulerName | None, in_tiles: bool) -> Any:
        import diffusers

        auto = {
            "text_to_image": diffusers.AutoPipelineForText2Image,
            "image_to_image": diffusers.AutoPipelineForImage2Image,
            "inpaint": diffusers.AutoPipelineForInpainting,
        }[task]
        own = self._base.scheduler
        kind = getattr(diffusers, SCHEDULERS[scheduler]) if scheduler else type(own)
        # Two pipelines must share neither a scheduler, which counts its steps, nor a tokenizer: encoding a prompt sets
        # padding and truncation on it, and another thread would then encode with those.
        own_parts = {
            name: deepcopy(component)
            for name, component in self._base.components.items()
            if name.startswith("tokenizer") and component is not None
        }
        if in_tiles:
            own_parts["vae"] = copy(self._base.vae)  # over the same weights
            own_parts["vae"].enable_tiling()
        pipeline = auto.from_pipe(self._base, scheduler=kind.from_config(own.config), **own_parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _paint_batch(
        self, task: Task, requests: Sequence[ImageRequest], sampling: Sampling, fallback: MemoryFallback
    ) -> list[Image.Image]:
        import torch

        generators = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        negative = [request.negative_prompt for request in requests]
        inputs = {
            "width": sampling.width,
            "height": sampling.height,
            "strength": sampling.strength,
            "image": [request.image for request in requests],
            "mask_image": [request.mask for request in requests],
            "latents": self._noise(generators, sampling) if "latents" in _INPUTS[task] else None,
        }
        pipeline = self._pipeline_for(task, sampling, fallback)
        with torch.inference_mode():
            output = pipeline(
                prompt=[request.prompt for request in requests],
                negative_prompt=negative if any(negative) else None,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance,
                generator=generators,
                output_type="pil",
                **{name: inputs[name] for name in _INPUTS[task]},
            )
        notes = Notes(drawn={"Sampler": _name_of(pipeline.scheduler)})
        for image in output.images:
            notes.put_on(image)
        return list(output.images)

    def _noise(self, generators: Sequence[Any], sampling: Sampling) -> Any:
        """Noise of float32, so that a model of fewer bits starts from the same noise, and not from a coarser one."""
        import torch

        shape = (
            1,
            self._base.vae.config.latent_channels,
            sampling.height // self.latent_block,
            sampling.width // self.latent_block,
        )
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
        return noise.to(self._device, self._base.unet.dtype)


def _name_of(scheduler: Any) -> str:
    """Return a scheduler's name as recipes write it, or that of its class."""
    kind = type(scheduler).__name__
    return next((name for name, known in SCHEDULERS.items() if known == kind), kind.removesuffix("Scheduler"))


# What a task's pipeline takes beside prompts, steps and seeds.
_INPUTS: Mapping[Task, tuple[str, ...]] = {
    "text_to_image": ("width", "height", "latents"),
    "image_to_image": ("image", "strength"),
    "inpaint": ("width", "height", "image", "mask_image", "strength"),
}


def _silence_libraries() -> None:
    """No progress bars, advice or telemetry. Errors are raised, so nothing of use is lost."""
    import diffusers.utils.logging as diffusers_logging

    silence_transformers()
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    # Old settings in published model folders, which diffusers brings up to date by itself.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"diffusers\.")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"diffusers\.")


logger = logging.getLogger(__name__)

# Attention slicing is not among the measures against a lack of memory: torch's fused attention needs no more memory
# than slices, and is faster by far. Neither is sequential offloading, which moves every layer at every denoising step.
_TILE = 64  # latents a side at most: 512 pixels for most autoencoders
_TILE_MULTIPLE = 4  # latents: diffusers lets tiles overlap by a quarter, which has to be a whole number


class Placement:
    """The location of the weights that all pipelines of a model share; one pipeline at a time uses them."""

    def __init__(self, base: Any, device: str) -> None:
        """Take `base`, the pipeline whose components all others share, on `device`."""
        self._base, self._device = base, device
        self._vae_dtype = base.vae.dtype
        self._using = threading.Lock()
        self._offloading: Any = None  # the pipeline whose components wait on the CPU; None: they are on the device
        self._settled = True

    @contextmanager
    def use(self, pipeline: Any, *, offload: bool) -> Iterator[None]:
        """Let the block run the pipeline; with `offload` a component is on the device only while it computes.

        Components stay where the block leaves them until another block needs them elsewhere: moving them for each
        image would take longer than some images do. Raises torch.OutOfMemoryError if they do not fit there.
        """
        with self._using:
            self._settle(pipeline if offload else None)
            try:
                yield
            except BaseException:
                # A pipeline that fails leaves its components where they were just then, and, for Stable Diffusion XL,
                # an autoencoder in float32 that its next run would feed with float16.
                self._settled = False
                raise

    def _settle(self, offloading: Any) -> None:
        if self._settled and self._offloading is offloading:
            return
        self._settled = False  # until all is done: moving may run out of memory half-way
        if self._offloading is not None:
            self._offloading.remove_all_hooks()
            self._offloading = None
        self._base.vae.to(dtype=self._vae_dtype)
        if offloading is None:
            self._base.to(self._device)
        else:
            self._offloading = offloading
            offloading.enable_model_cpu_offload(device=self._device)
        self._settled = True


@cache
def _has_accelerate() -> bool:
    if find_spec("accelerate") is not None:
        return True
    logger.warning(
        "Images too large for the device are not tried with parts of the model kept off it: that needs the package "
        "accelerate, which comes with pixelmill[cuda]."
    )
    return False
