"""A full disk at a random moment: the store's or the ledger's. The job ends with a message; with space it resumes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.chaos import small_disk
from benchmarks.chaos.checks import check
from benchmarks.chaos.fault import Arena, Findings
from benchmarks.chaos.journey import Stuck, wait_for_end, wait_for_progress
from benchmarks.chaos.objects import FolderObjects
from benchmarks.chaos.scene import Command, Scene
from benchmarks.chaos.small_disk import SmallDisk

MEGABYTES = 64


class FullDisk:
    """`what` is on the small disk: the store, or the ledger."""

    def __init__(self, what: str) -> None:
        self.name = f"full-disk-{what}"
        self.about = (
            f"the disk of the {what} is full at a random moment: the job ends with a message; with space it is resumed"
        )
        self._what = what

    def obstacle(self) -> str | None:
        return small_disk.obstacle()

    def run(self, arena: Arena) -> Findings:
        findings = Findings()
        with self._scene(arena) as (scene, disk):
            try:
                self._fill(scene, disk, scene.run(), arena, findings)
                disk.free()
                ended = wait_for_end(scene, scene.resume())
                findings.expect(ended.status == 0, f"resume ended with status {ended.status}: {ended.last_words}")
                findings.add(check(scene))
            except Stuck as stuck:
                findings.wrong.append(str(stuck))
        return findings

    @contextmanager
    def _scene(self, arena: Arena) -> Iterator[tuple[Scene, SmallDisk]]:
        with ExitStack() as stack:
            disk = stack.enter_context(small_disk.small_disk(arena.folder / "disk", MEGABYTES))
            if self._what == "store":
                scene = stack.enter_context(arena.scene("job", output=str(disk.folder / "out")))
                scene.objects = FolderObjects(disk.folder / "out")
            else:
                ledger = {"PIXELMILL_LEDGER_URL": f"sqlite:///{disk.folder / 'ledger.db'}"}
                scene = stack.enter_context(arena.scene("job", environment=ledger))
            yield scene, disk

    def _fill(self, scene: Scene, disk: SmallDisk, command: Command, arena: Arena, findings: Findings) -> None:
        if not wait_for_progress(scene, command, beyond=arena.random.randrange(len(scene.items))):
            findings.wrong.append("the job ended before the disk was full")
            return
        disk.fill()
        ended = wait_for_end(scene, command)
        findings.count("disks_filled")
        findings.expect(ended.status != 0, "the job ended well on a full disk")
        findings.expect(
            "full" in ended.err + ended.out,
            f"the job ended with status {ended.status} and other words: {ended.last_words}",
        )
        findings.expect("Traceback" not in ended.err, f"a traceback instead of a message: {ended.last_words}")
