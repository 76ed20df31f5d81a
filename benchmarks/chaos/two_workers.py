"""Two workers of one pool, given the same shard at the same time."""

import time

from benchmarks.chaos.checks import check
from benchmarks.chaos.fault import Arena, Findings
from benchmarks.chaos.journey import Stuck, wait_for_end, wait_for_progress
from benchmarks.chaos.prefect_api import PrefectApi
from benchmarks.chaos.processes import Part, kill, parts
from benchmarks.chaos.scene import Command, Scene
from tests.support.ports import free_port

SECONDS = 0.05  # of an image and step: the shard must still run when the second worker comes
START_SECONDS, TAKEN_SECONDS, STOP_SECONDS = 180.0, 60.0, 60.0


class TwoWorkers:
    name = "two-workers"
    about = "two workers are given the same shard at the same time; in a second job, the first of them then dies"

    def obstacle(self) -> str | None:
        return None

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        for place, first_dies in (("both-live", False), ("one-dies", True)):
            # One shard: the second worker has nothing else to do.
            one_shard = {"PIXELMILL_SHARD_SIZE": str(arena.items)}
            with arena.scene(place, seconds=SECONDS, environment=one_shard) as scene:
                try:
                    self._run_job(scene, arena, findings, first_dies=first_dies)
                    findings.add(check(scene, none_twice=not first_dies), place)
                except Stuck as stuck:
                    findings.wrong.append(f"{place}: {stuck}")
            arena.log(f"{place}: {len(findings.wrong)} wrong")
        return findings

    def _run_job(self, scene: Scene, arena: Arena, findings: Findings, *, first_dies: bool) -> None:
        port = free_port()
        api = PrefectApi(f"http://127.0.0.1:{port}/api")
        fleet = {"PREFECT_API_URL": api.url}
        up = scene.start("up", "--port", str(port))  # the server, and the first worker
        _wait_until_up(api, up)
        second = scene.start("worker", "start", "--name", "second", environment=fleet)
        try:
            command = scene.start("run", str(scene.job_file), "--json", environment=fleet)
            wait_for_progress(scene, command, beyond=arena.random.randrange(len(scene.items) // 4))
            self._give_to_both(scene, api, findings, first_dies=first_dies)
            ended = wait_for_end(scene, command)
            findings.expect(ended.status == 0, f"the job ended with status {ended.status}: {ended.last_words}")
        finally:
            for process in (second.process, up.process):
                process.terminate()
                process.wait(STOP_SECONDS)

    def _give_to_both(self, scene: Scene, api: PrefectApi, findings: Findings, *, first_dies: bool) -> None:
        (original,) = api.running_shards()
        copy = api.submit_again(original)
        state = api.wait_until_taken(copy, TAKEN_SECONDS)
        both = state == "RUNNING" and api.state_of(original["id"]) == "RUNNING"
        findings.expect(both, f"the second worker did not get the shard while the first was at it: {state}")
        findings.count("shards_given_to_both", both)
        if first_dies:
            pid = api.infrastructure_of(original["id"]).rpartition(":")[2]
            (child,) = [child for child in parts(scene.home)[Part.CHILD] if str(child.pid) == pid]
            findings.count("kills", kill(child))


def _wait_until_up(api: PrefectApi, up: Command) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not api.answers():
        if time.monotonic() > deadline or not up.running:
            raise Stuck("`pixelmill up` did not start: see its output")
        time.sleep(0.1)
