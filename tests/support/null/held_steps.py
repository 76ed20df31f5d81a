"""Steps without a model for tests that stop a job in its midst: it stays there until the test lets it go on."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from steps.contract import Frame, StepContext, StepResult
from tests.support import ROOT
from tests.support.command import Pixelmill
from tests.support.null.steps import NullGenerate

HELD = "TEST_HELD_FILE"  # variable that names a file: items are held while it is there
FREE = 4  # items that are not
CATALOGUES = (ROOT / "tests/support/null/catalogue.yaml", Path(__file__).with_suffix(".yaml"))


class HeldGenerate(NullGenerate):
    """An image of one color; the job's first items at once, the others once nothing holds them."""

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        while any(frame.item.index >= FREE for frame in frames) and Path(os.environ[HELD]).exists():
            time.sleep(0.02)
        return super().run(frames, context)


def null_steps_environment(folder: Path) -> dict[str, str]:
    """Variables with which commands know the null steps, and `held_generate`."""
    return {
        "PYTHONPATH": str(ROOT),
        "PIXELMILL_CATALOGUE_PATH": os.pathsep.join(map(str, CATALOGUES)),
        "PIXELMILL_MICRO_BATCH": str(FREE),
        HELD: str(folder / "held"),
    }


def hold(shell: Pixelmill) -> Path:
    """Holds jobs until the file that is returned is deleted."""
    held = Path(shell.env[HELD])
    held.touch()
    return held
