"""Prove docker/compose.yaml without a container engine: `make fleet-test`.

Runs its services natively, has them make 2,000 images, kills part after part meanwhile, and checks from outside that
nothing was lost and nothing done twice. Exit status 0: all is well; 1: something was wrong; 2: something is missing
here, and what.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fleet.images import make_flows_environment, obstacles
from tests.fleet.sandbox import obstacle
from tests.fleet.stage import Stage

ITEMS = 2000
BEGAN = time.monotonic()


def main() -> int:
    """Print what happens and the table; return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # on the way out, all processes that were started are ended
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS, help=f"of the job (default {ITEMS})")
    parser.add_argument("--keep", action="store_true", help="leave the folder there, with all logs")
    parser.add_argument("--no-kills", action="store_true", help="only run it")
    options = parser.parse_args()
    if missing := obstacles():
        for text in missing:
            print(f"fleet-test: {text}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pixelmill-fleet-"))
    folder.chmod(0o755)  # users of containers must get through
    wrong: list[str] = []
    try:
        log(f"processes are {'confined like containers' if obstacle() is None else f'not confined: {obstacle()}'}")
        log("making the environment of the flows image from its lock")
        flows = make_flows_environment(folder)
        with Stage(folder, flows, log) as stage:
            wrong = stage.play(options.items, kills=not options.no_kills)
            stage.print_table(time.monotonic() - BEGAN)
    except Exception:
        traceback.print_exc()
        wrong.append("the test itself has failed")
    for text in wrong:
        print(f"WRONG: {text}", flush=True)
    if wrong or options.keep:
        print(f"kept for a look: {folder}", flush=True)
        return 1 if wrong else 0
    shutil.rmtree(folder, ignore_errors=True)
    print("nothing was lost, and nothing done twice", flush=True)
    return 0


def log(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
