"""A worker that measures facts or does not: `python -m benchmarks.facts_process`.

It takes a job through a shard with a ledger and a folder of its own, in this process, models resident. Only what is
measured on every image can be left out, by replacing it here: what conditions name is measured always, for the items'
ways depend on it. A request is `{"job": path, "folder": path, "facts": bool}`, a reply `{"seconds": …, "cpu": …,
"done": …, "images": …, "facts": …, "fingerprints": …}`, of which `facts` counts those of all images.
"""

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.resident import Message, serve
from configs.settings.settings import load_settings
from flows.job.plan import read_plan_request, start_job
from gpu_worker.device.runtime import WorkerRuntime
from gpu_worker.shard import step_images
from gpu_worker.shard.shard_run import ShardRun
from steps.facts import ALWAYS
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState
from storage.objects.open_store import open_store


def prepare() -> Callable[[Message], Message]:
    settings = load_settings()
    runtime = WorkerRuntime(settings)

    def answer(request: Message) -> Message:
        step_images.ALWAYS = ALWAYS if request["facts"] else frozenset()  # type: ignore[attr-defined]
        job = read_plan_request(Path(request["job"]), settings)
        ledger = Ledger(f"sqlite:///{Path(request['folder']) / 'ledger.db'}")
        record = start_job(job, ledger, settings, log=print)
        started, used = time.perf_counter(), time.process_time()
        with ShardRun(
            job=record,
            program=job.program,
            items=ledger.items.find(record.id),
            shard=0,
            store=open_store(job.output, settings),
            ledger=ledger,
            runtime=runtime,
            settings=settings,
        ) as shard:
            for chunk, visit in shard.schedule():
                shard.run_step(chunk, visit)
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        reports = list(ledger.items.reports(record.id))
        ledger.close()
        made = [entry.artefact for report in reports for entry in report.steps.values() if entry.artefact is not None]
        return {
            "seconds": seconds,
            "cpu": cpu,
            "done": sum(report.record.state is ItemState.DONE for report in reports),
            "images": len(made),
            "facts": sum(len(artefact.facts) for artefact in made),
            "fingerprints": sorted({artefact.fingerprint for artefact in made}),
        }

    return answer


if __name__ == "__main__":
    serve(prepare)
