"""Who is a source of what, what the network shows, and what ends soon: the use cases."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import Connection

from asepsis.core.errors import AsepsisError, InputError, NotFound, NotPermitted, TransientError
from asepsis.core.model.identity import NAME_CHARS_MAX, PrincipalKind
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.registry import records
from asepsis.hub.registry.delegations import rows
from asepsis.hub.registry.delegations.lines import (
    Declaration,
    Network,
    Source,
    SourceKind,
    differences,
)
from asepsis.hub.registry.rules import DAY_NS, DECLARATION_DAYS_DEFAULT, DECLARATION_DAYS_MAX
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.store.store import Store

LOOK_EVERY_S: Final = 3_600.0
"""Pause between two looks at what ends soon."""
SEEN_MAX: Final = 1_000
"""Devices of one report."""
log: Final = logging.getLogger("asepsis.hub.registry")


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a gateway sees of one device now.

    Attributes:
        device: Its name.
        network: Address, port, VLAN and key.
    """

    device: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    network: Network


class DelegationService:
    """The use cases; belongs to one event loop.

    Args:
        store: Where the rows stand.
        audit: Gets an entry for each change and each refusal.
        registry: Keeps the book up to date and raises technical alarms.
    """

    def __init__(self, store: Store, *, audit: AuditLog, registry: RegistryService) -> None:
        self._store = store
        self._audit = audit
        self._registry = registry

    async def name_source(
        self,
        holder: str,
        kind: SourceKind,
        *,
        person: str,
        days: int = DECLARATION_DAYS_DEFAULT,
        partner: str = "",
    ) -> None:
        """Name a gateway, and its pair, as a source.

        Raises:
            NotFound: No such gateway.
            InputError: Not a gateway, or not 1 to 1 096 days.
        """
        if not 1 <= days <= DECLARATION_DAYS_MAX:
            raise InputError(f"a source is named for 1 to {DECLARATION_DAYS_MAX} days")
        await self.check_gateways(holder, partner)
        now_ns = self._store.clock()
        expires_at_ns = now_ns + days * DAY_NS
        source = Source(
            holder=holder, kind=kind, expires_at_ns=expires_at_ns, person=person, partner=partner
        )

        def work(connection: Connection) -> None:
            rows.put_source(connection, source, now_ns=now_ns)
            self._note(connection, person, "name-source", holder, kind=kind, days=days)

        await self._store.write(work)
        await self._registry.refresh(holder)

    async def withdraw_source(self, holder: str, kind: SourceKind, *, person: str) -> None:
        """End that a gateway is a source, at its next request.

        Raises:
            NotFound: It is none.
        """

        def work(connection: Connection) -> None:
            if not rows.withdraw_source(connection, holder, kind):
                raise NotFound(f"{holder} is not named as a source of {kind}")
            self._note(connection, person, "unname-source", holder, kind=kind)

        await self._store.write(work)
        await self._registry.refresh(holder)

    async def check_gateways(self, *names: str) -> None:
        """Check that names, where given, are gateways.

        Raises:
            NotFound: No such machine.
            InputError: Another kind of machine.
        """
        for name in filter(None, names):
            if (await self._registry.device(name)).kind != PrincipalKind.GATEWAY.value:
                raise InputError("only a gateway or vendor's server speaks for others")

    async def listing(self) -> tuple[list[Declaration], list[Source]]:
        """Return every delegation and every source."""
        return await self._store.read(rows.read_lines)

    async def take_evidence(self, gateway: str, report: Sequence[Seen]) -> list[str]:
        """Compare what a gateway sees with what persons declared.

        What differs drops the device to `source-claimed` until a person declares it anew, raises a
        technical alarm condition and is audited; the data goes on.

        Args:
            gateway: Who reports.
            report: What it sees, at most `SEEN_MAX` devices.

        Returns:
            The devices whose evidence differs from what was declared.
        """
        changed: list[str] = []
        for one in report[:SEEN_MAX]:
            line = self._registry.delegations.line(gateway, one.device)
            if line is None:
                await self._refuse(gateway, one.device)
                continue
            found = differences(line.network, one.network)
            if found:
                changed.append(one.device)
            if line.seen != one.network or (found and not line.changed_at_ns):
                await self._keep(gateway, line, one.network, found)
        return changed

    async def warn(self) -> int:
        """Tell people once of each delegation and source that ends within 30 days."""
        now_ns = self._store.clock()
        lines, sources = await self._store.write(lambda c: rows.expiring(c, now_ns))
        for line in lines:
            await self._warn_of(line.holder, line.expires_at_ns, now_ns, device=line.device)
        for source in sources:
            await self._warn_of(
                source.holder, source.expires_at_ns, now_ns, source=source.kind.value
            )
        return len(lines) + len(sources)

    async def run(self) -> None:
        """Look for what ends soon, until cancelled."""
        while True:
            try:
                await self.warn()
            except TransientError as error:
                log.info("expiring delegations are looked for later: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _warn_of(self, holder: str, expires_at_ns: int, now_ns: int, **what: str) -> None:
        days = max(0, (expires_at_ns - now_ns) // DAY_NS)
        await self._registry.raise_alarm(
            holder,
            code="delegation-expires",
            text=f"what this gateway may bring ends in {days} days; then it is refused",
            days=days,
            **what,
        )

    async def _keep(
        self, gateway: str, line: Declaration, seen: Network, found: tuple[str, ...]
    ) -> None:
        changed_at_ns = line.changed_at_ns or (self._store.clock() if found else 0)

        def work(connection: Connection) -> None:
            rows.note_seen(connection, line.holder, line.device, seen, changed_at_ns=changed_at_ns)
            self._audit.note(
                connection,
                actor=f"gateway:{gateway}",
                action="report-evidence",
                subject=line.device,
                declared=msgspec.to_builtins(line.network),
                seen=msgspec.to_builtins(seen),
                differs=list(found),
            )
            records.touch(connection, line.holder)

        await self._store.write(work)
        await self._registry.refresh(line.holder)
        if found and not line.changed_at_ns:
            await self._registry.raise_alarm(
                line.device,
                code="device-evidence-changed",
                text="the network shows this device otherwise than a person declared",
                gateway=gateway,
                differs=list(found),
            )

    async def _refuse(self, gateway: str, device: str) -> None:
        error: AsepsisError = NotPermitted("the device is not declared")
        act = Act(
            actor=f"gateway:{gateway}",
            action="report-evidence",
            subject=device,
            outcome=error.code,
        )
        await self._store.write(lambda connection: self._audit.record(connection, act))

    def _note(
        self, connection: Connection, person: str, action: str, holder: str, **detail: Any
    ) -> None:
        self._audit.note(
            connection, actor=f"person:{person}", action=action, subject=holder, **detail
        )
        records.touch(connection, holder)
