"""No process outlives the one that started it, however that ends.

`python -m gpu_worker.monitor.parent_death PARENT COMMAND…` becomes that command, for programs that know nothing of
this: the death of their parent PARENT sends them SIGTERM.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Has the kernel send this process the signal when its parent `parent` dies; exits if it is dead already.

    Works while a native call keeps every Python thread from running. Strictly, it is the death of the thread that
    started this process. Linux only; a no-op elsewhere.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)  # it died before the call


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), signal.SIGTERM)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell; what the kernel was told holds for it as well
