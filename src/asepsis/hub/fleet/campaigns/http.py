"""Routes about campaigns, the fleet and work orders on the people listener."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from asepsis.core.errors import InputError
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.fleet.campaigns import orders, rows, shown
from asepsis.hub.fleet.campaigns.document import DOCUMENT_BYTES_MAX
from asepsis.hub.fleet.campaigns.fleet import FleetService
from asepsis.hub.fleet.campaigns.model import Member, Order
from asepsis.hub.fleet.campaigns.planning import PAGE_MAX, Planning
from asepsis.hub.fleet.campaigns.service import CampaignService
from asepsis.hub.fleet.campaigns.work import DeviceWork
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 1 << 20
LISTED_MAX: Final = 1_000
"""Devices of the fleet in one request."""
NUMBER_DIGITS_MAX: Final = 15

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
_Device = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]
_Word = Annotated[str, msgspec.Meta(max_length=60)]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown."""


class DocumentBody(_Body, frozen=True):
    """A campaign or calendar as it was written."""

    document: Annotated[str, msgspec.Meta(min_length=1, max_length=DOCUMENT_BYTES_MAX)]


class OrderBody(_Body, frozen=True):
    """What a campaign is to do."""

    order: Literal["start", "pause", "resume", "halt"]
    reason: _Text = ""


class SupersedeBody(_Body, frozen=True):
    """Which draft takes its place."""

    by: _Name


class RollbackBody(_Body, frozen=True):
    """Which artefact its devices go to, and why."""

    to: _Hash
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    wave: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None


