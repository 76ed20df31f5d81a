"""Program of test_killed_shard: runs the job in the folder given, slowly."""

import sys
from pathlib import Path

from gpu_worker.shard import writer
from tests.support.fake_steps import Fill, Invert, items
from tests.support.mill import Mill, resolved

COUNT, MICRO_BATCH = 40, 4


def mill(folder: Path, *, seconds: float = 0) -> Mill:
    log = str(folder / "log")
    steps = [resolved("made", Fill(log=log, seconds=seconds)), resolved("negative", Invert(log=log))]
    return Mill(folder, steps, items(COUNT), chunk_size=20, micro_batch=MICRO_BATCH)


if __name__ == "__main__":
    writer.RECORD_SECONDS = 0.1
    mill(Path(sys.argv[1]), seconds=0.3).run()
