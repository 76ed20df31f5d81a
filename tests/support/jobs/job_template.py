"""A job that ran, for tests that change it: run once, and put back for each of them."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from storage.ledger.ledger import Ledger


class HasLedger(Protocol):
    ledger: Ledger


J = TypeVar("J", bound=HasLedger)


class JobTemplate(Generic[J]):
    """It is put back to where it was run, for the ledger and the job's files name their places.

    `begin` opens the job in its folder, `run` takes it to where the tests want it.
    """

    def __init__(self, folder: Path, begin: Callable[[Path], J], run: Callable[[J], object]) -> None:
        self._place, self._kept, self._begin = folder / "job", folder / "kept", begin
        self._place.mkdir()
        job = begin(self._place)
        run(job)
        job.ledger.close()
        _copy(self._place, self._kept)

    @contextmanager
    def as_new(self) -> Iterator[J]:
        """The job as its run left it."""
        shutil.rmtree(self._place)
        _copy(self._kept, self._place)
        job = self._begin(self._place)
        yield job
        job.ledger.close()


def _copy(folder: Path, to: Path) -> None:
    """With its hard links, by which a folder's store publishes."""
    copies: dict[int, Path] = {}
    to.mkdir()
    for path in sorted(folder.rglob("*")):
        copy, number = to / path.relative_to(folder), path.stat().st_ino
        if path.is_dir():
            copy.mkdir()
        elif number in copies:
            os.link(copies[number], copy)
        else:
            copies[number] = Path(shutil.copy2(path, copy))
