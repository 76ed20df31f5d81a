"""B9: a recipe of eight steps in all kinds of branches, loops and gates, over 10,000 items through the real system.

The content of the ledger and the finals is then compared with `plain_ways`, where the same recipe is
written out by hand. A path is the same if the item visited the same steps as often, each with the same fingerprint, was
skipped by the others, ended in the same state at the same gate with the same warnings, and its final is the image of
that fingerprint. Seeds and prompts decide the way, so hardly two items take it with the same images; some items repeat
the prompt and the seed of another, and share images with it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.job_files import RECIPES, plain_items
from benchmarks.rig import rig
from storage.images.images import read_recipe
from storage.ledger.records import ItemReport, ItemState, Outcome
from storage.objects.artefacts import ArtefactStore, MissingObject
from storage.objects.folder_store import FolderStore
from tests.support.null.plain_ways import Way, way_of

ITEMS = 10_000
STEPS = ("base", "mend", "pose", "grain", "frame", "flat", "sheen", "seen")
KINDS = ("icon", "icon", "photo", "icon", "photo", "sticker", None, "photo", 3, "sticker")
TWIN_EVERY = 97
SHOWN = 20  # differences that are listed

BARS = {"paths_compared": Bar(least=ITEMS), "differences": Bar(most=0), "ways": Bar(least=150)}


def branching_items(count: int) -> list[dict[str, Any]]:
    """Items of all kinds, with seeds of their own."""
    items: list[dict[str, Any]] = []
    for index, item in enumerate(plain_items(count)):
        item["seed"] = index * 7919 + 3
        item["vars"] = {"kind": KINDS[index % len(KINDS)], "glossy": index % 4 == 0}
        if index % TWIN_EVERY == 1:
            item |= {"prompt": items[-1]["prompt"], "seed": items[-1]["seed"]}
        items.append(item)
    return items


def measure(bench: Bench) -> Iterator[Measures]:
    """Paths that were compared, differences, and how many ways there were."""
    count = bench.count(ITEMS, least=20)
    items = branching_items(count)
    expected = {item["name"]: expected_way(item) for item in items}
    with rig(bench.folder, store="folder") as place:
        place.warm_up()
        run = place.run(place.job("branching", 0, recipe=RECIPES / "branching.yaml", items=items), may_quarantine=True)
        bench.log(f"  {count:,} items in {run.seconds:.1f} s")
        store = FolderStore(bench.folder / "out")
        found = {
            report.record.item.name: list(differences(report, expected[report.record.item.name], store))
            for report in place.ledger.items.reports(run.document["job"])
        }
    different = {name: texts for name, texts in found.items() if texts}
    for name, texts in list(different.items())[:SHOWN]:
        bench.log(f"  {name}: {'; '.join(texts)}")
    bench.details.update(items=count, seconds=run.seconds, cpu=run.cpu, differences=different)
    bench.details["ways"] = Counter(" ".join(way.visits) for way in expected.values()).most_common()
    yield {"paths_compared": len(found), "differences": len(different) + count - len(found)}
    yield {
        **counts(expected),
        "seconds": run.seconds,
        "ms_per_item": 1000 * run.seconds / count,
        "ms_per_visit": 1000 * run.seconds / sum(len(way.visits) for way in expected.values()),
    }


def expected_way(item: Mapping[str, Any]) -> Way:
    return way_of(item["prompt"], item["seed"], item["vars"]["kind"], glossy=item["vars"]["glossy"])


def counts(ways: Mapping[str, Way]) -> Measures:
    """Distinct ways, visits, and items by what happened to them."""
    return {
        "ways": len({tuple(way.visits) for way in ways.values()}),
        "visits": sum(len(way.visits) for way in ways.values()),
        "items_made_again": sum(max(way.attempts.values()) > 1 for way in ways.values()),
        "items_repaired": sum("mend" in way.visits and way.final is not None for way in ways.values()),
        "items_quarantined": sum(way.final is None for way in ways.values()),
        "items_warned": sum(bool(way.warnings) and way.final is not None for way in ways.values()),
    }


def differences(report: ItemReport, way: Way, store: ArtefactStore) -> Iterator[str]:
    """Return where the ledger and the store differ from `way`."""
    record = report.record
    made = {visit: entry.artefact.fingerprint for visit, entry in report.steps.items() if entry.artefact is not None}
    if made != way.visits:
        yield f"visits {_told(made)}, expected {_told(way.visits)}"
    skipped = {visit for visit, entry in report.steps.items() if entry.outcome is Outcome.SKIPPED}
    turned_away = set(STEPS) - way.visits.keys()
    # A quarantined item has no record after its gate.
    if skipped != turned_away if way.final is not None else skipped > turned_away:
        yield f"skipped {sorted(skipped)}, expected {sorted(turned_away)}"
    if failed := [visit for visit, entry in report.steps.items() if entry.outcome is Outcome.FAILED]:
        yield f"failed at {failed}"
    warnings = [_reasons(text) for text in record.warnings]
    if way.final is None:
        if (record.state, record.error_step) != (ItemState.QUARANTINED, way.error_step) or record.finals:
            yield f"{record.state} at {record.error_step}, expected quarantine at {way.error_step}"
        if _reasons(record.error or "") != way.reasons:
            yield f"the reason is {record.error!r}, expected {way.reasons}"
        return
    if record.state is not ItemState.DONE or warnings != way.warnings:
        yield f"{record.state} with warnings {record.warnings}, expected {way.warnings}"
    if list(record.finals) != [way.final.visit]:
        yield f"finals {dict(record.finals)}, expected one of {way.final.visit}"
        return
    stored = _fingerprint_of(store, record.finals[way.final.visit])
    if stored != way.final.fingerprint:
        yield f"the final is {stored}, expected {way.final.fingerprint}"


def _told(visits: Mapping[str, str]) -> str:
    return " ".join(f"{visit}={fingerprint[:8]}" for visit, fingerprint in visits.items())


def _reasons(text: str) -> tuple[str, ...]:
    """The words of the recipe's `because`, without the conditions and their values."""
    text = text.removeprefix("no candidate was left, the last one for this: ")
    return tuple(re.findall(r"(?:^|; )([^:;]+): ", text))


def _fingerprint_of(store: ArtefactStore, key: str) -> str | None:
    """Return the provenance in the image at this key."""
    try:
        recipe = read_recipe(store.get(key))
    except MissingObject:
        return None
    return recipe.steps[-1].fingerprint if recipe is not None else None


BENCHMARK = Benchmark(
    "B9", "paths of items through branches, loops and gates, against a reference by hand", BARS, measure
)
