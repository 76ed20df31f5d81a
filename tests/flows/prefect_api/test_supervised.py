"""Processes that a command keeps running: they end with it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import PATIENCE, wait_for

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
        (kept,) = wait_for(lambda: _kept(keeper))
        keeper.send_signal(signal.SIGKILL)
    kept.wait(PATIENCE)  # raises if it goes on


def _kept(keeper: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    children = psutil.Process(keeper.pid).children()
    return [child for child in children if "import time; time.sleep(600)" in child.cmdline()]
