"""What must hold after every fault, judged from outside: the manifest, the objects, the ledger, what was computed.

`pixelmill verify` is asked too; but it is a part of what is tested, so nothing here is left to it.
"""

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.chaos.fault import Findings
from benchmarks.chaos.ledger_view import Pair, Unreadable
from benchmarks.chaos.null_job import BASE, FINAL, JOB, SIDE, STEP_OF_CLASS, NullItem
from benchmarks.chaos.objects import Objects
from benchmarks.chaos.scene import Scene

MANIFEST, TABLE = f"{JOB}/manifest.jsonl", f"{JOB}/manifest.parquet"
HIDDEN = ".pixelmill-"  # of the folder store's unfinished files
VERIFY_SECONDS = 300.0


def check(scene: Scene, *, none_twice: bool = False) -> Findings:
    """Everything wrong with a job whose status is done, and counts of what was checked.

    An image may be computed again if a fault took it before it was recorded; with `none_twice` that is wrong too.
    """
    findings = look(scene, none_twice=none_twice)
    left = scene.left_behind()
    findings.expect(not left, f"{len(left)} processes outlived their command: {left[:3]}")
    _ask_verify(scene, findings)
    return findings


def look(scene: Scene, *, none_twice: bool = False) -> Findings:
    """Return the findings of `check` without starting anything."""
    findings = Findings()
    findings.count("jobs")
    rows = _manifest_rows(scene.objects, findings)
    _check_rows(rows, scene.items, findings)
    _check_table(scene.objects, rows, findings)
    for row in rows:
        _check_images(row, scene, findings)
    _check_strangers(scene.objects, rows, findings)
    _check_ledger(scene, findings)
    _check_computed(computations(scene.compute_log), scene, findings, none_twice=none_twice)
    return findings


def _manifest_rows(objects: Objects, findings: Findings) -> list[dict[str, Any]]:
    data = objects.read(MANIFEST)
    if data is None:
        findings.wrong.append("there is no manifest")
        return []
    return [json.loads(line) for line in data.splitlines()]


def _check_rows(rows: list[dict[str, Any]], items: list[NullItem], findings: Findings) -> None:
    findings.count("items", len(items))
    found = Counter((row["name"], row["seed"]) for row in rows)
    wanted = {(item.name, item.seed) for item in items}
    findings.expect(found.keys() == wanted, f"the manifest lacks {len(wanted - found.keys())} items of {len(wanted)}")
    repeated = [name for (name, _), count in found.items() if count > 1]
    findings.expect(not repeated, f"{len(repeated)} items are in the manifest more than once: {repeated[:3]}")
    undone = [f"{row['name']} {row['state']} {row['error'] or ''}" for row in rows if row["state"] != "done"]
    findings.expect(not undone, f"{len(undone)} items of the manifest are not done: {undone[:3]}")
    findings.count("items_once_in_manifest", sum(count == 1 for pair, count in found.items() if pair in wanted))


def _check_table(objects: Objects, rows: list[dict[str, Any]], findings: Findings) -> None:
    import pyarrow.parquet as parquet

    data = objects.read(TABLE)
    names = [] if data is None else parquet.read_table(BytesIO(data), columns=["name"])["name"].to_pylist()
    findings.expect(names == [row["name"] for row in rows], "manifest.parquet and manifest.jsonl differ")


def _check_images(row: Mapping[str, Any], scene: Scene, findings: Findings) -> None:
    """The objects of every step and the final one: there, unaltered, and the picture that the seed foretells."""
    item = NullItem(row["name"], row["seed"])
    steps = {step["step"]: step["key"] for step in row["steps"]}
    findings.expect(set(steps) == {BASE, FINAL}, f"{item.name} has images of {sorted(steps)}, not of both steps")
    findings.expect(len(row["finals"]) == 1, f"{item.name} has {len(row['finals'])} final images")
    digests: dict[str, str | None] = {final["step"]: final["sha256"] for final in row["finals"]}
    keys = [(step, key, digests.get(step)) for step, key in steps.items()]
    keys += [(final["step"], final["key"], final["sha256"]) for final in row["finals"]]
    for step, key, digest in keys:
        findings.count("objects_read")
        problem = _object_problem(scene.objects, key, digest, item, step)
        if problem:
            findings.count("objects_missing_or_corrupt")
            findings.wrong.append(f"{item.name}, {step}: {key} {problem}")


