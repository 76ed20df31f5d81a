"""What becomes of an item of `recipes/branching.yaml`, written out by hand as loops and ifs.

This shares nothing with the compiler and the interpreter of recipes, nor with what computes fingerprints and seeds: it
says the same a second time, so that the two can be held against each other.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.support.null.steps import Color, drawn, score, shifted, vote

POSES_A_CANDIDATE = 4  # the first, its retry, and both again after the gate of the candidate
GRAINS_A_CANDIDATE = 2


@dataclass(frozen=True)
class Picture:
    """What the item has in its hands."""

    visit: str
    color: Color
    fingerprint: str

    @property
    def score(self) -> float:
        return score(self.color)

    @property
    def brightness(self) -> float:
        """Luma of ITU-R 601 as 8 bits, 0 … 1."""
        red, green, blue = self.color
        return round((red * 19595 + green * 38470 + blue * 7471 + 0x8000 >> 16) / 255, 6)


@dataclass
class Way:
    """`visits`: visit id -> fingerprint, in order. `final` is None for an item in quarantine, for which `reasons` are
    those of the gate and `error_step` is the step that it belongs to.
    """

    visits: dict[str, str] = field(default_factory=dict)
    warnings: list[tuple[str, ...]] = field(default_factory=list)
    final: Picture | None = None
    error_step: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def attempts(self) -> Counter[str]:
        """How often each step was visited."""
        return Counter(visit.split("~")[0] for visit in self.visits)


class _Rejected(Exception):
    def __init__(self, step: str, *reasons: str) -> None:
        super().__init__(step)
        self.step, self.reasons = step, reasons


def way_of(prompt: str, seed: int, kind: object, *, glossy: bool = False) -> Way:
    """`kind` and `glossy` are the item's variables."""
    walk = _Walk(prompt, seed)
    try:
        walk.to_the_end(kind, glossy)
    except _Rejected as rejected:
        walk.way.error_step, walk.way.reasons = rejected.step, rejected.reasons
    return walk.way


class _Walk:
    def __init__(self, prompt: str, seed: int) -> None:
        self.prompt, self.seed = prompt, seed
        self.way = Way()

    def to_the_end(self, kind: object, glossy: bool) -> None:
        base, picture = self.start()
        if kind == "icon":
            picture = self.icon(picture)
        elif kind == "photo":
            picture = self.photo(base, picture, glossy)
        elif self.seed % 3 == 0:
            picture = self.sticker(picture)
        judged = [picture.fingerprint]
        self.way.visits["seen"] = _fingerprint("null_judge", {"prompt": self.prompt}, judged)
        complaints = []
        if vote(self.prompt, picture.color) <= 0.2:
            complaints.append("nobody likes it")
        if picture.brightness <= 0.1:
            complaints.append("too dark")
        if complaints:
            self.way.warnings.append(tuple(complaints))
        self.way.final = picture

    def start(self) -> tuple[Picture, Picture]:
        """What `base` drew, and what became of it."""
        base = self.draw("base", None)
        if base.score < 0.3:
            base = self.draw("base~2", None, "base:2", lift=7)
        if base.score >= 0.3:
            return base, base
        mended = self.shade("mend", base, 40)
        if mended.score < 0.3:
            raise _Rejected("base", "a poor start")
        return base, mended

    def icon(self, picture: Picture) -> Picture:
        """The best of three poses."""
        found = [self.candidate(picture, number) for number in (0, 1, 2)]
        left = [each for each in found if each is not None]
        if not left:
            raise _Rejected("pose", "overdone")
        best, warnings = max(left, key=lambda each: each[0].score)
        self.way.warnings += warnings
        return best

    def candidate(self, picture: Picture, number: int) -> tuple[Picture, list[tuple[str, ...]]] | None:
        """A pose with the warnings of its gate; None: it has dropped out."""
        name = f"pose:{number + 1}"
        for again in (0, 1):
            pose = self.pose(picture, number, again, name)
            if pose is None:
                return None
            last = pose
            if pose.brightness < 0.5:
                last = self.shade(_nth("grain", GRAINS_A_CANDIDATE * number + again + 1), pose, 25)
            if last.score > 0.2:
                return last, []
        return last, [("a dull pose",)]

    def pose(self, picture: Picture, number: int, again: int, name: str) -> Picture | None:
        """Drawn once or twice."""
        first = POSES_A_CANDIDATE * number + 2 * again + 1
        label = f"{name}/gate:2" if again else "" if number == 0 else name
        pose = self.draw(_nth("pose", first), picture, label)
        if pose.score >= 0.6:
            label = f"{name}/gate:2/pose:2" if again else f"{name}/pose:2"
            pose = self.draw(_nth("pose", first + 1), picture, label)
        return None if pose.score >= 0.6 else pose

    def photo(self, base: Picture, picture: Picture, glossy: bool) -> Picture:
        if base.brightness < 0.5 or glossy:
            return self.shade("frame", picture, 90)
        for time, by in enumerate([13, 29, 31], start=1):
            picture = self.shade(_nth("flat", time), picture, by)
            if picture.score > 0.6 or self.way.attempts["base"] > 1:
                break
        return picture

    def sticker(self, picture: Picture) -> Picture:
        if picture.score >= 0.8 and self.way.attempts["base"] == 1:
            return picture
        for time in (1, 2, 3):
            sheen = self.draw(_nth("sheen", time), picture, "" if time == 1 else f"sheen:{time}")
            if sheen.score > 0.5:
                break
        return sheen

    # -- steps -------------------------------------------------------------------------------------------------------
    def draw(self, visit: str, before: Picture | None, label: str = "", lift: int = 0) -> Picture:
        seed = _another_seed(self.seed, label) if label else self.seed
        identity = {"size": 8, "lift": lift, "prompt": self.prompt, "seed": seed}
        color = shifted(drawn(self.prompt, seed), lift)
        return self.made(visit, "null_draw", identity, before, color)

    def shade(self, visit: str, before: Picture, by: int) -> Picture:
        return self.made(visit, "null_shade", {"by": by}, before, shifted(before.color, by))

    def made(self, visit: str, step: str, identity: dict[str, Any], before: Picture | None, color: Color) -> Picture:
        inputs = [] if before is None else [before.fingerprint]
        self.way.visits[visit] = _fingerprint(step, identity, inputs)
        return Picture(visit, color, self.way.visits[visit])


def _nth(step: str, number: int) -> str:
    return step if number == 1 else f"{step}~{number}"


def _another_seed(seed: int, label: str) -> int:
    digest = hashlib.sha256(f"{seed}\n{label}".encode()).hexdigest()
    return int(digest[:16], 16) % 2**32


def _fingerprint(step: str, identity: dict[str, Any], inputs: list[str]) -> str:
    identity = {"seconds": 0.0, **identity}
    document = {"step": step, "version": 1, "identity": identity, "models": {}, "inputs": inputs}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
