"""What a container engine does to a process, as far as the kernel does it for us without one.

A process-number space and a host name of its own, a read-only file system but for its volumes, no capabilities, no way
to gain any, and a user that is not root. No network of its own: services have addresses of the loopback network.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

USER = 10001  # of our images
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--")
_TRIED = "mount --make-rprivate / && mount -o remount,bind,ro / && hostname box && setpriv --no-new-privs true"


@dataclass(frozen=True)
class Confinement:
    """How much a service may do: what its image and its entry in the compose file say."""

    user: str  # name or number; 0: root, without capabilities
    writable: tuple[Path, ...]


@cache
def obstacle() -> str | None:
    """Why processes cannot be confined here; None if they can."""
    if os.geteuid() != 0:
        return "only root may confine processes"
    missing = [tool for tool in ("unshare", "setpriv", "hostname", "mount") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    done = subprocess.run([*_UNSHARE, "sh", "-c", _TRIED], check=False, capture_output=True, text=True)
    return None if done.returncode == 0 else f"the kernel refuses: {done.stderr.strip()}"


def confined(command: Sequence[str], hostname: str, confinement: Confinement) -> list[str]:
    """The command that runs `command` confined. Whoever kills its first process kills all that it started."""
    places = [shlex.quote(str(path)) for path in confinement.writable]
    script = [f"hostname {shlex.quote(hostname)}", "mount --make-rprivate /"]
    script += [f"mount --bind {place} {place}" for place in places]
    script.append("mount -o remount,bind,ro /")
    user = confinement.user
    change = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    change += ["--bounding-set=-all", "--inh-caps=-all"]
    script.append(f"exec {shlex.join([*change, *command])}")
    return [*_UNSHARE, "sh", "-ec", "\n".join(script)]


def may_run(program: Path, user: int) -> bool:
    """Whether that user can start the program: an interpreter below root's home is root's alone."""
    if os.geteuid() != 0:
        return True
    # Twice: setpriv itself still has root's rights when it starts the first one.
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass'], check=True)"
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", str(program), "-c", again]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
