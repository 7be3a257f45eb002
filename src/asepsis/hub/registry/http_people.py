"""Routes about devices on the people listener, and the status of the hub."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final
from urllib.parse import parse_qsl

import msgspec

from asepsis.core.errors import Conflict, InputError
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.registry.delegations.lines import (
    INTERFACE_CHARS_MAX,
    NOTHING,
    PERIOD_S_MAX,
    TYPES_MAX,
    Network,
)
from asepsis.hub.registry.delegations.rows import Terms
from asepsis.hub.registry.rules import DECLARATION_DAYS_DEFAULT, DECLARED_MAX, Evidence
from asepsis.hub.registry.service import PAGE_MAX, RegistryService
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

JSON: Final = b"application/json"
BODY_BYTES_MAX: Final = 262_144
DEVICE: Final = "/api/devices/{name}"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Type = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
StatusSource = Callable[[], Awaitable[object]]
"""One section of the status: whatever JSON can hold, without patient data."""


class RevokeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a revocation.

    Attributes:
        reason: Why, 1 to 256 characters.
        confirm: The device's name again; without it nothing is done.
    """

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    confirm: str | None = None


class DeclareBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a declaration: devices that a gateway may speak for.

    Attributes:
        devices: Their names.
        days: How long, 1 to 1 096.
        evidence: Whether the gateway itself ends the devices' own connections.
        partner: The other gateway of a pair; empty for none.
        interface: By which family or listener they come, for people.
        message_types: What may come; empty for all.
        network: What the gateway must see of each of them.
        period_s: How often each of them reports at least; 0 for the default lease.
    """

    devices: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=DECLARED_MAX)]
    days: Annotated[int, msgspec.Meta(ge=1, le=1_096)] = DECLARATION_DAYS_DEFAULT
    evidence: Evidence = Evidence.CLAIMED
    partner: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)] = ""
    interface: Annotated[str, msgspec.Meta(max_length=INTERFACE_CHARS_MAX)] = ""
    message_types: Annotated[tuple[Type, ...], msgspec.Meta(max_length=TYPES_MAX)] = ()
    network: Network = NOTHING
    period_s: Annotated[int, msgspec.Meta(ge=0, le=PERIOD_S_MAX)] = 0


class WithdrawBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a withdrawal."""

    devices: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=DECLARED_MAX)]


class DeviceRoutes:
    """The handlers; one for a hub.

    Args:
        registry: The use cases.
        status: Section -> what it says now; every part of the hub may add one.
    """

    def __init__(
        self, registry: RegistryService, *, status: Mapping[str, StatusSource] | None = None
    ) -> None:
        self._registry = registry
        self._status = dict(status or {})

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/api/devices", self._list, Action.LIST_DEVICES),
            Route("GET", DEVICE, self._read, Action.READ_DEVICE),
            Route("POST", DEVICE + "/revoke", self._revoke, Action.REVOKE_DEVICE),
            Route("POST", DEVICE + "/declare", self._declare, Action.DECLARE_SOURCE),
            Route("POST", DEVICE + "/withdraw", self._withdraw, Action.DECLARE_SOURCE),
            Route("GET", "/api/status", self._read_status, Action.READ_STATUS),
        ]

    async def _list(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?after=<name>&limit=100`: machines by name; `next` names the page after this one."""
        after, limit = _page(scope)
        found = await self._registry.devices(after=after, limit=limit)
        last = found[-1].name if len(found) == limit else None
        await send_document(send, {"devices": found, "next": last})

    async def _read(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await send_document(send, await self._registry.device(_name(scope)))

    async def _revoke(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Asks again: without `confirm` it says what would happen, and does nothing."""
        name, body = (
            _name(scope),
            await read_document(scope, receive, RevokeBody, bytes_max=BODY_BYTES_MAX),
        )
        preview = await self._registry.preview_revocation(name)
        if body.confirm is None:
            shown = {"done": False, "confirm": name, "would_close": preview.connections}
            await send_document(send, shown | {"device": preview.device})
            return
        if body.confirm != name:
            raise Conflict("the confirmation names another device")
        closed = await self._registry.revoke(name, person=_person(scope), reason=body.reason)
        await send_document(send, {"done": True, "closed": closed})

    async def _declare(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a gateway or vendor's server speak for devices."""
        body = await read_document(scope, receive, DeclareBody, bytes_max=BODY_BYTES_MAX)
        await self._registry.declare(
            _name(scope),
            body.devices,
            person=_person(scope),
            days=body.days,
            terms=Terms(
                evidence=body.evidence,
                partner=body.partner,
                interface=body.interface,
                message_types=body.message_types,
                network=body.network,
                period_s=body.period_s,
            ),
        )
        await send_document(send, {"done": True})

    async def _withdraw(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, WithdrawBody, bytes_max=BODY_BYTES_MAX)
        await self._registry.withdraw(_name(scope), body.devices, person=_person(scope))
        await send_document(send, {"done": True})

    async def _read_status(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_document(send, {name: await source() for name, source in self._status.items()})


def _name(scope: Scope) -> str:
    name: str = scope["asepsis.path_params"]["name"]
    return name


def _person(scope: Scope) -> str:
    principal: Principal = scope["asepsis.principal"]
    return principal.name


def _page(scope: Scope) -> tuple[str, int]:
    query: bytes = scope["query_string"]
    try:
        given = dict(parse_qsl(query.decode("ascii"), max_num_fields=2, strict_parsing=bool(query)))
        limit = int(given.pop("limit", "100"))
    except ValueError as error:
        raise InputError("the parameters are after and limit") from error
    after = given.pop("after", "")
    if given or not 1 <= limit <= PAGE_MAX or len(after) > NAME_CHARS_MAX:
        raise InputError(f"the parameters are after and limit, 1 to {PAGE_MAX}")
    return after, limit
