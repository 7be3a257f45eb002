"""The lease of a pair of gateways: asked for, made durable, audited; and what the hub has of one.

Source: REQ-PAIR-001 to REQ-PAIR-006.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol, cast

import msgspec
from sqlalchemy import Connection, delete, insert, select

from asepsis.core.errors import NotPermitted
from asepsis.core.journal.ports import AccountState
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.core.model.lanes import Account
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.delegations.lines import pair_name
from asepsis.hub.registry.delegations.pairs import Grant, PairBook
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.registry.tables import pairs
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 16_384
EPOCHS_MAX: Final = 256
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
_Words = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What two people did at a gateway while the hub was away.

    Attributes:
        first: Who promoted it, as they wrote it there.
        second: Who agreed.
        reason: Why.
        at_ns: When, by the gateway's clock, nanoseconds since 1970.
    """

    first: _Words
    second: _Words
    reason: _Words
    at_ns: int


class LeaseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a question for the lease.

    Attributes:
        partner: The other gateway.
        token: Under which number the asking one works; 0 if under none.
        promoted: What people did meanwhile.
    """

    partner: _Name
    token: Annotated[int, msgspec.Meta(ge=0, lt=10**15)] = 0
    promoted: Promotion | None = None


class ReceivedBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a question for what the hub has of the other gateway.

    Attributes:
        partner: The other gateway.
        epochs: Of which boots.
    """

    partner: _Name
    epochs: Annotated[tuple[int, ...], msgspec.Meta(max_length=EPOCHS_MAX)]


class Accounts(Protocol):
    """The journal as this service uses it."""

    async def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        """Return what was received on an account."""
        ...


class PairService:
    """The use cases and their routes; belongs to one event loop.

    Args:
        store: Where the numbers are durable.
        audit: Gets an entry for each lease that goes to another.
        registry: Raises technical alarms, knows who is a pair.
        journal: Says what was received of a gateway.
        book: The leases.
        heard: Told that a gateway lives.
    """

    def __init__(
        self,
        store: Store,
        *,
        audit: AuditLog,
        registry: RegistryService,
        journal: Accounts,
        book: PairBook,
        heard: Callable[[str], Any],
    ) -> None:
        self._store = store
        self._audit = audit
        self._registry = registry
        self._journal = journal
        self._book = book
        self._heard = heard
        self._turn = asyncio.Lock()

    def clinical(self) -> list[Route]:
        """Return the routes of the clinical listener."""
        return [
            Route("POST", "/gateway/pair", self._lease, Action.HOLD_PAIR),
            Route("POST", "/gateway/pair/received", self._received, Action.HOLD_PAIR),
        ]

    async def restore(self) -> None:
        """Read the numbers; call before the listeners open."""

        def work(connection: Connection) -> list[tuple[tuple[str, str], int, str]]:
            found = connection.execute(select(pairs)).all()
            return [((row.one, row.other), row.token, row.holder) for row in found]

        self._book.load(await self._store.read(work))

    async def ask(self, member: str, body: LeaseBody) -> Grant:
        """Give, renew or refuse the lease.

        Raises:
            NotPermitted: Delegations do not name the two as a pair.
            TransientError: The number could not be made durable; nothing was given.
        """
        self._require_pair(member, body.partner)
        async with self._turn:
            grant = self._book.ask(member, body.partner, token=body.token)
            if grant is None:
                token = self._book.next_token(member, body.partner)
                await self._store.write(lambda c: self._keep(c, member, body, token))
                grant = self._book.give(member, body.partner, token)
                if token > 1:
                    await self._registry.raise_alarm(
                        member,
                        code="gateway-took-over",
                        text="this gateway of a pair takes messages now",
                        partner=body.partner,
                        lease=token,
                    )
        return grant

    async def received(
        self, member: str, body: ReceivedBody
    ) -> dict[int, tuple[int, Sequence[tuple[int, int]]]]:
        """Return for each boot of the other gateway what the hub has: highest number, and gaps.

        Raises:
            NotPermitted: The two are no pair.
        """
        self._require_pair(member, body.partner)
        found: dict[int, tuple[int, Sequence[tuple[int, int]]]] = {}
        for epoch in body.epochs:
            state = await self._journal.account(Account.MESSAGE, body.partner, epoch)
            found[epoch] = (state.highest, state.gaps)
        return found

    def _require_pair(self, member: str, partner: str) -> None:
        if not self._registry.delegations.paired(member, partner):
            raise NotPermitted(
                "no delegation names these two gateways as a pair",
                hint=f"asepsis devices declare {member} DEVICE... --partner {partner}",
            )

    def _keep(self, connection: Connection, member: str, body: LeaseBody, token: int) -> None:
        name = pair_name(member, body.partner)
        connection.execute(delete(pairs).where(pairs.c.pair == name))
        one, other = sorted((member, body.partner))
        connection.execute(
            insert(pairs).values(
                pair=name,
                one=one,
                other=other,
                holder=member,
                token=token,
                at_ns=self._store.clock(),
            )
        )
        detail = {} if body.promoted is None else {"promoted": msgspec.to_builtins(body.promoted)}
        self._audit.note(
            connection,
            actor=f"gateway:{member}",
            action="take-over-pair",
            subject=member,
            partner=body.partner,
            lease=token,
            **detail,
        )

    async def _lease(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A gateway asks for the lease of its pair, or renews it."""
        member = _asking(scope).name
        body = await read_document(scope, receive, LeaseBody, bytes_max=BODY_BYTES_MAX)
        await self._heard(member)
        await send_document(send, await self.ask(member, body))

    async def _received(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say what the hub has of the other gateway, by its boots."""
        body = await read_document(scope, receive, ReceivedBody, bytes_max=BODY_BYTES_MAX)
        found = await self.received(_asking(scope).name, body)
        rows = [
            {"epoch": epoch, "highest": highest, "gaps": gaps}
            for epoch, (highest, gaps) in found.items()
        ]
        await send_document(send, {"received": rows})


def _asking(scope: Scope) -> Principal:
    return cast("Principal", scope["asepsis.principal"])
