"""A Prefect database with its tables: Prefect's migrations take longer than the rest of a server's start.

Tests of the start itself begin without.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from configs.settings.privacy import own_folder, private_folder

_MAKE = """
import sqlite3, sys
from pathlib import Path
from configs.settings.settings import Settings
from flows.prefect_api.server import DATABASE, local_server

home = Path(sys.argv[1])
with local_server(Settings(home=home)):
    sqlite3.connect(home / "prefect" / DATABASE).execute("VACUUM INTO ?", (sys.argv[2],))
"""


def give_prefect_database(home: Path) -> None:
    """Puts the database of a server that was just started for the first time into a home that has none."""
    from flows.prefect_api.server import DATABASE

    target = home / "prefect" / DATABASE
    if target.exists():
        return
    own_folder(home)
    own_folder(target.parent)
    shutil.copyfile(_template(), target)
    target.chmod(0o600)


def _template() -> Path:
    """Returns the database that all runs of the tests on this machine share, made when the first of them needs it."""
    folder = Path(tempfile.gettempdir()) / f"pixelmill-tests-{os.getuid()}"
    private_folder(folder)
    template = folder / f"prefect-{version('prefect')}.db"
    with FileLock(template.with_suffix(".lock")):
        if not template.exists():
            with tempfile.TemporaryDirectory(dir=folder) as home:
                made = Path(home) / "made.db"
                environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
                subprocess.run([sys.executable, "-c", _MAKE, home, str(made)], env=environment, check=True, timeout=300)
                made.rename(template)
    return template
