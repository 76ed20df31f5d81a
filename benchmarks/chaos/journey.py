"""A command on its way to the end of its job: wait for progress, or for the end, but never for ever."""

import subprocess
import time
from contextlib import suppress

from benchmarks.chaos.ledger_view import Unreadable
from benchmarks.chaos.processes import kill_all
from benchmarks.chaos.scene import Command, Ended, Scene

PATIENCE_SECONDS = 240.0  # without anything new in the ledger: a job that takes longer is stuck
LOOK_SECONDS = 0.1


class Stuck(Exception):
    """The command lives and gets nowhere. All processes of its scene have been killed."""


def wait_for_progress(scene: Scene, command: Command, *, beyond: int, patience: float = PATIENCE_SECONDS) -> bool:
    """Waits until the ledger holds more than `beyond` outcomes. False: the command ended first. Raises Stuck."""
    deadline = time.monotonic() + patience
    while command.running:
        if len(scene.witness.seen) > beyond:
            return True
        if time.monotonic() > deadline:
            raise _stuck(scene, patience)
        time.sleep(LOOK_SECONDS)
    return False


def wait_for_shard_end(scene: Scene, command: Command, *, patience: float = PATIENCE_SECONDS) -> bool:
    """Waits until one more shard is done. False: the command ended first. Raises Stuck."""
    deadline = time.monotonic() + patience
    before: int | None = None
    while command.running:
        with suppress(Unreadable):
            done = scene.ledger.shards_done()
            if before is not None and done > before:
                return True
            before = done
        if time.monotonic() > deadline:
            raise _stuck(scene, patience)
        time.sleep(LOOK_SECONDS)
    return False


def wait_for_end(scene: Scene, command: Command, *, patience: float = PATIENCE_SECONDS) -> Ended:
    """Waits as long as the ledger gets fuller. Raises Stuck."""
    before, deadline = -1, 0.0
    while True:
        if len(scene.witness.seen) > before:
            before, deadline = len(scene.witness.seen), time.monotonic() + patience
        try:
            return command.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise _stuck(scene, patience) from None


def _stuck(scene: Scene, patience: float) -> Stuck:
    kill_all(scene.home)
    try:
        state = f"{dict(scene.ledger.item_states())} {scene.ledger.jobs()}"
    except Unreadable as error:
        state = f"unreadable: {error}"
    return Stuck(f"nothing new in {patience:.0f} s; the ledger then: {state}")
