"""Images side by side on a CPU, each computed by one thread.

Kernels on a CPU sum in another order for another batch size or number of threads. One image at a time in one thread
gives the same bytes whatever the micro-batch and the machine's cores are; several such threads use the cores. Small
networks gain speed as well: their layers are too short to be worth dividing, and on a busy machine threads that wait
for each other after every layer are slower by orders of magnitude.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def side_by_side(function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    """Return the function's result for each item, in order; as many at once as torch may use threads.

    `function` must not share state that it changes between threads. The first exception is raised once all have ended.
    """
    futures = [_threads().submit(function, item) for item in items]
    for future in futures:
        future.exception()
    return [future.result() for future in futures]


def on_device(function: Callable[[Sequence[In]], list[Out]], items: Sequence[In], device: str) -> list[Out]:
    """Return the results of a function that computes batches: all items at once, but each alone on a CPU."""
    return side_by_side(lambda item: function([item])[0], items) if device == "cpu" else function(items)


@cache
def _threads() -> ThreadPoolExecutor:
    import torch

    return ThreadPoolExecutor(
        torch.get_num_threads(),
        thread_name_prefix="pixelmill-cpu",
        initializer=torch.set_num_threads,
        initargs=(1,),
    )
