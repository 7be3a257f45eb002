"""Fills the ports of the features from one another; only the composition root knows both sides."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asepsis.core.errors import IdentityRevoked, NotFound
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.exchange.lease import LEASE_MS_MAX
from asepsis.hub.exchange.ports import DeviceFacts
from asepsis.hub.registry.book import IdentityBook
from asepsis.hub.store.store import Store


@dataclass(frozen=True, slots=True)
class BookDirectory:
    """The identity book as the exchange's `Directory`.

    Attributes:
        book: Who may enter and what is known of them.
        clock: Wall time, nanoseconds since 1970.
    """

    book: IdentityBook
    clock: Callable[[], int] = time.time_ns

    def device(self, name: str) -> DeviceFacts:
        """Return the facts of an admitted device.

        A device that has no identity of its own, but stands on a gateway's declared list, is
        admitted by the person who declared it.

        Raises:
            NotFound: Unknown or revoked.
        """
        try:
            entry = self.book.device(name)
        except IdentityRevoked as error:
            raise NotFound("not an admitted device") from error
        except NotFound:
            if not self.book.delegations.is_declared(name):
                raise
            return DeviceFacts(
                name=name,
                lease_ms=LEASE_MS_MAX,
                has_origin_key=False,
                origin_required=False,
                period_s=self.book.delegations.period_s(name),
            )
        return DeviceFacts(
            name=name,
            lease_ms=entry.lease_ms,
            has_origin_key=entry.origin_spki is not None,
            origin_required=entry.origin_required,
        )

    def origin_key(self, name: str, key_id: bytes) -> bytes:
        """Return the SPKI DER of a registered origin key.

        Raises:
            NotFound: No such key.
            IdentityRevoked: The device is revoked.
        """
        return self.book.origin_key(name, key_id)

    def observed(self, gateway: str, device: str) -> bool:
        """Whether a person declared that the gateway itself ends the device's own connection."""
        return self.book.delegations.observed(gateway, device)

    def check_source(self, gateway: str, message_type: str) -> None:
        """Let a message type pass that only a named source may bring.

        Raises:
            NotPermitted: Nobody named this gateway.
        """
        self.book.delegations.check_message(gateway, message_type, now_ns=self.clock())

    def check_type(self, gateway: str, device: str, what: str) -> None:
        """Let a message type or lane of a device pass.

        Raises:
            NotPermitted: The delegation does not name it.
        """
        self.book.delegations.check_type(gateway, device, what)


@dataclass(frozen=True, slots=True)
class StoreAudit:
    """The audit log as the exchange's `Audit`.

    Attributes:
        store: Where it stands.
        log: Writes entries.
    """

    store: Store
    log: AuditLog

    async def record(self, *, actor: str, action: str, subject: str, outcome: str) -> None:
        """Write one refused attempt."""
        act = Act(actor=actor, action=action, subject=subject, outcome=outcome)
        await self.store.write(lambda connection: self.log.record(connection, act))

    async def report(self, *, device: str, action: str, detail: Mapping[str, Any]) -> None:
        """Write what a device reported of itself."""
        actor = f"device:{device}"
        act = Act(actor=actor, action=action, subject=device, detail=dict(detail))
        await self.store.write(lambda connection: self.log.record(connection, act))
