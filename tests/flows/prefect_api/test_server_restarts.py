"""A local server that cannot be started again: tried for as long as it is needed, less and less often."""

import time
from pathlib import Path

import pytest

from configs.failures import RestartPolicy
from configs.settings.settings import Settings
from flows.prefect_api import server
from flows.prefect_api.api import ServerError


def test_tries_to_start_it_again_come_at_growing_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    def fail(*_: object, **__: object) -> None:
        tries.append(time.monotonic())
        raise ServerError("its database is damaged")

    (tmp_path / "prefect").mkdir()
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(server, "REVIVALS", RestartPolicy(first_seconds=0.05, longest_seconds=10.0))
    monkeypatch.setattr(server, "_is_alive", lambda pid: False)
    monkeypatch.setattr(server, "_start", fail)
    with server._kept_alive(server._Server(pid=1, port=1, ui=False, start=""), Settings(home=tmp_path), 1.0):
        time.sleep(0.5)
    assert 3 <= len(tries) <= 4  # at 0, 0.05, 0.15 and 0.35 s
