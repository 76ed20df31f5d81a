"""What people write first: a Prefect flow with a task run for each image and step.

In its best form: images go from task to task in memory, the models are loaded once, a task that an item surely skips
is not submitted, and a second thread encodes and stores while the first one computes. The diffusion pipeline cannot be
shared by threads that run at once, hence the lock. A request is `{"job": path, "output": uri}`, a reply
`{"seconds": …, "images": …, "task_runs": …, "recorded": …}`: `recorded` is how many of the task runs the server has
as completed once it has had time to catch up.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from benchmarks.bare_process import BareContext, Traveler, steps_read, take_through
from benchmarks.plain_bucket import PlainBucket
from benchmarks.resident import Message, serve
from configs.settings.settings import load_settings
from flows.job.plan import read_plan_request
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import ReachableVisits

PATIENCE = 60.0  # seconds for the server to catch up
THREADS = 2


def prepare() -> Callable[[Message], Message]:
    settings = load_settings()
    context = BareContext(settings)
    device = threading.Lock()

    def answer(request: Message) -> Message:
        job = read_plan_request(Path(request["job"]), settings)
        bucket = PlainBucket(request["output"])
        read = steps_read(job.program)
        visits = job.program.visits
        prospect = ReachableVisits(job.program)

        @task(cache_policy=NO_CACHE, persist_result=False)
        def run_step(number: int, traveler: Traveler) -> Traveler:
            visit = visits[number]
            with device:
                take_through(visit, [traveler], context, 1, measured=visit.step_id in read)
            if number == len(visits) - 1 and traveler.image is not None:
                bucket.put(f"{job.job.name}/{traveler.path.item.name}", traveler.image)
            return traveler

        runner: Any = ThreadPoolTaskRunner(max_workers=THREADS)

        @flow(task_runner=runner, persist_result=False)
        def per_image() -> tuple[int, int, str]:
            ends: list[PrefectFuture[Traveler]] = []
            submitted = 0
            for item in job.items:
                traveler: Any = Traveler(ItemPath(item, job.program))
                possible = {visit.id for visit, _ in prospect.of(item).visits}
                for number, visit in enumerate(visits):
                    if visit.id in possible:
                        traveler = run_step.submit(number, traveler)
                        submitted += 1
                ends.append(traveler)
            images = sum(end.result().image is not None for end in ends)
            return images, submitted, str(flow_run.id)

        started = time.perf_counter()
        images, submitted, run_id = per_image()
        seconds = time.perf_counter() - started
        recorded = _recorded(run_id, submitted)
        return {"seconds": seconds, "images": images, "task_runs": submitted, "recorded": recorded}

    return answer


def _recorded(run_id: str, submitted: int) -> int:
    """Completed task runs of the flow run, once there are as many as were submitted or patience is over."""
    wanted = {
        "flow_runs": {"id": {"any_": [run_id]}},
        "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    deadline = time.monotonic() + PATIENCE
    with get_client(sync_client=True) as client:
        while True:
            count = int(client.request("POST", "/task_runs/count", json=wanted).json())
            if count >= submitted or time.monotonic() > deadline:
                return count
            time.sleep(1)


if __name__ == "__main__":
    serve(prepare)
