"""Measure the pipeline against its bars: `python -m benchmarks [--only B2,B4] [--scale 0.1]`.

Prints a table, writes `out/bench/<name>.json`, and prints as its last line one JSON object of measure -> value. Exit
status 1 means that a bar is missed; at another scale than 1 the bars are shown but do not decide.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contract import Bench, Benchmark, Measures, Skipped
from benchmarks.resident import BenchmarkFailed
from benchmarks.results import Result, write_result
from benchmarks.table import MODULES, find


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmarks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help=f"names, separated by commas, of {', '.join(MODULES)}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the items to run, for a quick look")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder of the JSON files")
    options = parser.parse_args(arguments)
    try:
        benchmarks = find([name for name in options.only.upper().split(",") if name])
    except LookupError as error:
        parser.error(str(error.args[0]))
    results = [_run(benchmark, options.scale, options.out) for benchmark in benchmarks]
    missed = [f"{result.name}.{measure}" for result in results for measure in result.missed]
    if missed:
        print(f"missed: {', '.join(missed)}")
    values = {f"{result.name}.{name}": value for result in results for name, value in result.measures.items()}
    print(json.dumps({name: round(value, 4) for name, value in values.items()}))
    return 1 if missed and options.scale == 1 else 0


def _run(benchmark: Benchmark, scale: float, out: Path) -> Result:
    print(f"{benchmark.name} · {benchmark.title}", flush=True)
    started = time.time()
    measures: Measures = {}
    skipped = None
    with tempfile.TemporaryDirectory(prefix="pixelmill-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), scale)
        try:
            for group in benchmark.measure(bench):
                measures |= group
                for line in _rows(benchmark, group):
                    print(line, flush=True)
        except Skipped as reason:
            skipped = str(reason)
            print(f"  skipped: {reason}", flush=True)
        except BenchmarkFailed as failure:
            bench.details["failure"] = str(failure)
            print(f"  failed: {failure}", flush=True)
    result = Result(
        name=benchmark.name,
        title=benchmark.title,
        measures=measures,
        bars={name: str(bar) for name, bar in benchmark.bars.items()},
        missed=[] if skipped else benchmark.missed(measures),
        skipped=skipped,
        scale=scale,
        seconds=round(time.time() - started, 1),
        details=bench.details,
    )
    write_result(result, out)
    return result


def _rows(benchmark: Benchmark, measures: Measures) -> Iterator[str]:
    for name, value in measures.items():
        bar = benchmark.bars.get(name)
        verdict = "" if bar is None else f"{bar!s:>9}  {'ok' if bar.holds(value) else 'MISSED'}"
        yield f"  {name:44} {value:12,.3f}  {verdict}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
