"""Load of an NVIDIA device while something runs, reported by its driver."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

INTERVAL_MS = 250


@contextmanager
def sampled_load() -> Iterator[list[int]]:
    """Yields a list that holds, once the block has ended, the device's load in per cent every quarter of a second."""
    samples: list[int] = []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([*command, f"--loop-ms={INTERVAL_MS}"], stdout=output)
        try:
            yield samples
        finally:
            process.terminate()
            process.wait()
            output.seek(0)
            samples += [int(line) for line in output.read().split() if line.isdigit()]


def busy_share(samples: Sequence[int]) -> float:
    """Mean load from the first sample with any to the last, 0 … 1: what lies before and after is not computing."""
    loaded = [index for index, load in enumerate(samples) if load]
    if not loaded:
        return 0.0
    between = samples[loaded[0] : loaded[-1] + 1]
    return sum(between) / len(between) / 100