class ReasonBody(_Body, frozen=True):
    """Why."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class ConfirmBody(_Body, frozen=True):
    """Which proposal."""

    proposal: Annotated[int, msgspec.Meta(ge=0)]


class DeviceBody(_Body, frozen=True):
    """What is done about one device."""

    device: _Device
    act: Literal["accept", "retry", "leave"]
    reason: _Text = ""
    as_found: _Text = ""
    as_left: _Text = ""


class ListedBody(_Body, frozen=True, rename={"device_class": "class"}):
    """What people note of a device."""

    device: _Device
    device_class: _Word
    ward: _Word = ""
    calendar: _Word = ""
    in_service: bool = True
    attributes: Annotated[dict[_Word, _Text], msgspec.Meta(max_length=32)] = {}


class FleetBody(_Body, frozen=True):
    """Devices of the fleet."""

    devices: Annotated[tuple[ListedBody, ...], msgspec.Meta(min_length=1, max_length=LISTED_MAX)]


class UseBody(_Body, frozen=True):
    """Which calendars hold for a ward; for the whole site without one."""

    calendars: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=16)]
    ward: _Word = ""


class CloseBody(_Body, frozen=True):
    """How a device was found and left."""

    as_found: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    as_left: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class ReferenceBody(_Body, frozen=True):
    """The number in the hospital's own system."""

    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class CampaignRoutes:
    """The handlers; one for a hub.

    Args:
        service: Acts about campaigns.
        fleet: Acts about the fleet.
        work: Acts about single devices.
        planning: Answers.
    """

    def __init__(
        self,
        service: CampaignService,
        fleet: FleetService,
        work: DeviceWork,
        planning: Planning,
    ) -> None:
        self._service = service
        self._fleet = fleet
        self._work = work
        self._planning = planning

    def routes(self) -> list[Route]:
        """Return the routes."""
        base, fleet, work = "/api/campaigns", "/api/fleet", "/api/work-orders"
        reads: dict[str, Handler] = {
            base: self._list,
            base + "/{name}": self._show,
            base + "/{name}/plan": self._plan,
            base + "/{name}/hunt": self._hunt,
            fleet: self._members,
            fleet + "/calendars": self._calendars,
            work: self._orders,
        }
        acts: dict[str, Handler] = {
            base: self._create,
            base + "/{name}/order": self._order,
            base + "/{name}/supersede": self._supersede,
            base + "/{name}/rollback": self._roll_back,
            base + "/{name}/emergency": self._propose,
            base + "/{name}/emergency/confirm": self._confirm,
            base + "/{name}/devices": self._device,
            fleet: self._list_members,
            fleet + "/calendars": self._put_calendar,
            fleet + "/calendars/use": self._use_calendars,
            work + "/{id}/close": self._close,
            work + "/{id}/reference": self._refer,
        }
        return [
            *(Route("GET", path, one, Action.LIST_DEVICES) for path, one in reads.items()),
            *(Route("POST", path, one, Action.MANAGE_CAMPAIGNS) for path, one in acts.items()),
        ]

    async def _list(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        found = await self._service.store.read(rows.all_campaigns)
        await send_document(send, {"campaigns": [shown.campaign(one) for one in found]})

    async def _show(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await send_document(
            send, shown.overview(await self._planning.overview(_param(scope, "name")))
        )

    async def _plan(self, scope: Scope, _receive: Receive, send: Send) -> None:
        after = _query(scope).get("after", "")
        found = await self._planning.plan(_param(scope, "name"), after=after)
        more = found[-1].target.device if len(found) == PAGE_MAX else None
        await send_document(send, {"devices": [shown.line(one) for one in found], "next": more})

    async def _hunt(self, scope: Scope, _receive: Receive, send: Send) -> None:
        found = await self._planning.hunt(_param(scope, "name"))
        await send_document(send, {"devices": [shown.hunted(t, m) for t, m in found]})

    async def _members(self, scope: Scope, _receive: Receive, send: Send) -> None:
        after = _query(scope).get("after", "")
        found = await self._fleet.page(after=after, most=LISTED_MAX)
        more = found[-1].device if len(found) == LISTED_MAX else None
        await send_document(send, {"devices": [shown.member(one) for one in found], "next": more})

    async def _calendars(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        known, uses = await self._fleet.calendars()
        await send_document(send, shown.calendars(known, uses))

    async def _orders(self, scope: Scope, _receive: Receive, send: Send) -> None:
        query = _query(scope)
        found = await self._service.store.read(
            lambda c: orders.listed(
                c, campaign=query.get("campaign", ""), open_only=query.get("open", "") == "true"
            )
        )
        await send_document(send, {"work_orders": [shown.work_order(one) for one in found]})

    async def _create(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, DocumentBody, bytes_max=BODY_BYTES_MAX)
        made = await self._service.create(body.document, person=_person(scope))
        await send_document(send, {"name": made.name})

    async def _order(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, OrderBody, bytes_max=BODY_BYTES_MAX)
        state = await self._service.order(
            _param(scope, "name"), Order(body.order), person=_person(scope), reason=body.reason
        )
        await send_document(send, {"state": state})

    async def _supersede(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, SupersedeBody, bytes_max=BODY_BYTES_MAX)
        await self._service.supersede(_param(scope, "name"), by=body.by, person=_person(scope))
        await send_document(send, {"done": True})

    async def _roll_back(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, RollbackBody, bytes_max=BODY_BYTES_MAX)
        name = await self._service.roll_back(
            _param(scope, "name"),
            to=body.to,
            wave=None if body.wave is None else body.wave - 1,
            person=_person(scope),
            reason=body.reason,
        )
        await send_document(send, {"name": name})

    async def _propose(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The first person says that a campaign must skip windows and waves."""
        body = await read_document(scope, receive, ReasonBody, bytes_max=BODY_BYTES_MAX)
        number = await self._service.propose_emergency(
            _param(scope, "name"), person=_person(scope), reason=body.reason
        )
        await send_document(send, {"proposal": number})

    async def _confirm(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A second person confirms."""
        body = await read_document(scope, receive, ConfirmBody, bytes_max=BODY_BYTES_MAX)
        await self._service.confirm_emergency(
            _param(scope, "name"), body.proposal, person=_person(scope)
        )
        await send_document(send, {"done": True})

    async def _device(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, name = (
            await read_document(scope, receive, DeviceBody, bytes_max=BODY_BYTES_MAX),
            _param(scope, "name"),
        )
        person = _person(scope)
        if body.act == "accept":
            await self._work.accept(
                name, body.device, as_found=body.as_found, as_left=body.as_left, person=person
            )
        elif body.act == "retry":
            await self._work.retry(name, body.device, person=person, reason=body.reason)
        else:
            await self._work.leave(name, body.device, person=person, reason=body.reason)
        await send_document(send, {"done": True})

    async def _list_members(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, FleetBody, bytes_max=BODY_BYTES_MAX)
        found = [
            Member(
                device=one.device,
                device_class=one.device_class,
                ward=one.ward,
                calendar=one.calendar,
                in_service=one.in_service,
                attributes=one.attributes,
            )
            for one in body.devices
        ]
        await self._fleet.list_members(found, person=_person(scope))
        await send_document(send, {"done": True})

    async def _put_calendar(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, DocumentBody, bytes_max=BODY_BYTES_MAX)
        name = await self._fleet.put_calendar(body.document, person=_person(scope))
        await send_document(send, {"name": name})

    async def _use_calendars(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, UseBody, bytes_max=BODY_BYTES_MAX)
        await self._fleet.use_calendars(body.ward, body.calendars, person=_person(scope))
        await send_document(send, {"done": True})

    async def _close(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, CloseBody, bytes_max=BODY_BYTES_MAX)
        await self._work.close_order(
            _number(scope), as_found=body.as_found, as_left=body.as_left, person=_person(scope)
        )
        await send_document(send, {"done": True})

    async def _refer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, ReferenceBody, bytes_max=BODY_BYTES_MAX)
        await self._work.refer_order(_number(scope), body.reference, person=_person(scope))
        await send_document(send, {"done": True})


def _param(scope: Scope, name: str) -> str:
    params: dict[str, str] = scope["asepsis.path_params"]
    return params[name]


def _number(scope: Scope) -> int:
    text = _param(scope, "id")
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        raise InputError("a work order has a number")
    return int(text)


def _query(scope: Scope) -> dict[str, str]:
    query: bytes = scope["query_string"]
    try:
        return dict(parse_qsl(query.decode("ascii"), max_num_fields=4, strict_parsing=bool(query)))
    except ValueError as error:
        raise InputError("the query is not as it must be") from error


def _person(scope: Scope) -> str:
    principal: Principal = scope["asepsis.principal"]
    return principal.name
