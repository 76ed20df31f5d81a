"""Progress of work on a known number of things, for commands that may take a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PATIENCE_SECONDS = 2.0  # what is done by then needs no bar
PLAIN_SECONDS = 10.0  # between lines where the output is not a terminal


@contextmanager
def counted(text: str, total: int | None, console: Console) -> Iterator[Callable[[int], None]]:
    """Yields `advance(number)`. A bar on a terminal, a plain line every ten seconds elsewhere (logs, CI).

    `total` None: not known beforehand.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(text, total=total)
    began = said = time.monotonic()
    done = 0

    def advance(number: int) -> None:
        nonlocal done, said
        done += number
        bar.update(task, completed=done)
        now = time.monotonic()
        if console.is_terminal:
            if not bar.live.is_started and now - began > PATIENCE_SECONDS:
                bar.start()
        elif now - said > PLAIN_SECONDS:
            said = now
            console.print(f"{text}: {done}{'' if total is None else f' of {total}'}", highlight=False, style="dim")

    try:
        yield advance
    finally:
        bar.stop()
