"""Enrol, renew, revoke, declare: state, audit entry and event in one transaction, then the book.

The signer decides what is issued and remembers it durably before it answers. If this hub dies
between its answer and our commit, the device asks again with the same request, gets the same
certificate, and it is recorded then.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from asepsis.core.errors import (
    AsepsisError,
    Conflict,
    IdentityRevoked,
    InputError,
    NotFound,
    TransientError,
)
from asepsis.core.model.identity import DeviceId, PrincipalKind
from asepsis.core.trust.identity import Profile
from asepsis.core.trust.requests import IssueRequest, Proof, RenewalProof
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry import records
from asepsis.hub.registry.book import IdentityBook, TwoInUse
from asepsis.hub.registry.delegations.book import DelegationBook
from asepsis.hub.registry.delegations.lines import check_network, check_types
from asepsis.hub.registry.delegations.rows import DEFAULT_TERMS, Terms
from asepsis.hub.registry.ports import CountConnections, OnRevoked, Signer
from asepsis.hub.registry.recording import Recorder
from asepsis.hub.registry.refusals import Refusals
from asepsis.hub.registry.rules import (
    DECLARATION_DAYS_DEFAULT,
    DECLARATION_DAYS_MAX,
    DECLARED_MAX,
    check_reason,
    read_handed,
    wished_name,
)
from asepsis.hub.store.store import Store

log: Final = logging.getLogger("asepsis.hub.registry")

PAGE_MAX: Final = 500
FINDINGS_MAX: Final = 1_000
"""Pairs of certificates in use at once that wait to be written."""
FOLLOW_EVERY_S: Final = 0.25
"""Pause between looks at what other hubs changed; half a second within a revocation's second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationPreview:
    """What revoking a name would do.

    Attributes:
        device: Whom it is about.
        connections: How many connections of it would be closed now.
    """

    device: records.DeviceSummary
    connections: int


