"""A stage that lasts is shown, and one that does not is not."""

import io
import threading

import pytest
from rich.console import Console

from flows.cli import progress
from flows.cli.progress import stages
from tests.support.waiting import PATIENCE


class Watched(io.StringIO):
    """Standard error that tells when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


@pytest.mark.parametrize("terminal", [False, True])
def test_a_stage_that_lasts_is_shown(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    file = Watched()
    with stages(Console(file=file, force_terminal=terminal, width=100)) as log:
        log("loading [bold]the model")
        assert file.written.wait(PATIENCE)
    assert "loading [bold]the model" in file.getvalue()


def test_nothing_is_shown_of_what_is_soon_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 600.0)
    file = Watched()
    with stages(Console(file=file, force_terminal=True, width=100)) as log:
        for stage in ("one", "two", "three"):
            log(stage)
    assert "two" not in file.getvalue()
    assert not any(thread.name == "stages" for thread in threading.enumerate())
