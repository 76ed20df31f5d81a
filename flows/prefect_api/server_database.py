"""The database of a local Prefect server: SQLite without failures of concurrent requests."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.server.database.dependencies import temporary_database_config
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from typing_extensions import override


class PatientSqliteConfiguration(AioSqliteConfiguration):
    """SQLite configuration that takes the write lock at the start of every transaction.

    Prefect begins most transactions as reads. SQLite cannot turn a read into a write after another write, and fails at
    once, whatever its busy timeout: the API then answers 503, and the client waits two seconds or more before it
    retries. With four busy workers that took most of the time between two shards.
    """

    @override
    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        # A transaction within another, on its own connection, would wait for the outer lock for ever.
        outermost = SQLITE_BEGIN_MODE.get() is None
        immediate = with_for_update or outermost
        async with super().begin_transaction(session, with_for_update=immediate) as transaction:
            if not immediate:
                yield transaction
                return
            # This takes the lock. A session that only reads meanwhile, as after the pausing of a queue, begins in the
            # mode that it finds: it would wait for that lock.
            await session.connection()
            token = SQLITE_BEGIN_MODE.set("DEFERRED")
            try:
                yield transaction
            finally:
                SQLITE_BEGIN_MODE.reset(token)


@contextmanager
def patient_database() -> Iterator[None]:
    """Have the server's code of this process use PatientSqliteConfiguration."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    assert url is not None
    with temporary_database_config(PatientSqliteConfiguration(connection_url=url)):
        yield