class RegistryService:
    """The use cases of the registry; belongs to one event loop.

    Args:
        store: Where the state stands.
        signer: Issues and ends certificates.
        audit: Gets an entry for each change and each refusal.
        book: What admission asks; this service keeps it up to date.
        wake_relay: Called after a commit that wrote an event, such as `OutboxRelay.wake`.
        count_connections: Says how many connections a name has open.

    Attributes:
        before_renewal: Awaited with the name before a certificate is renewed; raises NotPermitted
            where it must not be. None where every name is renewed.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        *,
        audit: AuditLog,
        book: IdentityBook,
        wake_relay: Callable[[], None] = lambda: None,
        count_connections: CountConnections = lambda _name: 0,
    ) -> None:
        self._store = store
        self._signer = signer
        self._recorder = Recorder(audit, clock=store.clock)
        self._book = book
        self._wake_relay = wake_relay
        self._count_connections = count_connections
        self.before_renewal: Callable[[str], Awaitable[None]] | None = None
        self._on_revoked: list[OnRevoked] = []
        self._due = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._found: deque[TwoInUse] = deque(maxlen=FINDINGS_MAX)
        self._untold = True
        self._refusals = Refusals(store, audit)
        book.on_two_in_use = self._notice_two_in_use

    @property
    def delegations(self) -> DelegationBook:
        """Every delegation and source, in memory."""
        return self._book.delegations

    def on_revoked(self, callback: OnRevoked) -> None:
        """Call back with each name that was revoked, here or by another hub."""
        self._on_revoked.append(callback)

    async def load(self) -> None:
        """Fill the book; call it before the first listener opens."""
        state = await self._store.read(records.read_all)
        self._book.load(state, now_ns=self._store.clock())

    async def issue(
        self, csr_der: bytes, *, profile: Profile, proof: Proof, actor: str
    ) -> Sequence[bytes]:
        """Enrol or renew: have a certificate issued, recorded and announced.

        Args:
            csr_der: PKCS#10 request in DER.
            profile: What the certificate is for.
            proof: Token, IDevID chain or current certificate.
            actor: Who asks, for the audit log.

        Returns:
            Leaf, issuing certificate, root; DER.

        Raises:
            IssuanceRefused: Profile, name, key, listing or CSR is not as it must be.
            NotAuthenticated: Unknown token, or a wrong secret.
            IdentityRevoked: The name is revoked.
            NotPermitted: `before_renewal` says so.
            IdentityExpired: Expired for longer than the renewal window.
            Conflict: An origin key without its device, or instead of another by renewal.
            RateLimited: Too many certificates; says when to ask again.
            InputError: The CSR is malformed.
            Unavailable: Signer or store does not answer; asking again is safe.
        """
        request = IssueRequest(csr_der=csr_der, profile=profile.value, proof=proof)
        renewal = isinstance(proof, RenewalProof)
        try:
            if profile is Profile.ORIGIN:
                await self._require_enrolled(wished_name(csr_der))
            if renewal and self.before_renewal is not None:
                await self.before_renewal(wished_name(csr_der))
            issued = await self._signer.issue(request)
            handed = read_handed(issued.chain_der[0], profile)
            await self._store.write(
                lambda c: self._recorder.put(c, issued, handed, renewal=renewal, actor=actor)
            )
        except TransientError:
            raise
        except AsepsisError as error:
            if isinstance(error, IdentityRevoked):
                self._untold = True  # Perhaps the signer issued because it was never told.
                self._due.set()
            await self._refusals.note(error, profile=profile, actor=actor)
            raise
        await self.refresh(handed.name)
        self._wake_relay()
        return issued.chain_der

    async def preview_revocation(self, name: str) -> RevocationPreview:
        """Say what revoking a name would do.

        Raises:
            NotFound: No such machine.
        """
        device = await self.device(name)
        return RevocationPreview(device=device, connections=self._count_connections(name))

    async def revoke(self, name: str, *, person: str, reason: str) -> int:
        """Revoke an identity: every serial, renewal and token of it; ends its streams at once.

        The signer is told afterwards; if it does not answer, it is told as soon as it does.

        Args:
            name: Whom.
            person: Who decided it.
            reason: Why, 1 to 256 characters.

        Returns:
            How many connections of this hub were closed.

        Raises:
            NotFound: No such machine.
            Conflict: It is revoked already.
            InputError: No reason.
        """
        check_reason(reason)
        await self._store.write(
            lambda c: self._recorder.revoke(c, name, person=person, reason=reason)
        )
        closed = await self.refresh(name)
        self._untold = True
        self._due.set()
        self._wake_relay()
        return closed

    async def declare(
        self,
        holder: str,
        devices: Sequence[str],
        *,
        person: str,
        days: int = DECLARATION_DAYS_DEFAULT,
        terms: Terms = DEFAULT_TERMS,
    ) -> None:
        """Let a gateway or vendor's server speak for devices.

        Args:
            holder: The gateway.
            devices: Whom it may speak for.
            person: Who decided it.
            days: How long, 1 to 1 096.
            terms: How the gateway knows, its pair, interface, message types and network.

        Raises:
            NotFound: No such gateway.
            InputError: Not a gateway, not device names, too many, not 1 to 1 096 days, or terms
                that are none.
        """
        if not 1 <= days <= DECLARATION_DAYS_MAX or len(devices) > DECLARED_MAX:
            raise InputError("a declaration names up to 1000 devices for 1 to 1096 days")
        names = [DeviceId.parse(device).uri for device in devices]
        check_types(terms.message_types)
        check_network(terms.network)
        for name in filter(None, (holder, terms.partner)):
            if (await self.device(name)).kind != PrincipalKind.GATEWAY.value:
                raise InputError("only a gateway or vendor's server speaks for others")

        def work(connection: Connection) -> None:
            self._recorder.declare(connection, holder, names, person=person, days=days, terms=terms)

        await self._store.write(work)
        await self.refresh(holder)

    async def withdraw(self, holder: str, devices: Sequence[str], *, person: str) -> None:
        """End that a gateway speaks for devices, at its next request.

        Raises:
            NotFound: None of them was declared.
        """

        def work(connection: Connection) -> None:
            self._recorder.withdraw(connection, holder, devices, person=person)

        await self._store.write(work)
        await self.refresh(holder)

    async def device(self, name: str) -> records.DeviceSummary:
        """Return one line of the list of devices.

        Raises:
            NotFound: No such machine.
        """
        found = await self._store.read(lambda c: records.summaries(c, name=name))
        if not found:
            raise NotFound("there is no such device")
        return found[0]

    async def devices(
        self, *, after: str = "", limit: int = PAGE_MAX
    ) -> list[records.DeviceSummary]:
        """Return machines by name, those after `after`, at most `PAGE_MAX`."""
        size = min(max(limit, 1), PAGE_MAX)
        return await self._store.read(lambda c: records.summaries(c, after=after, limit=size))

    async def run(self) -> None:
        """Do what the registry does by itself, until cancelled."""
        while True:
            self._due.clear()
            try:
                await self.step()
            except TransientError as error:
                log.info("the registry waits: %s", error)
            except AsepsisError as error:
                # Devices stay admitted as they are; whoever reads the log repairs what it names.
                log.error("the registry cannot go on: %s %s", error.code, error)  # noqa: TRY400 - deliberate, no trace
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), FOLLOW_EVERY_S)

    async def step(self) -> None:
        """Follow other hubs, write alarms that admission found, tell the signer what it missed.

        Raises:
            Unavailable: Store or signer does not answer; nothing is lost.
        """
        await self._follow()
        while self._found:
            await self._alarm_two_in_use(self._found[0])
            self._found.popleft()
        if self._untold:
            await self._tell_signer()

    async def raise_alarm(self, subject: str, *, code: str, text: str, **detail: Any) -> None:
        """Put a technical alarm into the outbox and the audit log."""

        def work(connection: Connection) -> None:
            self._recorder.alarm(connection, subject, code=code, text=text, detail=detail)

        await self._store.write(work)
        self._wake_relay()

    async def _require_enrolled(self, name: str) -> None:
        """Stop a request that would use up the token's origin certificate to no end."""
        if not name:
            return
        try:
            self._book.device(name)
        except NotFound:
            await self._follow()  # Perhaps another hub enrolled it a moment ago.
        try:
            self._book.device(name)
        except NotFound as error:
            raise Conflict("enrol the device before its origin key") from error

    async def refresh(self, *names: str) -> int:
        """Bring the book up to date about names; return how many connections were closed."""
        # One at a time: what was read first must not overwrite what was read later.
        async with self._refreshing:
            state = await self._store.read(lambda c: records.read_names(c, names))
            newly = self._book.update(names, state, now_ns=self._store.clock())
        return sum(callback(name) for name in newly for callback in self._on_revoked)

    async def _follow(self) -> None:
        """Bring the book to what other hubs committed; end streams of what they revoked."""
        while True:
            seen = self._book.version

            def look(connection: Connection, seen: int = seen) -> tuple[int, list[str]]:
                return records.changed_since(connection, seen)

            version, names = await self._store.read(look)
            if not names:
                return
            await self.refresh(*names)
            self._book.version = version

    async def _tell_signer(self) -> None:
        """Tell the signer of every revocation that it does not know of."""
        self._untold = False
        try:
            for name, reason in await self._store.read(records.untold):
                await self._tell_of(name, reason)
        except TransientError:
            self._untold = True
            raise

    async def _tell_of(self, name: str, reason: str) -> None:
        try:
            await self._signer.revoke(name, reason)
        except NotFound:
            # A signer that was made anew; it is told when it comes to know the name.
            log.warning("the signer does not know %s, which is revoked", name)
            return
        await self._store.write(lambda connection: records.mark_told(connection, name))

    def _notice_two_in_use(self, found: TwoInUse) -> None:
        self._found.append(found)
        self._due.set()

    async def _alarm_two_in_use(self, found: TwoInUse) -> None:
        await self.raise_alarm(
            found.name,
            code="identity-in-use-twice",
            text="two certificates of one identity are in use: its key may have been copied",
            newer=f"{found.newer_serial:x}",
            older=f"{found.older_serial:x}",
        )
