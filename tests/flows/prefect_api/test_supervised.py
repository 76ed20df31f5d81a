"""Processes that a command keeps running: they end with it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.shells import wait_until

pytestmark = pytest.mark.parts

KEEPER = """
import os, sys, time
from pathlib import Path
from flows.prefect_api.workers import supervised
command = [sys.executable, "-c", "import time; time.sleep(600)"]
with supervised(command, os.environ, Path(sys.argv[1])):
    time.sleep(600)
"""


def test_a_supervised_process_does_not_outlive_a_command_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path / "log")]) as keeper:
        wait_until(lambda: bool(_kept(keeper)), 30)
        (kept,) = _kept(keeper)
        keeper.send_signal(signal.SIGKILL)
    kept.wait(10)  # raises if it goes on


def _kept(keeper: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return [child for child in psutil.Process(keeper.pid).children() if "time.sleep(600)" in str(child.cmdline()[-1])]
