"""The database of a local Prefect server: SQLite, but no request fails because another one wrote."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.server.database.dependencies import temporary_database_config
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from typing_extensions import override


class PatientSqlite(AioSqliteConfiguration):
    """Takes the write lock at the start of every transaction.

    Prefect begins most of them as reads. SQLite cannot turn a read into a write once somebody else has written since,
    and says so at once, whatever its busy timeout: the API then answers 503, and the client waits two seconds and more
    before it asks again. With four busy workers that is what most of the time between two shards goes to.
    """

    @override
    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        # One within another, on a connection of its own, would wait for the outer one's lock for ever.
        outermost = SQLITE_BEGIN_MODE.get() is None
        immediate = with_for_update or outermost
        async with super().begin_transaction(session, with_for_update=immediate) as transaction:
            if not immediate:
                yield transaction
                return
            # The lock is taken by this. A session that only reads meanwhile, as to tell of a queue that was paused,
            # begins by the mode that it finds: it would wait for that lock.
            await session.connection()
            token = SQLITE_BEGIN_MODE.set("DEFERRED")
            try:
                yield transaction
            finally:
                SQLITE_BEGIN_MODE.reset(token)


@contextmanager
def patient_database() -> Iterator[None]:
    """Within it, the server's code of this process uses PatientSqlite."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    assert url is not None
    with temporary_database_config(PatientSqlite(connection_url=url)):
        yield
