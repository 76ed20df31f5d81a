"""Which benchmarks there are, and where."""

import importlib
from collections.abc import Sequence

from benchmarks.contract import Benchmark

MODULES = {
    "B1": "benchmarks.bare_loop",
    "B2": "benchmarks.added_cost",
    "B3": "benchmarks.memory",
    "B4": "benchmarks.finished_job",
    "B5": "benchmarks.first_image",
    "B6": "benchmarks.many_workers",
    "B7": "benchmarks.other_ways",
    "B8": "benchmarks.large_networks",
    "B9": "benchmarks.branching",
    "B10": "benchmarks.facts_cost",
}


def find(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, all without any. Raises LookupError for one that is not there."""
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        raise LookupError(f"no benchmark is named {', '.join(unknown)}: choose from {', '.join(MODULES)}")
    return [_load(name) for name in names or MODULES]


def _load(name: str) -> Benchmark:
    found: Benchmark = importlib.import_module(MODULES[name]).BENCHMARK
    return found
