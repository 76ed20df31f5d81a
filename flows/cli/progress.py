"""Progress in the terminal: of a running job, of counted work, and of work in stages.

Each shows a live display on a terminal, and plain lines elsewhere (logs, CI).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from configs.failures import Log
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord

READ_SECONDS = 0.5
PATIENCE_SECONDS = 2.0  # before a bar or a stage is shown: shorter work needs none
PLAIN_SECONDS = 10.0  # between lines where the output is not a terminal
READ_SHARE = 0.02  # of the time, at most, goes into counting: a job of 50,000 items takes a while to count


def _progress(console: Console, *columns: ProgressColumn) -> Progress:
    """Return a bar that names its task, shows these columns and the time, and vanishes at its end."""
    text = TextColumn("{task.description}", markup=False)
    shown = (SpinnerColumn(), text, *columns, TimeElapsedColumn())
    return Progress(*shown, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def progress_bar(ledger: Ledger, console: Console) -> Iterator[tuple[Log, Callable[[JobRecord], None]]]:
    """Yield `log(text)`, for messages before a job runs, and `watch(job)`, to show its progress in the ledger."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    bar = _progress(console, BarColumn(), MofNCompleteColumn())

    def log(text: str) -> None:
        # As it is: addresses and paths must not be broken into lines.
        console.print(text, highlight=False, markup=False, soft_wrap=True, style="dim")

    def follow(job: JobRecord) -> None:
        task = bar.add_task(job.name, total=job.total)
        pause = shortest = READ_SECONDS if console.is_terminal else PLAIN_SECONDS
        while not stop.wait(pause):
            began = time.monotonic()
            now = ledger.items.progress(job.id)
            steps = ledger.steps.counts(job.id, job.run).items()
            text = f"{job.name} ({', '.join(f'{step} {count.computed + count.reused}' for step, count in steps)})"
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


@contextmanager
def counted(text: str, total: int | None, console: Console) -> Iterator[Callable[[int], None]]:
    """Yield `advance(number)`; `total` may be None for work of unknown length."""
    bar = _progress(console, BarColumn(), MofNCompleteColumn())
    task = bar.add_task(text, total=total)
    began = printed = time.monotonic()
    done = 0

    def advance(number: int) -> None:
        nonlocal done, printed
        done += number
        bar.update(task, completed=done)
        now = time.monotonic()
        if console.is_terminal:
            if not bar.live.is_started and now - began > PATIENCE_SECONDS:
                bar.start()
        elif now - printed > PLAIN_SECONDS:
            printed = now
            console.print(f"{text}: {done}{'' if total is None else f' of {total}'}", highlight=False, style="dim")

    try:
        yield advance
    finally:
        bar.stop()


@contextmanager
def stages(console: Console) -> Iterator[Log]:
    """Yield `log(stage)`, to be called at the beginning of each stage; stages of some length are shown."""
    bar = _progress(console)
    task = bar.add_task("")
    timer: threading.Timer | None = None

    def show(stage: str) -> None:
        if console.is_terminal:
            bar.start()
        else:
            console.print(Text(stage, "dim"))

    def end_stage() -> None:
        if timer is not None:
            timer.cancel()
            timer.join()

    def log(stage: str) -> None:
        nonlocal timer
        end_stage()
        bar.update(task, description=stage)
        timer = threading.Timer(PATIENCE_SECONDS, show, (stage,))
        timer.name, timer.daemon = "stages", True
        timer.start()

    try:
        yield log
    finally:
        end_stage()
        bar.stop()
