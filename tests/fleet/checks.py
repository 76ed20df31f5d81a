"""What must hold when the job has ended, judged from outside: by plain SQL, plain S3 and the manifest alone."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from tests.fleet.job import COMPUTED, NAME, SCALE, SIDE, STEPS, SpriteItem

# In flight in one worker: what its writer may hold, what it computes, and what it has not recorded in the last seconds.
IN_FLIGHT = 64 + 8 + 2 * 60

Pair = tuple[str, str]  # an item's name, a step's id


class Objects(Protocol):
    """Reads the bucket."""

    def read(self, key: str) -> bytes | None: ...

    def keys(self) -> Iterator[str]: ...


@dataclass
class Findings:
    """What was counted, and everything that was not as it must be."""

    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


def check_manifest(data: bytes | None, items: Sequence[SpriteItem], findings: Findings) -> list[dict[str, Any]]:
    """Every item once, done, with the images that its branch makes. Returns the rows."""
    rows: list[dict[str, Any]] = [] if data is None else [json.loads(line) for line in data.splitlines()]
    found = Counter(row["name"] for row in rows)
    wanted = {item.name: item for item in items}
    findings.counts["items_once_in_manifest"] = sum(found[name] == 1 for name in wanted)
    missing, more = wanted.keys() - found.keys(), [name for name, count in found.items() if count > 1]
    findings.expect(not missing, f"{len(missing)} items are not in the manifest: {sorted(missing)[:3]}")
    findings.expect(not more, f"{len(more)} items are in the manifest more than once: {more[:3]}")
    findings.expect(found.keys() <= wanted.keys(), "the manifest has items that the job has not")
    undone = [row["name"] for row in rows if row["state"] != "done"]
    findings.expect(not undone, f"{len(undone)} items are not done: {undone[:3]}")
    astray = [
        row["name"]
        for row in rows
        if row["name"] in wanted
        and {step["step"] for step in row["steps"] if step["key"]} != set(wanted[row["name"]].steps)
    ]
    findings.expect(not astray, f"{len(astray)} items visited other steps than their branch has: {astray[:3]}")
    return rows


def check_finals(rows: Sequence[Mapping[str, Any]], objects: Objects, findings: Findings) -> None:
    """Every item has one final image: whole, of the right size, with the digest that the manifest gives."""
    with ThreadPoolExecutor(4) as pool:
        problems = [problem for problem in pool.map(lambda row: _final_problem(row, objects), rows) if problem]
    findings.counts["finals_read"] = len(rows) - len(problems)
    findings.expect(not problems, f"{len(problems)} finals are wrong: {problems[:3]}")
    keys = [key for key in objects.keys() if key.startswith(f"{NAME}/final/")]  # noqa: SIM118 - not a mapping
    strangers = set(keys) - {final["key"] for row in rows for final in row["finals"]}
    findings.expect(not strangers, f"{len(strangers)} finals belong to nobody: {sorted(strangers)[:3]}")


def _final_problem(row: Mapping[str, Any], objects: Objects) -> str | None:
    if len(row["finals"]) != 1:
        return f"{row['name']} has {len(row['finals'])} finals"
    final = row["finals"][0]
    data = objects.read(final["key"])
    if data is None:
        return f"{final['key']} is missing"
    if hashlib.sha256(data).hexdigest() != final["sha256"]:
        return f"{final['key']} is not what the manifest says"
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        return f"{final['key']} cannot be read: {error}"
    side = SIDE * SCALE
    return None if image.size == (side, side) else f"{final['key']} has {image.size} pixels"


def check_ledger(rows: Mapping[str, int], items: Sequence[SpriteItem], findings: Findings) -> None:
    """`rows`: how many rows each table has. An outcome for each item and step, an artefact for each image."""
    images = sum(len(item.steps) for item in items)
    wanted = {"jobs": 1, "items": len(items), "step_runs": len(items) * len(STEPS), "artefacts": images}
    findings.counts |= {f"ledger_{table}": rows[table] for table in wanted}
    different = {table: rows[table] for table in wanted if rows[table] != wanted[table]}
    findings.expect(not different, f"the ledger has {different} rows, not {wanted}")


def check_computed(
    log: Path, seen: Mapping[Pair, float], items: Sequence[SpriteItem], losses: int, findings: Findings
) -> None:
    """`seen`: when each outcome was first seen recorded. `losses`: kills that took images in flight with them."""
    times: Counter[Pair] = Counter()
    after: list[Pair] = []
    for pair, started in computations(log):
        times[pair] += 1
        if started > seen.get(pair, float("inf")):
            after.append(pair)
    wanted = {(item.name, step) for item in items for step in item.steps if step in COMPUTED}
    again = sum(times.values()) - len(times)
    findings.counts["images_computed"] = sum(times.values())
    findings.counts["computed_again_in_flight"] = again - len(after)
    findings.counts["computed_again_recorded"] = len(after)
    findings.expect(not after, f"{len(after)} images were computed again after they were recorded: {after[:3]}")
    findings.expect(times.keys() == wanted, f"{len(wanted ^ times.keys())} images were computed, or not, against plan")
    most = losses * IN_FLIGHT
    findings.expect(again <= most, f"{again} images were computed twice; {losses} kills could cost {most}")


def computations(log: Path) -> Iterator[tuple[Pair, float]]:
    """Every (item, step) that a worker computed, and when it began to."""
    with log.open() as lines:
        for line in lines:
            batch = json.loads(line)
            for name in batch["items"]:
                yield (name, batch["step"]), batch["started"]
