"""The real steps, which also note what they compute: so that what is computed twice can be counted from outside.

A user's own steps come into a fleet in the same way: a folder on PYTHONPATH, a catalogue in PIXELMILL_CATALOGUE_PATH.
"""

import json
import os
import time
from collections.abc import Sequence

from typing_extensions import override

from steps.contract import Frame, StepContext, StepResult
from steps.remove_background import RemoveBackground
from steps.upscale import Upscale

COMPUTE_LOG = "FLEET_COMPUTE_LOG"  # variable that names a file: one JSON line for each micro-batch


class LoggedRemoveBackground(RemoveBackground):
    """remove_background, noted."""

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        started = time.time()
        results = super().run(frames, context)
        note("cutout", frames, started)
        return results


class LoggedUpscale(Upscale):
    """upscale, noted."""

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        started = time.time()
        results = super().run(frames, context)
        note("large", frames, started)
        return results


def note(step_id: str, frames: Sequence[Frame], started: float) -> None:
    """Appends one line, by one write: those of several workers do not mix."""
    path = os.environ.get(COMPUTE_LOG)
    if not path:
        return
    line = {"step": step_id, "items": [frame.item.name for frame in frames], "pid": os.getpid(), "started": started}
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)
