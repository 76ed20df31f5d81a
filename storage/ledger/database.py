"""The ledger's database: connections, transactions that are repeated after conflicts, migrations."""

import itertools
import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Delete, Engine, Update, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlmodel import Session, SQLModel

from configs.failures import PixelmillError, RestartPolicy
from configs.settings.privacy import private_file, private_folder

log = logging.getLogger(__name__)

SLICE = 500  # values in one IN (...): SQLite allows 32,766 variables, older builds 999

_BUSY_SECONDS = 30  # how long SQLite itself waits for the writer before it gives up
_PATIENCE = 60.0  # seconds that one transaction is tried for: the restart of a database server fits in
_OPENING_PATIENCE = 10.0  # when it is opened, so that a wrong address is reported soon
_RETRIES = RestartPolicy(first_seconds=0.2, longest_seconds=5.0)
# A server that is being started, stopped or moved refuses connections before it has a code for why. A container's name
# is unknown while it is away.
_AWAY = re.compile(
    r"refused|starting up|shutting down|recovery mode|not yet accepting|timeout expired|timed out|closed the connection"
    r"|reset by peer|broken pipe|no route to host|unreachable|resolve host|translate host name|too many clients"
    r"|connection slots",
    re.IGNORECASE,
)
_SERIALIZATION = {"40001", "40P01", "55P03"}  # PostgreSQL: serialization failure, deadlock, lock not available
_UNDEFINED = {"42P01", "42703"}  # PostgreSQL: table, column
_ADVICE = {
    "SQLITE_FULL": "its disk is full: free space",
    "SQLITE_IOERR_SHMSIZE": "its disk is full: free space",  # not even to be read: readers share a file beside it
    "SQLITE_READONLY": "its file or folder is read-only: let this user write there, or choose another PIXELMILL_HOME",
    "53100": "its disk is full: free space",
    "25006": "the database is read-only: connect to the primary server",
    "42501": "permission denied: let this user write its tables",
}
_MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 7_266_455_377  # any number, the same for all: PostgreSQL's advisory lock of the migrations
# A new migration is a file in `migrations/versions/`; tests compare what the migrations make with `tables.py`. One that
# was ever on the main branch is never edited: there are ledgers that it made. There is no way down: a copy is the way
# back. Unknown is a revision that these migrations do not have: the database is newer than the program.
SchemaState = Literal["current", "behind", "unknown"]

_T = TypeVar("_T")
_P = ParamSpec("_P")
_R = TypeVar("_R", bound="Repository")

# Alembic keeps the migration under way in module globals.
_migrating = threading.Lock()


class LedgerError(PixelmillError):
    """Raised if the ledger's database cannot be used; the message names what to change."""


