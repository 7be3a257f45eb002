"""The unit of work: state, its audit entry and its event change together or not at all."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, insert, update
from sqlalchemy.exc import SQLAlchemyError

from asepsis.hub.store.engine import CONNECTIONS_MAX, begin, open_engine, translate
from asepsis.hub.store.sealed import ColumnSealer, bind_sealer
from asepsis.hub.store.tables import counters

T = TypeVar("T")


class Store:
    """The hub's state on SQLite or PostgreSQL.

    Args:
        url: `sqlite:///<file>` or `postgresql+psycopg://...`.
        sealer: Key of the sealed columns.
        clock: Wall time in nanoseconds since 1970.

    Raises:
        ConfigError: The URL names no engine that we support.

    Resource handling:
        Holds up to `CONNECTIONS_MAX` connections and as many threads until `close`.
    """

    def __init__(self, url: str, sealer: ColumnSealer, clock: Callable[[], int]) -> None:
        self.engine = open_engine(url)
        self.sealer = sealer
        self.clock = clock
        bind_sealer(self.engine.dialect, sealer)
        self._threads = ThreadPoolExecutor(CONNECTIONS_MAX, thread_name_prefix="store")

    @contextmanager
    def unit_of_work(self) -> Generator[Connection]:
        """Open the one writing transaction; it commits at the end of the block or rolls back.

        Raises:
            Conflict: The change contradicts what is stored.
            InputError: A value does not fit its column.
            Unavailable: The database is locked, full or out of reach; nothing was changed.
        """
        with self._transaction(read_only=False) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Open a consistent view; it waits for nobody.

        Raises:
            Unavailable: The database is out of reach.
        """
        with self._transaction(read_only=True) as connection:
            yield connection

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a unit of work on a thread of the store; errors as `unit_of_work`.

        Cancelling the caller does not stop the thread: what it does, it does wholly.
        """

        def call() -> T:
            with self.unit_of_work() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent view on a thread of the store; errors as `reading`."""

        def call() -> T:
            with self.reading() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Wait for running work and close every connection."""
        self._threads.shutdown()
        self.engine.dispose()

    @contextmanager
    def _transaction(self, *, read_only: bool) -> Generator[Connection]:
        try:
            with self.engine.connect() as connection, connection.begin():
                begin(connection, read_only=read_only)
                yield connection
        except SQLAlchemyError as error:
            raise translate(error) from error


def next_number(connection: Connection, counter: str) -> int:
    """Return the next number of a counter, from 1, without holes and in the order of commits.

    Both hold because a unit of work is the only writer: a number that was taken is committed
    before the next is given, or rolled back with its transaction.
    """
    taken = connection.execute(
        update(counters)
        .where(counters.c.name == counter)
        .values(value=counters.c.value + 1)
        .returning(counters.c.value)
    ).scalar_one_or_none()
    if taken is None:
        connection.execute(insert(counters).values(name=counter, value=1))
        return 1
    return taken
