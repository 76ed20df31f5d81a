"""What a diffusers model does against a lack of memory, so that whoever else uses its weights does not notice.

Attention slicing is not among it: torch's fused attention needs no more memory than slices, and is faster by far.
Neither is sequential offloading, which moves every layer at every denoising step: minutes an image.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from importlib.util import find_spec
from typing import Any

from steps.contract import MemoryFallback

logger = logging.getLogger(__name__)

_TILE = 64  # latents a side at most: 512 pixels for most autoencoders
_TILE_MULTIPLE = 4  # latents: diffusers lets tiles overlap by a quarter, which has to be a whole number


def reliefs_of(vae: Any, device: str) -> tuple[MemoryFallback, ...]:
    """What can be done for a model of this autoencoder on this device."""
    tile = (MemoryFallback.TILE,) if hasattr(vae, "use_tiling") and hasattr(vae, "tile_latent_min_size") else ()
    offload = (MemoryFallback.OFFLOAD,) if device != "cpu" and _has_accelerate() else ()
    return (*tile, *offload)


def tiled(vae: Any) -> Any:
    """The same weights, to be run in tiles; the autoencoder given is not changed."""
    other = copy(vae)
    other.enable_tiling()
    return other


def set_tile(vae: Any, width: int, height: int, latent_block: int) -> None:
    """Has a tiled autoencoder work in at least two tiles along the longer side of an image of so many pixels."""
    half = max(width, height) // latent_block // 2
    latents = -(-min(_TILE, half) // _TILE_MULTIPLE) * _TILE_MULTIPLE
    vae.tile_latent_min_size, vae.tile_sample_min_size = latents, latents * latent_block


class Placement:
    """Where the weights that all pipelines of a model share are, and that one pipeline at a time uses them."""

    def __init__(self, base: Any, device: str) -> None:
        """`base`: the pipeline whose components are those of all others, on `device`."""
        self._base, self._device = base, device
        self._vae_dtype = base.vae.dtype
        self._using = threading.Lock()
        self._offloading: Any = None  # the pipeline whose components wait on the CPU; None: they are on the device
        self._settled = True

    @contextmanager
    def use(self, pipeline: Any, *, offload: bool) -> Iterator[None]:
        """The block may run the pipeline. `offload`: a component is on the device only while it computes.

        Components stay where the block has left them until another one wants them elsewhere: moving them to and fro
        for each image would take longer than some images do. Raises torch.OutOfMemoryError if they do not fit there.
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
