"""B10: what the facts that are measured on every image cost: the starter recipe with them, and without.

One process takes the same job through a shard with facts, without, without, with … so that a machine that grows
slower meanwhile slows both alike; the turns are short, as the speed of a shared machine changes within minutes. Each
turn has a ledger and a folder of its own, so that nothing is reused. Without Prefect, S3 and a finish beside
them the facts weigh more than in a whole run. The images of all turns must be the same.

The bar holds for the median of the pairs' ratios. `fastest` compares the fastest turn of each kind, which is the one
that others disturbed least. CPU seconds are those of the process, all its threads together.
"""

import shutil
from collections.abc import Iterator
from statistics import median, quantiles

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.job_files import starter_items, write_job
from benchmarks.resident import BenchmarkFailed, Message, Resident
from benchmarks.rig import clean_environment

PAIRS = 40
ITEMS = 7  # a turn: one of every kind, and a few seconds

Turns = dict[bool, list[Message]]  # with facts and without

BARS = {"with_facts_over_without": Bar(most=1.05)}


def measure(bench: Bench) -> Iterator[Measures]:
    """Wall and CPU time with facts over those without."""
    pairs = bench.count(PAIRS, least=2)
    process = Resident(["benchmarks.facts_process"], clean_environment(bench.folder), bench.folder / "process.log")
    turns: Turns = {True: [], False: []}
    try:
        warm = _turn(bench, process, facts=True)
        for pair in range(pairs):
            for facts in (True, False) if pair % 2 == 0 else (False, True):
                turns[facts].append(_turn(bench, process, facts=facts))
            told = {
                facts: f"{same[-1]['seconds']:.2f} s ({same[-1]['cpu']:.2f} of CPU)" for facts, same in turns.items()
            }
            bench.log(f"  {told[True]} with facts, {told[False]} without")
    finally:
        process.close()
    for facts, same in turns.items():
        if any(turn["fingerprints"] != warm["fingerprints"] for turn in same):
            raise BenchmarkFailed("the turns made different images")
        if any((turn["facts"] == warm["facts"]) is not facts for turn in same):
            raise BenchmarkFailed("facts were measured where they were not to be, or the other way round")
    bench.details.update(pairs=pairs, items=ITEMS)
    for name, facts in (("with", True), ("without", False)):
        bench.details[name] = [{key: turn[key] for key in ("seconds", "cpu")} for turn in turns[facts]]
    yield from _figures(turns, warm)


def _figures(turns: Turns, warm: Message) -> Iterator[Measures]:
    wall, cpu = _ratios(turns, "seconds"), _ratios(turns, "cpu")
    low, _, high = quantiles(wall, n=4, method="inclusive")
    fastest = {facts: min(turn["seconds"] for turn in same) for facts, same in turns.items()}
    least = {facts: min(turn["cpu"] for turn in same) for facts, same in turns.items()}
    yield {
        "with_facts_over_without": median(wall),
        "lowest_pair": min(wall),
        "lower_quartile": low,
        "upper_quartile": high,
        "highest_pair": max(wall),
        "fastest_with_facts_over_without": fastest[True] / fastest[False],
        "cpu_with_facts_over_without": median(cpu),
        "least_cpu_with_facts_over_without": least[True] / least[False],
    }
    yield {
        "fastest_seconds_per_item": fastest[True] / ITEMS,
        "facts_cpu_ms_per_image": 1000 * (least[True] - least[False]) / warm["images"],
        "facts_per_image": warm["facts"] / warm["images"],
        "images_per_item": warm["images"] / ITEMS,
    }


def _turn(bench: Bench, process: Resident, *, facts: bool) -> Message:
    folder = bench.folder / "turn"
    job = write_job(folder, "job", recipe="starter", output=str(folder / "out"), items=starter_items(ITEMS), seed=1)
    reply = process.ask({"job": str(job), "folder": str(folder), "facts": facts})
    shutil.rmtree(folder)
    if reply["done"] != ITEMS:
        raise BenchmarkFailed(f"{reply['done']} of {ITEMS} items are done")
    return reply


def _ratios(turns: Turns, key: str) -> list[float]:
    return [mine[key] / other[key] for mine, other in zip(turns[True], turns[False], strict=True)]


BENCHMARK = Benchmark("B10", "facts of every image: the starter recipe with them, and without", BARS, measure)
