"""The same items as a Ray Data pipeline: one resident actor for each step, batches streaming from one to the next.

A request is `{"job": path, "output": uri}`, a reply `{"seconds": …, "images": …, "images_per_s": …}`. Ray starts the
actors, and these load their models, with every pipeline: `images_per_s` is taken between the first stored batch and the
last, and so leaves that out.
"""

import atexit
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bare_process import BareContext, Traveler, steps_read, take_through
from benchmarks.plain_bucket import PlainBucket
from benchmarks.resident import Message, serve
from configs.settings.settings import load_settings
from flows.job.plan import read_plan_request
from gpu_worker.walk.item_path import ItemPath

Batch = dict[str, Any]  # "traveler": pickled Travelers


class RunStep:
    """An actor that takes batches through one step; the last one stores the finals too."""

    def __init__(self, job: str, number: int, output: str) -> None:
        self._settings = load_settings()
        self._job = read_plan_request(Path(job), self._settings)
        self._visit = self._job.program.visits[number]
        self._measured = self._visit.step_id in steps_read(self._job.program)
        self._context = BareContext(self._settings)
        self._bucket = PlainBucket(output) if number == len(self._job.program.visits) - 1 else None

    def __call__(self, batch: Batch) -> Batch:
        travelers: list[Traveler] = [pickle.loads(each) for each in batch["traveler"]]
        limit = self._settings.micro_batch
        take_through(self._visit, travelers, self._context, limit, measured=self._measured)
        if self._bucket is None:
            return {"traveler": [pickle.dumps(each) for each in travelers]}
        for each in travelers:
            assert each.image is not None
            self._bucket.put(f"{self._job.job.name}/{each.path.item.name}", each.image)
        return {"stored_at": [time.time()] * len(travelers)}


def prepare() -> Callable[[Message], Message]:
    import ray

    settings = load_settings()
    cores = len(os.sched_getaffinity(0))
    folder = tempfile.mkdtemp(prefix="ray-")  # near the root: Ray's sockets lie in it, and their paths must be short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def answer(request: Message) -> Message:
        job = read_plan_request(Path(request["job"]), settings)
        started = time.time()
        rows = [{"traveler": pickle.dumps(Traveler(ItemPath(item, job.program)))} for item in job.items]
        data: Any = ray.data.from_items(rows)
        for number in range(len(job.program.visits)):
            data = data.map_batches(
                RunStep,
                fn_constructor_args=(request["job"], number, request["output"]),
                batch_size=settings.chunk_size,
                concurrency=1,
                # Threads of torch take the cores that an actor needs: the scheduler only has to let all of them in.
                num_cpus=cores / (len(job.program.visits) + 1),
            )
        stored = sorted(row["stored_at"] for row in data.take_all())
        later = sum(at > stored[0] for at in stored)
        rate = later / (stored[-1] - stored[0]) if later else len(stored) / (stored[-1] - started)
        return {"seconds": stored[-1] - started, "images": len(stored), "images_per_s": rate}

    return answer


if __name__ == "__main__":
    serve(prepare)
