"""Plant defects and ask the gates: `python -m benchmarks.gates` prints a table, and last one line of JSON.

Exit status 1 means that a kind's recall is below 95 %, or that more than 1 % of the sound pictures are flagged by any
gate. At another scale than 1 the bars are shown but do not decide.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.gates.report import results, table, write
from benchmarks.gates.store import default_folder
from benchmarks.gates.trial import OF_EACH, SOUND, run_trial
from configs.settings.settings import load_settings

TUNING_SEED = 1  # the thresholds in configs/data/gates were chosen on this one,
REPORTING_SEED = 3  # and never on this one: its figures are the ones that count


def main(arguments: list[str] | None = None) -> int:
    """Runs a trial; returns the exit status."""
    options = _options(arguments)
    count = {name: max(2, round(full * options.scale)) for name, full in (("sound", SOUND), ("of_each", OF_EACH))}
    print(f"seed {options.seed}: {count['sound']} sound pictures, {count['of_each']} of each defect", flush=True)
    found = results(run_trial(options.seed, **count, folder=options.cache, settings=load_settings()))
    write({**found, "scale": options.scale}, options.out / f"gates-{options.seed}.json")
    for line in table(found):
        print(line)
    print(json.dumps(found))
    return 1 if found["missed"] and options.scale == 1 else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gates", description=__doc__)
    parser.add_argument(
        "--seed",
        type=int,
        default=REPORTING_SEED,
        help=f"of the pictures and the defects (default {REPORTING_SEED}; thresholds are tuned on {TUNING_SEED})",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the pictures, for a quick look")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="folder that keeps the pictures")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder of the JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
