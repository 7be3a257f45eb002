"""Brings the log to an audit repository: syslog over TLS, in order, each entry at least once.

Syslog has no acknowledgement. So a batch is a connection: what was sent counts as delivered only
when the receiver, after our end of the stream, ended its own: it has then read all of it. Whatever
happens before that, the batch is sent again, and the receiver knows a repetition by its `index`.

Source: RFC 5425 sections 4.2 (certificates), 4.3 (framing) and 4.4 (closure).
"""

import asyncio
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select, update

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.hub.audit import log
from asepsis.hub.audit.views import dicom
from asepsis.hub.audit.views.acts import view
from asepsis.hub.store.leases import Lease, LeasedTask, check_held
from asepsis.hub.store.store import Store
from asepsis.hub.store.tables import consumed

EVERY_S: Final = 2.0
"""Pause between looks for new entries, seconds."""
BATCH_MAX: Final = 200
CONNECT_S: Final = 5.0
ENDED_S: Final = 10.0
"""Longest wait for the receiver to end its side, seconds."""
_log: Final = logging.getLogger("asepsis.hub.audit")


class AuditRepository:
    """Where audit messages go.

    Args:
        host: Name or address; its certificate must name it.
        port: TCP port.
        ca_file: PEM with the repository's CA.
        chain_file: PEM of our certificate where the repository asks for one; empty for none.
        key_file: Its key.

    Raises:
        ConfigError: A file cannot be read or holds no certificate.
    """

    def __init__(
        self, host: str, port: int, *, ca_file: Path, chain_file: str = "", key_file: str = ""
    ) -> None:
        self._address = (host, port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(ca_file)
            if chain_file:
                context.load_cert_chain(chain_file, key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"audit repository: {error}") from error
        self._context = context

    def deliver(self, frames: bytes) -> None:
        """Send frames and wait until the repository has read them; blocks.

        Raises:
            Unavailable: It did not, or nobody knows; send them again.
        """
        try:
            with socket.create_connection(self._address, CONNECT_S) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                host = self._address[0]
                with self._context.wrap_socket(plain, server_hostname=host) as secured:
                    secured.settimeout(ENDED_S)
                    secured.sendall(frames)
                    _end(secured)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(
                f"the audit repository did not take the messages ({type(error).__name__})"
            ) from error


class AuditForwarder:
    """Forwards entries by one hub at a time, behind a durable cursor.

    Args:
        store: Log and cursor.
        repository: Where to.
        name: Name of the repository: the cursor's.
        hub: Name of this hub, for the receiver.
        holder: Name of this process.
    """

    def __init__(
        self, store: Store, repository: AuditRepository, *, name: str, hub: str, holder: str
    ) -> None:
        self._store = store
        self._repository = repository
        self._consumer = f"audit-{name}"
        self._hub = hub
        self.waiting = False
        self.task = LeasedTask(
            store, self._consumer, holder=holder, work=self.step, every_s=EVERY_S
        )

    async def run(self) -> None:
        """Forward until cancelled."""
        await self.task.run()

    async def step(self, lease: Lease) -> None:
        """Forward what is new, at most one batch a connection."""
        while True:
            count = await self._store.read(self._cursor)
            entries = await self._store.read(
                lambda c, after=count - 1: log.page(c, after=after, entries_max=BATCH_MAX)
            )
            if not entries:
                return
            frames = b"".join(
                dicom.syslog(view(entry), hub=self._hub, process=os.getpid()) for entry in entries
            )
            try:
                await asyncio.to_thread(self._repository.deliver, frames)
            except Unavailable as error:
                if not self.waiting:
                    _log.warning("audit messages wait: %s", error)
                self.waiting = True
                return
            self.waiting = False
            await self._store.write(
                lambda c, done=entries[-1].index + 1: self._advance(c, lease, done)
            )

    def _cursor(self, connection: Connection) -> int:
        found = connection.execute(
            select(consumed.c.event_id).where(consumed.c.consumer == self._consumer)
        ).scalar_one_or_none()
        return found or 0

    def _advance(self, connection: Connection, lease: Lease, count: int) -> None:
        check_held(connection, lease)
        changed = connection.execute(
            update(consumed).where(consumed.c.consumer == self._consumer).values(event_id=count)
        )
        if not changed.rowcount:
            connection.execute(insert(consumed).values(consumer=self._consumer, event_id=count))


def _end(secured: ssl.SSLSocket) -> None:
    """End our side and wait until the receiver has ended its own."""
    try:
        secured.unwrap()
    except ssl.SSLEOFError:
        return  # It closed without saying good-bye, but after reading our end of the stream.
    except ssl.SSLError as error:
        if error.reason != "APPLICATION_DATA_AFTER_CLOSE_NOTIFY":
            raise
