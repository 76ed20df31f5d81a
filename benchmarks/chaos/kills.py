"""SIGKILL at random moments: the command, the worker, its child, the Prefect server, or all of them at once."""

import time
from collections import Counter
from random import Random

from benchmarks.chaos.checks import check
from benchmarks.chaos.fault import Arena, Findings
from benchmarks.chaos.journey import Stuck, wait_for_end, wait_for_progress, wait_for_shard_end
from benchmarks.chaos.processes import Part, kill, kill_all, parts
from benchmarks.chaos.scene import Command, Scene

KILLS_OF_A_JOB = (4, 8)
EVERYTHING = "everything"
TARGETS = (*Part, EVERYTHING)
EARLY_SECONDS, HANDOVER_SECONDS, LATE_SECONDS = 4.0, 1.0, 3.0
LOOK_SECONDS = 0.05
MAX_BAD_ENDS = 5  # of the commands of one job


class Kills:
    name = "kills"
    about = "SIGKILL of command, worker, child, server or all of them at random moments; resume"

    def obstacle(self) -> str | None:
        return None

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        targets = _shuffled_targets(arena.kills, arena.random)
        number = 0
        while targets:
            number += 1
            some = [targets.pop() for _ in range(min(len(targets), arena.random.randint(*KILLS_OF_A_JOB)))]
            with arena.scene(f"job-{number}") as scene:
                job = _Killed(scene, arena.random, findings)
                try:
                    # What the job did not live to see is for the next one.
                    targets = job.suffer(some) + targets
                except Stuck as stuck:
                    findings.wrong.append(f"job {number}: {stuck}")
                    continue
                findings.add(check(scene), f"job {number}")
            arena.log(f"job {number}: {len(targets)} kills to come, {len(findings.wrong)} wrong")
        return findings


class _Killed:
    """One job and the kills it suffers."""

    def __init__(self, scene: Scene, random: Random, findings: Findings) -> None:
        self._scene, self._random, self._findings = scene, random, findings
        self._command: Command = scene.run()
        self._since: Counter[str] = Counter()  # kills in the life of the present command
        self._bad_ends = 0

    def suffer(self, targets: list[str]) -> list[str]:
        """Takes the job to its end under these kills; returns those that it was too short for. Raises Stuck."""
        left = list(targets)
        while left:
            before = len(self._scene.witness.seen)
            if not self._reach_moment(before) or not self._kill(left[0]):
                if self._ended_well():
                    break
                continue
            left.pop(0)
        while not self._ended_well():
            pass
        return left

    def _reach_moment(self, before: int) -> bool:
        """Waits for the moment of the next kill. False: the command ended first. Raises Stuck."""
        moment = self._random.choice(("early", "handover", "late"))
        if moment == "early":  # while the processes still start up after the kill before
            self._pause(EARLY_SECONDS)
        elif moment == "handover":  # one shard is done, and a worker is about to take the next one
            wait_for_shard_end(self._scene, self._command)
            self._pause(HANDOVER_SECONDS)
        elif wait_for_progress(self._scene, self._command, beyond=before):
            self._pause(LATE_SECONDS)
        return self._command.running

    def _pause(self, most: float) -> None:
        time.sleep(self._random.uniform(0, most))

    def _kill(self, target: str) -> bool:
        """Kills the target as soon as it is there. False: the command ended first."""
        if target == EVERYTHING:
            kill_all(self._scene.home)
        else:
            while not (there := parts(self._scene.home)[Part(target)]):
                if not self._command.running:
                    return False
                time.sleep(LOOK_SECONDS)
            if not kill(self._random.choice(there)):
                return False
        self._findings.count("kills")
        self._findings.count(f"kills_of_{target}")
        self._since[target] += 1
        if target in (Part.COMMAND, EVERYTHING):
            self._command.process.wait()
            self._go_on()
        return True

    def _ended_well(self) -> bool:
        """Waits for the command's end. False: it did not end well, and goes on as another one. Raises Stuck."""
        ended = wait_for_end(self._scene, self._command)
        if ended.status == 0:
            return True
        suffered = ", ".join(f"{count} x {target}" for target, count in self._since.items())
        self._findings.wrong.append(
            f"{self._scene.folder.name}: status {ended.status} after kills of {suffered}: {ended.last_words}"
        )
        self._bad_ends += 1
        if self._bad_ends == MAX_BAD_ENDS:
            raise Stuck(f"{MAX_BAD_ENDS} commands have failed")
        self._go_on()
        return False

    def _go_on(self) -> None:
        self._findings.count("resumes")
        self._since.clear()
        # A command that was killed before it began its job left nothing to resume.
        self._command = self._scene.resume() if self._scene.has_begun() else self._scene.run()


def _shuffled_targets(count: int, random: Random) -> list[str]:
    """Each target as often as every other one, as nearly as possible."""
    targets: list[str] = [str(TARGETS[number % len(TARGETS)]) for number in range(count)]
    random.shuffle(targets)
    return targets
