"""A process that stays and answers requests, one JSON object a line each way: so that a clock leaves its start out."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

END_SECONDS = 30.0

Message = dict[str, Any]


class BenchmarkFailed(Exception):
    """The measured work failed: there are no figures."""


class Resident:
    """This end of a process `python -m module …` that calls `serve`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        """Starts the process and waits until it is ready. Raises BenchmarkFailed if it is not going to be."""
        self._log = log
        with log.open("wb") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.process = psutil.Process(self._popen.pid)
        self.reply()

    def send(self, request: Message) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(request) + "\n")
        self._popen.stdin.flush()

    def has_replied(self, seconds: float) -> bool:
        """Waits at most that long for a reply."""
        assert self._popen.stdout is not None
        return bool(select.select([self._popen.stdout], [], [], seconds)[0])

    def reply(self) -> Message:
        """Waits for the reply. Raises BenchmarkFailed with the end of the log if the process has ended."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"a process ended: {self._log.read_text(errors='replace')[-2000:]}")
        reply: Message = json.loads(line)
        return reply

    def ask(self, request: Message) -> Message:
        self.send(request)
        return self.reply()

    def close(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        end(self._popen)


def serve(prepare: Callable[[], Callable[[Message], Message]]) -> None:
    """Prepare, and answer each request by what `prepare` returned, until standard input ends.

    Prints go to standard error.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: Message) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    answer = prepare()
    send({"ready": True})
    for line in sys.stdin:
        send(answer(json.loads(line)))


def end(process: "subprocess.Popen[Any]") -> None:
    """Ends a process in order, or else by force."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
