"""Signed tree heads, at an interval and on demand, by one hub at a time."""

from typing import Final

from sqlalchemy import Connection, insert

from asepsis.core.errors import NotFound
from asepsis.core.trust.signer_values import TreeHead
from asepsis.hub.audit import log
from asepsis.hub.audit.ports import HeadSigner
from asepsis.hub.audit.rules import SignedHead
from asepsis.hub.store.leases import Lease, LeasedTask, check_held
from asepsis.hub.store.store import Store

EVERY_S: Final = 60.0
"""Pause between signed heads; what happened since the last one could be rewritten by root."""


class AuditService:
    """Has the log's state signed, so that nobody with the database alone can rewrite it.

    Args:
        store: Where the log stands.
        signer: Signs tree heads, such as `SignerClient`.
        holder: Name of this hub process.
        every_s: Pause between heads, in seconds.
    """

    def __init__(
        self, store: Store, signer: HeadSigner, *, holder: str, every_s: float = EVERY_S
    ) -> None:
        self._store = store
        self._signer = signer
        self.task = LeasedTask(store, "audit-head", holder=holder, work=self._step, every_s=every_s)

    async def sign_head(self, lease: Lease | None = None) -> SignedHead:
        """Have the present state signed; a state that was signed before is answered as it was.

        Raises:
            NotFound: The log is empty.
            Conflict: The signer has seen a longer or another log: this one was rewritten.
            Unavailable: The signer or the store does not answer.
        """
        newest, count, root = await self._store.read(_present)
        if newest is not None and newest.size == count:
            return newest
        if not count:
            raise NotFound("the audit log is empty")
        head = TreeHead(size=count, root=root, timestamp_ns=self._store.clock())
        signature = await self._signer.sign_tree_head(head)
        return await self._store.write(lambda c: _keep(c, head, signature, lease))

    async def run(self) -> None:
        """Sign heads until cancelled."""
        await self.task.run()

    async def _step(self, lease: Lease) -> None:
        if await self._store.read(log.size):
            await self.sign_head(lease)


def _present(connection: Connection) -> tuple[SignedHead | None, int, bytes]:
    newest = log.signed_heads(connection, last=1)
    count = log.size(connection)
    return (newest[0] if newest else None), count, log.root(connection, count)


def _keep(
    connection: Connection, head: TreeHead, signature: bytes, lease: Lease | None
) -> SignedHead:
    if lease is not None:
        check_held(connection, lease)
    newest = log.signed_heads(connection, last=1)
    if newest and newest[0].size >= head.size:
        return newest[0]  # Somebody asked at the same time; one signature is enough.
    connection.execute(
        insert(log.heads).values(
            size=head.size, root=head.root, at_ns=head.timestamp_ns, signature=signature
        )
    )
    return SignedHead(
        size=head.size,
        root=head.root.hex(),
        at_ns=head.timestamp_ns,
        signature=signature.hex(),
    )
