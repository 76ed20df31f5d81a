"""Progress of work whose stages are known and whose length is not."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

PATIENCE_SECONDS = 2.0  # what is done by then needs no word


@contextmanager
def stages(console: Console) -> Iterator[Callable[[str], None]]:
    """Yields `say(stage)`, to be called as each stage begins.

    A stage that lasts is shown: on a terminal by a line with the time, elsewhere (logs, CI) by a plain line each.
    """
    changed = threading.Condition()
    current, begun, over = "", 0, False
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("")

    def show() -> None:
        with changed:
            while not over:
                seen = begun
                if changed.wait_for(lambda: over or begun != seen, PATIENCE_SECONDS):  # noqa: B023
                    continue  # it did not last
                if console.is_terminal:
                    bar.update(task, description=current)
                    bar.start()
                elif current:
                    console.print(Text(current, "dim"))
                changed.wait_for(lambda: over or begun != seen)  # noqa: B023

    def log(stage: str) -> None:
        nonlocal current, begun
        with changed:
            current, begun = stage, begun + 1
            if bar.live.is_started:
                bar.update(task, description=stage)
            changed.notify_all()

    watcher = threading.Thread(target=show, name="stages", daemon=True)
    watcher.start()
    try:
        yield log
    finally:
        with changed:
            over = True
            changed.notify_all()
        watcher.join()
        bar.stop()
