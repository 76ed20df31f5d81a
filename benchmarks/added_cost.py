"""B2: what the pipeline itself costs an item, and whether that stays so as jobs grow.

The steps of the null recipe cost next to nothing, so all of the wall time is the pipeline's: reading the job, planning,
the ledger, task runs, PNG encoding, storing two artefacts and one final an item, and the finish with its manifest,
contact sheet, gallery and report. The clock starts at the call of the command in a resident process, with server and
worker warm, and stops when the command is through.
"""

from collections.abc import Iterator
from statistics import median

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.processes import rounded
from benchmarks.rig import Rig, Run, StoreKind, rig

SIZES = {"1k": 1_000, "10k": 10_000, "50k": 50_000}
# The smallest job runs between the large ones: the ratio is of runs that lie close together in time.
ORDER = ("1k", "10k", "1k", "50k", "1k")
STORES: tuple[StoreKind, ...] = ("folder", "s3")

BARS = {
    name: bar
    for store in STORES
    for name, bar in {
        **{f"{store}_{size}_ms_per_item": Bar(most=5.0) for size in SIZES},
        f"{store}_50k_over_1k": Bar(most=1.1),
    }.items()
}


def measure(bench: Bench) -> Iterator[Measures]:
    """Milliseconds an item of wall and CPU, by store and size."""
    for store in STORES:
        with rig(bench.folder / store, store=store) as place:
            place.warm_up()
            yield from _of_store(bench, place, store)


def _of_store(bench: Bench, place: Rig, store: str) -> Iterator[Measures]:
    runs: dict[str, list[Run]] = {size: [] for size in SIZES}
    counts = {size: bench.count(full, least=8) for size, full in SIZES.items()}
    for number, size in enumerate(ORDER):
        run = place.run(place.job(f"null-{size}-{number}", counts[size], seed=number + 2))
        runs[size].append(run)
        bench.log(f"  {store}, {counts[size]:,} items: {run.seconds:.1f} s, CPU {rounded(run.cpu)}")
    bench.details[store] = {
        size: [{"items": counts[size], "seconds": run.seconds, "cpu": run.cpu} for run in some]
        for size, some in runs.items()
    }
    walls = {size: 1000 * median(run.seconds for run in runs[size]) / counts[size] for size in SIZES}
    for size in SIZES:
        yield {f"{store}_{size}_ms_per_item": walls[size]} | {
            f"{store}_{size}_cpu_ms_{role}": 1000 * median(run.cpu[role] for run in runs[size]) / counts[size]
            for role in runs[size][0].cpu
        }
    yield {f"{store}_50k_over_1k": walls["50k"] / walls["1k"]}


BENCHMARK = Benchmark("B2", "cost of the pipeline itself, null steps, ms an item", BARS, measure)
