"""A bare diffusers loop: `python -m benchmarks.diffusers_process FOLDER DEVICE DTYPE`, nothing of Pixelmill in it.

A request is `{"prompts": […], "seeds": […], "batch": …, "steps": …, "guidance": …}`, a reply `{"seconds": …,
"images": …}`: the images are pictures in memory when the clock stops.
"""

import sys
import time
from collections.abc import Callable

from benchmarks.resident import Message, serve


def prepare() -> Callable[[Message], Message]:
    """Loads the pipeline."""
    import torch
    from diffusers import DiffusionPipeline

    folder, device, dtype = sys.argv[1:]
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
    pipeline.set_progress_bar_config(disable=True)

    def answer(request: Message) -> Message:
        started = time.perf_counter()
        images = []
        prompts, seeds = request["prompts"], request["seeds"]
        for start in range(0, len(prompts), request["batch"]):
            batch = slice(start, start + request["batch"])
            images += pipeline(
                prompt=prompts[batch],
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds[batch]],
                num_inference_steps=request["steps"],
                guidance_scale=request["guidance"],
            ).images
        return {"seconds": time.perf_counter() - started, "images": len(images)}

    return answer


if __name__ == "__main__":
    serve(prepare)
