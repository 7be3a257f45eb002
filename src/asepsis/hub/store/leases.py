"""Leases: two hubs never act twice.

A lease says who may do a background task until when. Its token grows with every change of holder
(a *fencing token*): whoever acts checks the token in the transaction of the act, so that a hub that
slept through its lease cannot act after another took it over, whatever their clocks say.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select, update

from asepsis.core.errors import AsepsisError, Conflict, TransientError
from asepsis.hub.store.store import Store
from asepsis.hub.store.tables import leases

log: Final = logging.getLogger("asepsis.hub.store")

LEASE_NS: Final = 15_000_000_000
"""How long a lease holds, and so the longest pause after a hub dies: 15 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to act.

    Attributes:
        name: The task.
        holder: The hub that may do it.
        token: Fencing token, from 1.
        expires_at_ns: Wall time after which another hub may take over.
    """

    name: str
    holder: str
    token: int
    expires_at_ns: int


def acquire(
    connection: Connection, name: str, *, holder: str, now_ns: int, lease_ns: int = LEASE_NS
) -> Lease | None:
    """Take, keep or take over a lease; None while another hub holds it."""
    row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    expires_at_ns = now_ns + lease_ns
    if row is None:
        lease = Lease(name=name, holder=holder, token=1, expires_at_ns=expires_at_ns)
        connection.execute(
            insert(leases).values(name=name, holder=holder, token=1, expires_at_ns=expires_at_ns)
        )
        return lease
    if row.holder != holder and now_ns < row.expires_at_ns:
        return None
    # A holder whose lease ran out gets a new token too: it cannot know who acted in between.
    kept = row.holder == holder and now_ns < row.expires_at_ns
    token = row.token if kept else row.token + 1
    connection.execute(
        update(leases)
        .where(leases.c.name == name)
        .values(holder=holder, token=token, expires_at_ns=expires_at_ns)
    )
    return Lease(name=name, holder=holder, token=token, expires_at_ns=expires_at_ns)


def check_held(connection: Connection, lease: Lease) -> None:
    """Let the act go on in this transaction, or raise.

    Raises:
        Conflict: Another hub took the lease over.
    """
    token = connection.execute(
        select(leases.c.token).where(leases.c.name == lease.name)
    ).scalar_one_or_none()
    if token != lease.token:
        raise Conflict(f"the lease {lease.name} was taken over")


def release(connection: Connection, lease: Lease) -> None:
    """Give a lease back early, so that another hub need not wait; harmless if it was lost."""
    connection.execute(
        update(leases)
        .where(leases.c.name == lease.name, leases.c.token == lease.token)
        .values(expires_at_ns=0)
    )


class LeasedTask:
    """Background work that one hub at a time does, again and again.

    Args:
        store: Where the lease stands.
        name: Name of the task, at most 60 characters.
        holder: Name of this hub process, different for each.
        work: One step; gets the lease and checks it in each transaction that acts.
        every_s: Pause between steps, in seconds; `wake` cuts it short.
        lease_ns: How long the lease holds; a step must take less.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        holder: str,
        work: Callable[[Lease], Awaitable[None]],
        every_s: float,
        lease_ns: int = LEASE_NS,
    ) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._work = work
        self._every_s = every_s
        self._lease_ns = lease_ns
        self._due = asyncio.Event()

    def wake(self) -> None:
        """Do the next step now; call it from the event loop."""
        self._due.set()

    async def step(self) -> bool:
        """Do one step if this hub holds or gets the lease; say whether it did.

        Raises:
            AsepsisError: What the work or the store raised.
        """
        lease = await self._store.write(
            lambda connection: acquire(
                connection,
                self._name,
                holder=self._holder,
                now_ns=self._store.clock(),
                lease_ns=self._lease_ns,
            )
        )
        if lease is None:
            return False
        await self._work(lease)
        return True

    async def run(self) -> None:
        """Do steps until cancelled; what failed is tried again after the pause."""
        while True:
            self._due.clear()
            try:
                await self.step()
            except (TransientError, Conflict) as error:
                # The store or journal is busy, or another hub took over: nothing was done twice.
                log.info("task %s waits: %s", self._name, error)
            except AsepsisError as error:
                # Vitals flow without this task; whoever reads the log repairs what it names.
                log.error("task %s cannot go on: %s %s", self._name, error.code, error)  # noqa: TRY400 - deliberate, no trace
            try:
                await asyncio.wait_for(self._due.wait(), self._every_s)
            except TimeoutError:
                continue
