"""The process of a local Prefect server: `python -m flows.prefect_api.server_process SOCKET_FD USERS_LOCK`.

Its life hangs on a lock file: every command that uses the server holds the lock shared, and once nobody does (they
ended, or were killed: the kernel then drops their locks), the server gets it exclusively and ends.
"""

import fcntl
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

END_SECONDS = 10.0  # for an orderly end; SQLite is safe against a harder one


def main(socket_fd: int, users_lock: Path) -> None:
    """Serves on the bound socket `socket_fd` until nobody holds `users_lock` any more."""
    os.umask(0o077)  # its database holds what flow runs log and are called with
    threading.Thread(target=_end_without_users, args=(users_lock,), name="users-watch", daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from configs.settings.settings import load_settings
    from flows.prefect_api.served_hosts import OnlyForThisMachine
    from flows.prefect_api.server_database import patient_database
    from gpu_worker.monitor.logs import use_logs

    with patient_database():
        config = uvicorn.Config(
            OnlyForThisMachine(create_app(final=True), behind=[get_current_settings().server.ui.api_url]),
            log_level=get_current_settings().server.logging_level.lower(),
            timeout_graceful_shutdown=3,
        )
        use_logs(load_settings())  # after uvicorn and Prefect have set up theirs
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=socket_fd)])


def _end_without_users(users_lock: Path) -> None:
    # Held until the process is gone, so that a new user waits for the end instead of meeting a dying server.
    descriptor = os.open(users_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
