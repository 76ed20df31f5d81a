"""The identity of this process, as a text by which another process can check whether it still runs."""

import os
import secrets
import socket
from functools import cache
from pathlib import Path
from typing import NamedTuple

from storage.objects.keys import sha256_hex


class LeaseOwner(NamedTuple):
    """A process. `machine` identifies kernel and container; `start` distinguishes processes of the same number."""

    machine: str
    pid: int
    start: str
    nonce: str

    def __str__(self) -> str:
        return "/".join(str(part) for part in self)

    @property
    def place(self) -> str:
        """Host and process number, for messages."""
        return f"{self.machine.rpartition('-')[0]}, process {self.pid}"


def this_process() -> LeaseOwner:
    """Return the identity of this process: constant for its life; a forked child has its own."""
    return _process(os.getpid())


def read_owner(text: str) -> LeaseOwner:
    """Parse what `str` returns."""
    machine, pid, start, nonce = text.rsplit("/", 3)
    return LeaseOwner(machine, int(pid), start, nonce)


def is_dead(owner: LeaseOwner) -> bool:
    """Return whether the process has certainly ended; False for processes that cannot be seen from here."""
    return owner.machine == _machine() and process_start(owner.pid) != owner.start


@cache
def _process(pid: int) -> LeaseOwner:
    return LeaseOwner(_machine(), pid, process_start(pid), secrets.token_hex(4))


@cache
def _machine() -> str:
    # Containers may share a host's name, and numbers of processes repeat from one to the next.
    here = [_text("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")]
    return f"{socket.gethostname()}-{sha256_hex(' '.join(here).encode())[:8]}"


def process_start(pid: int) -> str:
    """Return the process's start in ticks since boot, or "" if there is none or it is a zombie."""
    if not Path("/proc/self/stat").exists():  # no Linux: whether it is there is all that can be known
        return "?" if _exists(pid) else ""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
