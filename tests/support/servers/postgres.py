"""A PostgreSQL for tests: the one at PIXELMILL_TEST_POSTGRES_URL, or a throw-away one if its programs are there."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.support.ports import free_port


def binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: on the path, or where Debian puts it."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextmanager
def postgres_server(password: str | None = None) -> Iterator[str]:
    """URL of a server's maintenance database, whose user may create databases. Raises LookupError without one.

    With `password` it is a throw-away server that asks for it.
    """
    given = os.environ.get("PIXELMILL_TEST_POSTGRES_URL")
    if given and password is None:
        yield given
        return
    folder = binaries()
    if folder is None:
        raise LookupError("no PostgreSQL: set PIXELMILL_TEST_POSTGRES_URL, or install its server")
    with tempfile.TemporaryDirectory(prefix="pixelmill-pg-", ignore_cleanup_errors=True) as place:
        data, port = Path(place, "data"), free_port()
        if os.geteuid() == 0:
            shutil.chown(place, "postgres")
        secret = Path(place, "password")
        secret.write_text(password or "unasked")
        secret.chmod(0o644)
        rules = ("-A", "trust") if password is None else ("-A", "scram-sha-256", "--pwfile", secret)
        _run(folder / "initdb", "-D", data, "-U", "pixelmill", *rules, "-N", "-E", "UTF8", "--locale=C")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {place} -c fsync=off -c max_connections=50"
        _run(folder / "pg_ctl", "-D", data, "-w", "-l", Path(place, "log"), "-o", options, "start")
        try:
            user = "pixelmill" if password is None else f"pixelmill:{quote(password, safe='')}"
            yield f"postgresql://{user}@127.0.0.1:{port}/postgres"
        finally:
            _run(folder / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def _run(*command: object) -> None:
    # PostgreSQL refuses to run as root.
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run(
        [*prefix, *map(str, command)], check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
