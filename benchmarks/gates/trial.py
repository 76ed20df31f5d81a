"""One trial: sound pictures, and as many with each defect, all made from a seed."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.gates.defects import DEFECTS, Rng
from benchmarks.gates.picture import Asked, Picture
from benchmarks.gates.soundness import is_sound
from benchmarks.gates.store import Store
from benchmarks.gates.verdict import DUPLICATE, Gates
from benchmarks.gates.workshop import Workshop, asked_for
from configs.recipe.recipe import Distinct
from configs.settings.settings import Settings
from gpu_worker.walk.distinct import Finished, repetitions
from starter.sprites import COLORS, OBJECTS

SOUND, OF_EACH = 2_000, 200
GENERATED_SHARE = 0.25
SEEDS_APART = 10_000_000  # pictures of different seeds share nothing


@dataclass(frozen=True)
class Case:
    """A picture, what was planted in it (None: nothing), and the gates that flagged it."""

    picture: Picture
    defect: str | None
    fired: frozenset[str]


@dataclass(frozen=True)
class Trial:
    """All cases of a seed; and how many generated pictures were made until enough of them were sound."""

    seed: int
    cases: tuple[Case, ...]
    generated: int
    unsound: int


def run_trial(seed: int, *, sound: int, of_each: int, folder: Path, settings: Settings) -> Trial:
    """Makes the pictures, or reads them from `folder`, plants, measures, and evaluates the gates."""
    makers = _Makers(Store(folder), Workshop(settings))
    rng = np.random.default_rng([seed, 1])
    generated = round(sound * GENERATED_SHARE)
    log(f"{sound} sound pictures")
    pictures = makers.sound(sound - generated, generated, seed * SEEDS_APART, rng)
    log(f"{2 * of_each} pictures to plant defects in")
    fresh = makers.sound(
        2 * of_each - (2 * of_each) // 4, (2 * of_each) // 4, seed * SEEDS_APART + SEEDS_APART // 2, rng
    )
    bench = _Supplies(makers)
    planted: list[Picture] = []
    kinds: list[str | None] = [None] * len(pictures)
    for number, (kind, defect) in enumerate(DEFECTS.items()):
        log(f"{of_each} with: {kind}")
        own = np.random.default_rng([seed, 2, number])
        pool = pictures if kind == "duplicate" else fresh
        pool = [each for each in pool if each.is_large] if defect.only_large else pool
        chosen = own.permutation(len(pool))[:of_each].tolist()
        chosen += own.integers(len(pool), size=of_each - len(chosen)).tolist()
        planted += [defect.plant(pool[index], own, bench) for index in chosen]
        kinds += [kind] * of_each
    log("gates")
    every = [*pictures, *planted]
    cases = _judged(every, kinds, Gates(settings))
    return Trial(seed, tuple(cases), makers.generated, makers.unsound)


def _judged(pictures: Sequence[Picture], kinds: Sequence[str | None], gates: Gates) -> Iterator[Case]:
    facts = gates.facts(pictures)
    fired = [gates.fired(of_picture) for of_picture in facts]
    for index in _repetitions(
        [str(of_picture[each.stages[-1].step]["likeness"]) for of_picture, each in zip(facts, pictures, strict=True)],
        kinds,
    ):
        fired[index] |= {DUPLICATE}
    for picture, kind, names in zip(pictures, kinds, fired, strict=True):
        yield Case(picture, kind, names)


def _repetitions(likenesses: Sequence[str], kinds: Sequence[str | None]) -> Iterator[int]:
    """Two jobs: the sound pictures with the duplicates, and each other kind is left out: it repeats by design."""
    among = [index for index, kind in enumerate(kinds) if kind in (None, "duplicate")]
    yield from repetitions(Distinct(), (Finished(index, "picture", likenesses[index]) for index in among))


class _Makers:
    """Sound pictures, half of them enlarged."""

    def __init__(self, store: Store, workshop: Workshop) -> None:
        self._store, self._workshop = store, workshop
        self.generated = self.unsound = 0

    def sound(self, drawn: int, generated: int, first_seed: int, rng: Rng) -> list[Picture]:
        """Return them in a random order, so that any part of them is a mixture."""
        asked = asked_for(drawn, rng, first_seed)
        small = self._store.pictures(asked, "drawn", lambda part: [self._workshop.drawn(each) for each in part])
        small += self._generated(generated, first_seed, rng)
        order = rng.permutation(len(small)).tolist()
        return [self.enlarged(small[index]) if place % 2 else small[index] for place, index in enumerate(order)]

    def drawn(self, asked: Asked) -> Picture:
        return self._store.pictures([asked], "drawn", lambda part: [self._workshop.drawn(each) for each in part])[0]

    def generated_one(self, asked: Asked) -> Picture:
        """Return the picture of a subject by the first seed, from its own on, that gives a sound one."""
        while True:
            (picture,) = self._store.pictures([asked], "generated", self._workshop.generated)
            if is_sound(picture):
                return picture
            asked = replace(asked, seed=asked.seed + SEEDS_APART // 8)

    def enlarged(self, picture: Picture) -> Picture:
        return self._store.enlarged(picture, self._workshop.enlarged)

    def _generated(self, count: int, first_seed: int, rng: Rng) -> list[Picture]:
        found: list[Picture] = []
        tried = 0
        while len(found) < count:
            # The prompts go round in the same order however many fail.
            part = asked_for(tried + 64, rng, first_seed + SEEDS_APART // 4)[tried:]
            tried += len(part)
            made = self._store.pictures(part, "generated", self._workshop.generated)
            found += [picture for picture in made if is_sound(picture)]
            self.generated += len(made)
            self.unsound += sum(not is_sound(picture) for picture in made)
        return found[:count]


class _Supplies:
    """Subjects for the planters."""

    def __init__(self, makers: _Makers) -> None:
        self._makers = makers

    def enlarged(self, picture: Picture) -> Picture:
        return self._makers.enlarged(picture)

    def other(self, picture: Picture, rng: Rng, *, object: bool) -> Picture:
        asked = picture.asked
        names = [name for name in OBJECTS if name != asked.object] if object else [asked.object]
        colors = [asked.color] if object else [color for color in COLORS if color != asked.color]
        wanted = Asked(
            names[int(rng.integers(len(names)))], colors[int(rng.integers(len(colors)))], asked.background, asked.seed
        )
        return self._makers.drawn(wanted) if picture.origin == "drawn" else self._makers.generated_one(wanted)


def log(text: str) -> None:
    """Progress, on standard error."""
    print(f"  … {text}", file=sys.stderr, flush=True)
