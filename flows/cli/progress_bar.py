"""Progress of a running job in the terminal, read from the ledger."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, StepCounts

READ_SECONDS = 0.5
PLAIN_SECONDS = 10.0  # between lines where the output is not a terminal
READ_SHARE = 0.02  # of the time, at most, goes into counting: a job of 50,000 items takes a while to count

Hooks = tuple[Callable[[str], None], Callable[[JobRecord], None]]


@contextmanager
def progress_bar(ledger: Ledger, console: Console) -> Iterator[Hooks]:
    """Yields `say(text)` for what happens before a job runs and `watch(job)` to follow it from then on.

    A live bar on a terminal, a plain line every ten seconds elsewhere (logs, CI).
    """
    stop = threading.Event()
    threads: list[threading.Thread] = []
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )

    def log(text: str) -> None:
        console.print(text, highlight=False, style="dim")

    def follow(job: JobRecord) -> None:
        task = bar.add_task(job.name, total=job.total)
        pause = shortest = READ_SECONDS if console.is_terminal else PLAIN_SECONDS
        while not stop.wait(pause):
            began = time.monotonic()
            now = ledger.progress(job.id)
            text = _describe(job, ledger.step_counts(job.id, job.run))
            bar.update(task, completed=now.total - now.pending, description=text)
            if not console.is_terminal:
                log(f"{text}: {now.total - now.pending} of {now.total} items")
            pause = max(shortest, (time.monotonic() - began) / READ_SHARE)

    def watch(job: JobRecord) -> None:
        threads.append(threading.Thread(target=follow, args=(job,), name="progress", daemon=True))
        threads[-1].start()

    with bar:
        try:
            yield log, watch
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _describe(job: JobRecord, steps: dict[str, StepCounts]) -> str:
    counts = (f"{step} {count.computed + count.reused}" for step, count in steps.items())
    return f"{job.name} ({', '.join(counts)})"
