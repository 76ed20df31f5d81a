"""The end of a process together with its parent, however that ends.

`python -m gpu_worker.monitor.parent_death PARENT COMMAND…` becomes that command, for other programs: the death of
their parent PARENT sends them SIGTERM.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process the signal when its parent `parent` dies; exit if that is dead already.

    Works even while a native call blocks every Python thread. Strictly, it is the death of the thread that started
    this process. Linux only; does nothing elsewhere.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)  # it died before the call


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), signal.SIGTERM)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell; the kernel's setting outlasts exec
