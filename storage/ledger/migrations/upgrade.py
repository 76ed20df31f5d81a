"""Migration of a database to the newest schema from the packaged scripts; no alembic.ini is needed.

A new migration is a file in `versions/`; tests compare what the migrations make with `storage/ledger/tables.py`. One
that was ever on the main branch is never edited: there are ledgers that it made. There is no way down: a copy is the
way back.
"""

from enum import Enum
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


class SchemaState(Enum):
    CURRENT = "current"
    BEHIND = "behind"
    UNKNOWN = "unknown"  # a revision that these migrations do not have: the database is newer than the program


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def _revisions() -> list[str]:
    """Return the packaged revisions, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def schema_state(connection: Connection) -> SchemaState:
    """Compare the database with the newest migration."""
    current = MigrationContext.configure(connection).get_current_revision()
    if current == _revisions()[0]:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if current is None or current in _revisions() else SchemaState.UNKNOWN


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the missing migrations in the caller's transaction. Not safe to call from two threads at once."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
