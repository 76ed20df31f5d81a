"""`pixelmill up` where something is in its way."""

import fcntl
import socket
from pathlib import Path

import pytest

from tests.support.command import Pixelmill
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e


def test_a_home_has_one_up(tmp_path: Path) -> None:
    shell = Pixelmill(tmp_path)
    folder = shell.home / "prefect"
    folder.mkdir(parents=True)
    with (folder / "up.lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = shell("up")
    assert result.status == 1
    assert "runs already" in result.err
    assert "PIXELMILL_HOME" in result.err


def test_a_port_of_the_galleries_that_is_taken_is_told(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        galleries = taken.getsockname()[1]
        result = Pixelmill(tmp_path)("up", "--port", str(port), "--gallery-port", str(galleries))
    assert result.status == 1
    assert f"Port {galleries} cannot be used" in result.err
