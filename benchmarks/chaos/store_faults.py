"""A store over S3 that fails, stalls, truncates or throttles every tenth request; and one that refuses for good."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.chaos.checks import check
from benchmarks.chaos.fault import Arena, Findings
from benchmarks.chaos.journey import Stuck, wait_for_end, wait_for_progress
from benchmarks.chaos.objects import BucketObjects
from benchmarks.chaos.s3_proxy import S3Proxy
from benchmarks.chaos.scene import Scene
from tests.support.servers.s3 import rclone_s3

SHARE = 0.1
MAX_RESUMES = 3
REFUSAL = "access is denied"
AT_ONCE_SECONDS = 60.0  # far less than the retries of what may pass take, and enough for a busy machine


class _Store(NamedTuple):
    proxy: S3Proxy
    output: str
    environment: dict[str, str]
    objects: BucketObjects


@contextmanager
def _store(random: Random, share: float) -> Iterator[_Store]:
    """A real server behind a proxy. The commands see the proxy, the checks the server."""
    with rclone_s3() as server:
        proxy = S3Proxy(int(urlsplit(server.endpoint_url).port or 0), random, share)
        with proxy.serving() as url:
            objects = BucketObjects(server.endpoint_url, server.access_key, server.secret_key, server.bucket)
            environment = server.environment | {"AWS_ENDPOINT_URL_S3": url}
            yield _Store(proxy, f"s3://{server.bucket}", environment, objects)


class FlakyStore:
    name = "flaky-store"
    about = f"{SHARE:.0%} of the S3 requests are throttled, failed, reset, stalled, cut off, or done without an answer"

    def obstacle(self) -> str | None:
        return None

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        with (
            _store(arena.random, SHARE) as store,
            arena.scene("job", output=store.output, environment=store.environment) as scene,
        ):
            scene.objects = store.objects
            try:
                _see_through(scene, findings)
                findings.add(check(scene))
            except Stuck as stuck:
                findings.wrong.append(str(stuck))
            findings.count("requests", sum(store.proxy.requests.values()))
            for trouble, number in sorted(store.proxy.troubles.items()):
                findings.count(f"requests_{trouble}", number)
        return findings


class RefusingStore:
    name = "refusing-store"
    about = "S3 answers 403 from a random moment on: the job ends at once with a reason; after the fix it is resumed"

    def obstacle(self) -> str | None:
        return None

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        with (
            _store(arena.random, share=0) as store,
            arena.scene("job", output=store.output, environment=store.environment) as scene,
        ):
            scene.objects = store.objects
            try:
                self._refuse(scene, store.proxy, arena.random, findings)
                _see_through(scene, findings, resume=True)
                findings.add(check(scene))
            except Stuck as stuck:
                findings.wrong.append(str(stuck))
        return findings

    def _refuse(self, scene: Scene, proxy: S3Proxy, random: Random, findings: Findings) -> None:
        command = scene.run()
        wait_for_progress(scene, command, beyond=random.randrange(len(scene.items)))
        proxy.refusing = True
        refused_at = time.monotonic()
        ended = wait_for_end(scene, command)
        seconds = time.monotonic() - refused_at
        proxy.refusing = False
        findings.count("seconds_to_stop", seconds)
        findings.expect(seconds < AT_ONCE_SECONDS, f"the job went on for {seconds:.0f} s after it was refused")
        findings.expect(
            ended.status == 1 and REFUSAL in ended.err + ended.out,
            f"the refused job ended with status {ended.status}: {ended.last_words}",
        )
        findings.expect("Traceback" not in ended.err, f"a traceback instead of a message: {ended.last_words}")


def _see_through(scene: Scene, findings: Findings, *, resume: bool = False) -> None:
    """To the end of the job. Ends on the way are wrong: what passes is to be tried again by the job itself."""
    command = scene.resume() if resume else scene.run()
    for _ in range(MAX_RESUMES):
        ended = wait_for_end(scene, command)
        if ended.status == 0:
            return
        findings.wrong.append(f"the job ended with status {ended.status}: {ended.last_words}")
        findings.count("resumes")
        command = scene.resume()
    raise Stuck(f"{MAX_RESUMES} commands have failed: {wait_for_end(scene, command).last_words}")
