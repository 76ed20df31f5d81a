"""Doing something to a running job again and again, at random moments, until it ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

Stop = threading.Event


@contextmanager
def again_and_again(disturb: Callable[[Stop], object], random: Random, pause: tuple[float, float]) -> Iterator[None]:
    """Calls `disturb` beside the block, with pauses of `pause` seconds (least, most).

    A long disturbance ends early when it is stopped.
    """
    stop = Stop()

    def loop() -> None:
        while not stop.wait(random.uniform(*pause)):
            disturb(stop)

    thread = threading.Thread(target=loop, name=f"again-{getattr(disturb, '__name__', 'disturb')}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
