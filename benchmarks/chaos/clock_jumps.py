"""A wall clock that jumps by hours, forward and back, while the job runs."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

from benchmarks.chaos.again import Stop, again_and_again
from benchmarks.chaos.checks import check
from benchmarks.chaos.fault import Arena, Findings
from benchmarks.chaos.journey import Stuck, wait_for_end

SOURCE = Path(__file__).with_name("shifted_clock.c")
COMPILER = "cc"
HOURS = 12.0  # a jump leads to at most so far from the true time
PAUSE_SECONDS = (1.0, 6.0)  # between jumps


class ClockJumps:
    name = "clock-jumps"
    about = f"the wall clock of all processes jumps again and again, up to {HOURS:.0f} hours off"

    def obstacle(self) -> str | None:
        if not sys.platform.startswith("linux"):
            return "the clock is shifted by LD_PRELOAD, which only Linux has"
        return None if shutil.which(COMPILER) else f"no C compiler ({COMPILER}) to build the shifted clock with"

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        clock = _Clock(arena.folder)
        with arena.scene("job", environment=clock.environment) as scene:

            def jump(_: Stop) -> None:
                clock.set(round(arena.random.uniform(-HOURS, HOURS) * 3600))
                findings.count("jumps")

            try:
                with again_and_again(jump, arena.random, PAUSE_SECONDS):
                    ended = wait_for_end(scene, scene.run())
                findings.expect(ended.status == 0, f"the job ended with status {ended.status}: {ended.last_words}")
                findings.add(check(scene, none_twice=True))
            except Stuck as stuck:
                findings.wrong.append(str(stuck))
        return findings


class _Clock:
    """The shift of all processes that are started with `environment`, as if the machine's clock was set."""

    def __init__(self, folder: Path) -> None:
        self._file, library = folder / "clock", folder / "shifted_clock.so"
        self.set(0)
        subprocess.run([COMPILER, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        # In place: the processes have mapped this very file.
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))