class Database:
    """One SQLite file or PostgreSQL database, its tables up to date."""

    def __init__(self, url: str, *, patient: bool = False) -> None:
        self.url = accepted_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        if self.sqlite and self.url.database:
            _make_private(Path(self.url.database).expanduser())
        self._engine = _make_engine(self.url)
        self._pid = os.getpid()
        try:
            patience = _PATIENCE if patient else _OPENING_PATIENCE
            self._repeated(self._migrate, lost_connection=True, patience=patience)
        except SQLAlchemyError as error:
            self.close()
            cause = getattr(error, "orig", None) or error
            raise LedgerError(
                f"The ledger {self.name} cannot be opened: {cause}. Check PIXELMILL_LEDGER_URL."
            ) from error

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session with one consistent view (SQLite), or one for each statement (PostgreSQL)."""
        with Session(self._connectable()) as session:
            yield session

    def read(self, query: Callable[[Session], _T]) -> _T:
        """Run `query`, and repeat it if the connection was lost."""

        def attempt() -> _T:
            with self.reading() as session:
                return query(session)

        return self._repeated(attempt, lost_connection=True)

    def write(self, work: Callable[[Session], _T], *, repeatable: bool = True) -> _T:
        """Run `work` in one transaction, repeated from its start after conflicts with others.

        `repeatable`: `work` may run once more after a connection was lost while it may have been committed.
        """

        def attempt() -> _T:
            # BEGIN IMMEDIATE takes SQLite's write lock at once: a lock taken later fails instead of waiting.
            bind = self._connectable().execution_options(sqlite_begin="BEGIN IMMEDIATE")
            with Session(bind) as session, session.begin():
                return work(session)

        return self._repeated(attempt, lost_connection=repeatable)

    def insert(self, table: type[SQLModel]) -> Any:
        """Return an INSERT of this database's dialect, with ON CONFLICT."""
        return sqlite.insert(table) if self.sqlite else postgresql.insert(table)

    def _connectable(self) -> Engine:
        if self._pid != os.getpid():  # a forked child must not use its parent's connections
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        return self._engine

    def _repeated(self, attempt: Callable[[], _T], *, lost_connection: bool, patience: float | None = None) -> _T:
        deadline = time.monotonic() + (_PATIENCE if patience is None else patience)
        for number in itertools.count(1):
            try:
                return attempt()
            except DBAPIError as error:
                if (advice := _advice(error)) is not None:
                    raise LedgerError(f"The ledger {self.name} cannot be written: {advice}.") from error
                if (lack := _lack(error)) is not None:
                    self._compare_schema(error)
                    raise LedgerError(
                        f"The ledger {self.name} does not match its own version: {lack}. Put back a copy of "
                        "it; without one, move it away and run the jobs again."
                    ) from error
                if not (_in_the_way(error) or (lost_connection and _lost(error))) or time.monotonic() > deadline:
                    raise
                log.info("The ledger is busy or away, attempt %d: %s", number, type(error.orig).__name__)
            time.sleep(_RETRIES.jittered_pause(number))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _compare_schema(self, cause: Exception | None = None) -> SchemaState:
        """Raise LedgerError if a newer Pixelmill has migrated the database, maybe while this process uses it."""
        with self._connectable().connect() as connection:
            state = schema_state(connection)
        if state == "unknown":
            raise LedgerError(f"The ledger {self.name} was made by a newer Pixelmill: upgrade this one.") from cause
        return state

    def _migrate(self) -> None:
        if self._compare_schema() == "current":
            return
        # The write lock, or the advisory lock, makes processes that start together wait for the first of them.
        begin = self._connectable().execution_options(sqlite_begin="BEGIN IMMEDIATE")
        with _migrating, begin.begin() as connection:
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            upgrade(connection)


@cache
def revisions() -> list[str]:
    """Return the packaged revisions, the oldest first: the numbers that the migrations' files begin with."""
    return sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def schema_state(connection: Connection) -> SchemaState:
    """Compare the database with the newest migration."""
    # Read here and not by Alembic, whose import takes longer than most commands: only migrating needs it.
    known = inspect(connection).has_table("alembic_version")
    current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None
    if current == revisions()[-1]:
        return "current"
    return "behind" if current is None or current in revisions() else "unknown"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the missing migrations in the caller's transaction. Not safe to call from two threads at once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


class Repository:
    """Base of the classes that hold the ledger's queries, one class for each subject.

    Their methods take a session as first argument, which the decorators below provide: callers leave it out.
    """

    def __init__(self, database: Database) -> None:
        self.database = database


