"""The same job started twice at the same moment: one start runs it, the other reports that and ends."""

import time
from collections.abc import Sequence

from benchmarks.chaos.checks import check
from benchmarks.chaos.fault import Arena, Findings
from benchmarks.chaos.journey import Stuck, wait_for_end, wait_for_progress
from benchmarks.chaos.null_job import JOB
from benchmarks.chaos.scene import Ended, Scene

PLACES = ("one-home", "two-homes")
REFUSAL = "is running already"
APART_SECONDS = (0.0, 0.0, 0.2, 1.0)  # how much later the second start may come; often not at all


class TwoStarts:
    name = "two-starts"
    about = "the same job started twice at once, on one machine and as on two, and a third time in its midst"

    def __init__(self, places: Sequence[str] = PLACES) -> None:
        self._places = places

    def obstacle(self) -> str | None:
        return None

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        for place in self._places:
            # Another home is another Prefect server and other locks, as on another machine: the ledger alone is shared.
            environment = {"PIXELMILL_LEDGER_URL": f"sqlite:///{arena.folder / place / 'shared-ledger.db'}"}
            with arena.scene(place, environment=environment) as scene, arena.scene(f"{place}-other") as other:
                shared = {**environment, "PIXELMILL_HOME": str(scene.home if place == "one-home" else other.home)}
                try:
                    self._start_twice(scene, shared, arena, findings)
                    findings.add(check(scene, none_twice=True), place)
                except Stuck as stuck:
                    findings.wrong.append(f"{place}: {stuck}")
            arena.log(f"{place}: {len(findings.wrong)} wrong")
        return findings

    def _start_twice(self, scene: Scene, shared: dict[str, str], arena: Arena, findings: Findings) -> None:
        first = scene.run()
        time.sleep(arena.random.choice(APART_SECONDS))
        second = scene.start("run", str(scene.job_file), "--json", environment=shared)
        commands = [first, second]
        while all(command.running for command in commands) and not scene.witness.seen:
            time.sleep(0.1)
        winner = next((command for command in commands if command.running), first)
        if wait_for_progress(scene, winner, beyond=len(scene.witness.seen)):
            commands.append(scene.start("resume", JOB, "--json", environment=shared))
        ends = [wait_for_end(scene, command) for command in commands]
        self._judge(ends, findings)

    def _judge(self, ends: list[Ended], findings: Findings) -> None:
        good = [end for end in ends if end.status == 0]
        refused = [end for end in ends if end.status != 0 and REFUSAL in end.err]
        findings.count("starts", len(ends))
        findings.count("starts_refused", len(refused))
        told = "; ".join(f"{end.status}: {end.last_words}" for end in ends)
        findings.expect(len(good) == 1 and len(refused) == len(ends) - 1, f"the starts ended so: {told}")
