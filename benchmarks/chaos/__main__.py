"""Run the fault tests: `python -m benchmarks.chaos` prints counts, and last one line of JSON.

Exit status 1 means that something was wrong; the folder of such a test is kept. The seed decides which
faults come in which order and after which delays; how far the job is at that moment is up to the machine.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random, SystemRandom

from benchmarks.chaos.fault import Arena, Fault, Findings
from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.report import as_json, table

ITEMS, KILLS = 500, 50
NAMES = [fault.name for fault in FAULTS]


def main() -> int:
    """Print the counts and the JSON line; return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # on the way out, all processes that were started are ended
    options = _options()
    chosen = [fault for fault in FAULTS if fault.name in (options.only or NAMES)]
    seed = SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}: {', '.join(fault.name for fault in chosen)}", flush=True)
    results: dict[str, Findings] = {}
    skipped: dict[str, str] = {}
    for fault in chosen:
        obstacle = fault.obstacle()
        if obstacle is not None:
            skipped[fault.name] = obstacle
            print(f"{fault.name:16} skipped: {obstacle}", flush=True)
            continue
        print(f"{fault.name:16} {fault.about}", flush=True)
        results[fault.name] = _run(fault, seed, items=options.items, kills=options.kills)
        print(table(fault.name, results[fault.name]), flush=True)
    print(as_json(results, seed=seed, skipped=skipped))
    return 1 if any(findings.wrong for findings in results.values()) else 0


def _run(fault: Fault, seed: int, *, items: int, kills: int) -> Findings:
    folder = Path(tempfile.mkdtemp(prefix=f"pixelmill-chaos-{fault.name}-"))
    # A seed of its own for each: what one of them draws does not change what the next one does.
    arena = Arena(folder, Random(f"{seed} {fault.name}"), items, kills, lambda text: _say(fault.name, text))
    began = time.monotonic()
    findings = Findings()
    try:
        findings = fault.run(arena)
    except Exception:
        traceback.print_exc()
        findings.wrong.append("the fault test itself has failed")
    findings.count("seconds", time.monotonic() - began)
    if findings.wrong:
        print(f"{fault.name:16} kept for a look: {folder}", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return findings


def _say(name: str, text: str) -> None:
    print(f"{name:16} … {text}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="default: a new one each time, printed")
    parser.add_argument("--only", type=_names, help=f"separated by commas, of {', '.join(NAMES)}")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"in all (default {KILLS})")
    parser.add_argument("--items", type=int, default=ITEMS, help=f"of each job (default {ITEMS})")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}: choose of {', '.join(NAMES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
