"""Property: whatever the recipe, each item takes the way that a plain loop over steps would take it."""

import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from configs.documents.fields import Item
from steps.facts import measure
from storage.ledger.records import ItemState
from tests.support.fake_steps import Fill, Invert
from tests.support.mill import JOB, Mill, resolved

pytestmark = pytest.mark.parts

Facts = Mapping[str, Mapping[str, Any]]
CONDITIONS: dict[str | None, Callable[[Item, Facts], bool]] = {
    None: lambda item, facts: True,
    "vars.flag": lambda item, facts: bool(item.vars["flag"]),
    "item.seed > 1": lambda item, facts: item.seed > 1,
    "facts.s0.brightness > 0.25": lambda item, facts: "s0" in facts and facts["s0"]["brightness"] > 0.25,
    "facts.s1.brightness < 0.5": lambda item, facts: "s1" in facts and facts["s1"]["brightness"] < 0.5,
}


@dataclass(frozen=True)
class Part:
    """A step of a random recipe."""

    makes: bool
    tag: int
    when: str | None
    fail_seeds: frozenset[int]


@dataclass(frozen=True)
class Way:
    """What the plain loop says of an item."""

    outcomes: dict[str, str]  # step id -> visited, skipped or failed
    images: dict[str, Image.Image]
    chains: list[tuple[Any, ...]]  # what decides each image: equal chains are one computation


parts = st.builds(
    Part,
    makes=st.booleans(),
    tag=st.integers(0, 1),
    when=st.sampled_from(list(CONDITIONS)),
    fail_seeds=st.frozensets(st.integers(0, 3), max_size=1),
)
recipes = st.lists(parts, min_size=1, max_size=4)
item_lists = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.booleans()), min_size=1, max_size=9)


def walk(item: Item, recipe: list[Part]) -> Way:
    way = Way({}, {}, [])
    facts: dict[str, Mapping[str, Any]] = {}
    image: Image.Image | None = None
    chain: tuple[Any, ...] = ()
    for number, part in enumerate(recipe):
        step_id = f"s{number}"
        if not CONDITIONS[part.when](item, facts):
            way.outcomes[step_id] = "skipped"
            continue
        if not part.makes and (image is None or item.seed in part.fail_seeds):
            way.outcomes[step_id] = "failed"
            return way
        if part.makes:
            image, chain = Image.new("RGB", (8, 8), color(item)), (*chain, "fill", item.seed)
        elif image is not None:
            image, chain = ImageOps.invert(image), (*chain, "invert", part.tag)
        assert image is not None
        way.outcomes[step_id] = "visited"
        way.images[step_id], facts[step_id] = image, measure(image)
        way.chains.append(chain)
    return way


def color(item: Item) -> tuple[int, int, int]:
    return item.seed * 60 % 251, item.seed * 60 % 13, 99


class SeededFill(Fill):
    """Colours far enough apart for conditions to differ."""

    def run(self, frames: Any, context: Any) -> Any:
        results = super().run(frames, context)
        for frame, result in zip(frames, results, strict=True):
            result.image.paste(color(frame.item), (0, 0, *result.image.size))
        return results


def build(recipe: list[Part], log: Path) -> list[Any]:
    return [
        resolved(
            f"s{number}",
            SeededFill(log=str(log)) if part.makes else Invert(tag=part.tag, fail_seeds=part.fail_seeds, log=str(log)),
            part.when,
        )
        for number, part in enumerate(recipe)
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    recipe=recipes,
    seeds=item_lists,
    keep=st.frozensets(st.integers(0, 3)),
    micro_batch=st.sampled_from([1, 3, 8]),
    chunk_size=st.sampled_from([1, 2, 5, 32]),
    streams=st.booleans(),
)
def test_each_item_takes_the_way_a_plain_loop_would(
    recipe: list[Part],
    seeds: list[tuple[int, bool]],
    keep: frozenset[int],
    micro_batch: int,
    chunk_size: int,
    streams: bool,
) -> None:
    some = [
        Item(index=index, name=f"i{index}", seed=seed, vars={"flag": flag}) for index, (seed, flag) in enumerate(seeds)
    ]
    kept = tuple(f"s{number}" for number in sorted(keep) if number < len(recipe))
    ways = [walk(item, recipe) for item in some]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        mill = Mill(
            Path(folder),
            build(recipe, log),
            some,
            keep=kept,
            micro_batch=micro_batch,
            chunk_size=chunk_size,
            streams=streams,
        )
        tasks = mill.run()
        reports, finals = mill.reports(), mill.finals()
        mill.ledger.close()
        computed = log.read_text().splitlines() if log.exists() else []
    assert len(computed) == len({chain for way in ways for chain in way.chains})
    assert sum(counts.computed for _, _, counts in tasks) == len(computed)
    for outcome in ("computed", "reused", "skipped", "failed"):
        recorded = [entry for report in reports for entry in report.steps.values() if entry.outcome.value == outcome]
        assert sum(getattr(counts, outcome) for _, _, counts in tasks) == len(recorded)
    expected_finals: set[str] = set()
    for way, report in zip(ways, reports, strict=True):
        visited = {
            step: "visited" if entry.outcome.value in ("computed", "reused") else entry.outcome.value
            for step, entry in report.steps.items()
        }
        assert visited == way.outcomes
        if "failed" in way.outcomes.values() or not way.images:
            assert report.record.state is ItemState.FAILED
            continue
        assert report.record.state is ItemState.DONE
        steps = [step for step in kept if step in way.images] or [list(way.images)[-1]]
        assert list(report.record.finals) == steps
        for step in steps:
            name = report.record.item.name + (f".{step}" if len(kept) > 1 else "")
            key = f"{JOB}/final/{name}.png"
            expected_finals.add(key)
            assert Image.open(io.BytesIO(finals[key])).tobytes() == way.images[step].tobytes()
    assert set(finals) == expected_finals