def _object_problem(objects: Objects, key: str | None, digest: str | None, item: NullItem, step: str) -> str | None:
    data = objects.read(key) if key else None
    if data is None:
        return "is missing"
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        return "differs from the manifest"
    color = _color(data)
    return None if color == item.color_after(step) else f"holds another image: {color}"


def _color(data: bytes) -> object:
    """The color of a whole image of one color and the right size; else what is wrong with it."""
    try:
        with Image.open(BytesIO(data)) as image:
            pixels = image.convert("RGB")
    except (OSError, SyntaxError) as error:
        return f"{type(error).__name__}: {error}"
    if pixels.size != (SIDE, SIDE):
        return f"{pixels.size} pixels"
    colors: Any = pixels.getcolors(1)
    return colors[0][1] if colors else "many colors"


def _check_strangers(objects: Objects, rows: list[dict[str, Any]], findings: Findings) -> None:
    """Check unreferenced objects: none may be among the final images, and none among the artefacts may be broken."""
    finals = {final["key"] for row in rows for final in row["finals"]}
    known = {step["key"] for row in rows for step in row["steps"]}
    for key in objects.keys():  # noqa: SIM118 - not a mapping
        if Path(key).name.startswith(HIDDEN):
            findings.count("unfinished_files_left")  # of killed processes: no reader sees them
        elif key.startswith(f"{JOB}/final/"):
            findings.expect(key in finals, f"{key} is a final image of no item")
        elif key.startswith("artefacts/") and key not in known:
            findings.count("artefacts_of_nobody")
            findings.expect(isinstance(_color(objects.read(key) or b""), tuple), f"{key} is unreferenced and broken")


def _check_ledger(scene: Scene, findings: Findings) -> None:
    try:
        states, jobs = scene.ledger.item_states(), scene.ledger.jobs()
    except Unreadable as error:
        findings.wrong.append(f"the ledger cannot be read: {error}")
        return
    findings.expect(states == {"done": len(scene.items)}, f"the ledger has items {dict(states)}")
    findings.expect([job[1:] for job in jobs] == [("done", None)], f"the ledger has jobs {jobs}")


def computations(log: Path) -> Iterator[tuple[Pair, float]]:
    """Every (item, step) that a worker computed, and when it began to (its wall clock, seconds)."""
    with log.open() as lines:
        for line in lines:
            batch = json.loads(line)
            for name in batch["items"]:
                yield (name, STEP_OF_CLASS[batch["step"]]), batch["started"]


def _check_computed(
    computed: Iterator[tuple[Pair, float]], scene: Scene, findings: Findings, *, none_twice: bool
) -> None:
    times: Counter[Pair] = Counter()
    after: list[Pair] = []
    for pair, started in computed:
        times[pair] += 1
        if not none_twice and started > scene.witness.seen.get(pair, float("inf")):
            after.append(pair)
    twice = sum(times.values()) - len(times)
    findings.count("images_computed", sum(times.values()))
    findings.count("computed_again_unrecorded", twice - len(after))
    findings.count("computed_again_recorded", len(after))
    findings.expect(not after, f"{len(after)} images were computed again after they were recorded: {after[:3]}")
    findings.expect(not (none_twice and twice), f"{twice} images were computed twice although nothing was killed")
    wanted = {(item.name, step) for item in scene.items for step in (BASE, FINAL)}
    findings.expect(times.keys() == wanted, f"{len(wanted - times.keys())} images were never computed")


def _ask_verify(scene: Scene, findings: Findings) -> None:
    command = scene.start("verify", JOB, "--json")
    try:
        ended = command.wait(VERIFY_SECONDS)
    except subprocess.TimeoutExpired:
        findings.wrong.append(f"`pixelmill verify` has not ended in {VERIFY_SECONDS:.0f} s")
        return
    findings.expect(ended.status == 0, f"`pixelmill verify` ended with status {ended.status}: {ended.last_words}")
    findings.count("verified", ended.status == 0)