def query(method: Callable[Concatenate[_R, Session, _P], _T]) -> Callable[Concatenate[_R, _P], _T]:
    """Make a method read the database; repeat it if the connection was lost."""

    @wraps(method)
    def read(repository: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return repository.database.read(lambda session: method(repository, session, *args, **kwargs))

    return read


def transaction(method: Callable[Concatenate[_R, Session, _P], _T]) -> Callable[Concatenate[_R, _P], _T]:
    """Make a method one transaction that can be repeated at any time, even if it may have been committed."""
    return _writing(method, repeatable=True)


def single_transaction(method: Callable[Concatenate[_R, Session, _P], _T]) -> Callable[Concatenate[_R, _P], _T]:
    """Make a method one transaction that is not repeated once it may have been committed."""
    return _writing(method, repeatable=False)


def _writing(
    method: Callable[Concatenate[_R, Session, _P], _T], *, repeatable: bool
) -> Callable[Concatenate[_R, _P], _T]:
    @wraps(method)
    def write(repository: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return repository.database.write(
            lambda session: method(repository, session, *args, **kwargs), repeatable=repeatable
        )

    return write


def upsert(insert: Any, columns: Iterable[str], *, where: Any = None) -> Any:
    """Let an INSERT replace these columns where its primary key is known, if `where` holds."""
    keys = [column.name for column in insert.table.primary_key]
    changed = {name: insert.excluded[name] for name in columns}
    return insert.on_conflict_do_update(index_elements=keys, set_=changed, where=where)


def slices(values: Iterable[_T], size: int = SLICE) -> Iterator[list[_T]]:
    """Yield the values in slices, by default such that fit into one `IN (...)`."""
    values = iter(values)
    while some := list(itertools.islice(values, size)):
        yield some


def change(session: Session, statement: Update | Delete) -> int:
    """Execute it without a look for its rows among the session's objects. Return the number of rows."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def accepted_url(url: str) -> URL:
    """Return the URL of a ledger with its driver, without connecting. Raises LedgerError for an unusable URL."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError(
            "PIXELMILL_LEDGER_URL is not a database URL. Write sqlite:////folder/ledger.db or "
            "postgresql://user:password@host/database."
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise LedgerError(f"The ledger cannot be kept in {parsed.get_backend_name()}: use sqlite or postgresql.")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LedgerError("The ledger must be a file that other processes can open: write sqlite:////folder/ledger.db.")
    return parsed


def _make_private(file: Path) -> None:
    """Create the ledger's missing folder and file for this user alone, which SQLite does not do."""
    try:
        private_folder(file.parent)
    except OSError as error:
        message = f"The ledger's folder {file.parent} cannot be made: {error.strerror}. Set PIXELMILL_HOME."
        raise LedgerError(message) from error
    with suppress(OSError):  # SQLite reports the reason better
        private_file(file)


def _make_engine(url: URL) -> Engine:
    options: dict[str, Any] = {"json_serializer": to_json, "hide_parameters": True}
    try:
        if url.get_backend_name() == "sqlite":
            engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, **options)
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        return create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": 10, "application_name": "pixelmill"}, **options
        )
    except NoSuchModuleError as error:
        raise LedgerError(f"{error}. Write postgresql://user:password@host/database.") from error
    except ModuleNotFoundError as error:
        raise LedgerError("PostgreSQL needs its driver: install pixelmill[postgres].") from error


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin with `_begin_sqlite`, not where the driver guesses
    cursor = connection.cursor()
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _advice(error: DBAPIError) -> str | None:
    """Return what the user has to change before anything can be written, or None."""
    names = (str(getattr(error.orig, "sqlite_errorname", "")), getattr(error.orig, "sqlstate", None) or "")
    return next((_ADVICE[name] for name in names if name in _ADVICE), None)


def _in_the_way(error: DBAPIError) -> bool:
    """Return whether the transaction was rolled back because of another one."""
    state = getattr(error.orig, "sqlstate", None)
    code = str(getattr(error.orig, "sqlite_errorname", ""))
    return state in _SERIALIZATION or code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _lack(error: DBAPIError) -> str | None:
    """Return the message about a missing table or column, or None."""
    message = str(error.orig).partition("\n")[0]
    state = getattr(error.orig, "sqlstate", None)
    return message if state in _UNDEFINED or message.startswith(("no such table", "no such column")) else None


def _lost(error: DBAPIError) -> bool:
    """Return whether the server is gone, starting or stopping; not for a wrong password or database."""
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or (state or "").startswith("57P"):
        return True
    return isinstance(error, OperationalError) and state is None and bool(_AWAY.search(str(error.orig)))


def to_json(value: Any) -> str:
    """Return JSON that every database accepts: NaN and infinity become null."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
