"""A device of little memory without a GPU: engines that load real models and let them run out of memory.

A model file names one of them as its `engine` (see engines.yaml) and says with the option `room` how much fits. The
models compute on `cpu:0`: to the engines that is an accelerator, whose micro-batches are computed at once, and to torch
the CPU. What does not fit raises torch's own error from within the network, with all that is on the way there.
"""

from collections.abc import Callable, Mapping
from typing import Any

from steps.engines import diffusers_engine, realesrgan_engine

DEVICE = "cpu:0"
GUIDED = 2  # passes of the denoiser an image, with and without prompt: in one batch
AUTOENCODER = 4  # times the memory of the denoiser for the same pixels


def load_upscaler(source: str, options: Mapping[str, Any], device: str) -> Any:
    """`room`: pixels that the network takes at once on the device; `host_room`: on the CPU, where OFFLOAD computes."""
    rest = dict(options)
    room, host_room = rest.pop("room"), rest.pop("host_room")
    upscaler = realesrgan_engine.load(source, rest, DEVICE)
    for network, limit in ((upscaler.model, room), (upscaler.on_cpu().model, host_room)):
        network.register_forward_pre_hook(_needing(_pixels, lambda limit=limit: limit))
    return upscaler


def load_diffusion(source: str, options: Mapping[str, Any], device: str) -> Any:
    """`room`: pixels that the denoiser takes at once, all images of a micro-batch together; offloaded twice as many."""
    rest = dict(options)
    room = rest.pop("room")
    model = diffusers_engine.load(source, rest, DEVICE)
    unet, vae = model._base.unet, model._base.vae

    def limit() -> int:
        return 2 * room if hasattr(unet, "_hf_hook") else room

    block = model.latent_block**2
    unet.register_forward_pre_hook(_needing(lambda latents: _pixels(latents) * block, limit))
    vae.decoder.register_forward_pre_hook(_needing(lambda latents: AUTOENCODER * _pixels(latents) * block, limit))
    vae.encoder.register_forward_pre_hook(_needing(lambda images: AUTOENCODER * _pixels(images), limit))
    return model


def _pixels(images: Any) -> int:
    return int(images.shape[0] * images.shape[2] * images.shape[3])


def _needing(need: Callable[[Any], int], room: Callable[[], int]) -> Callable[[Any, Any], None]:
    def check(_network: Any, inputs: Any) -> None:
        import torch

        if need(inputs[0]) > room():
            raise torch.OutOfMemoryError(f"simulated: {need(inputs[0])} pixels where {room()} fit")

    return check
