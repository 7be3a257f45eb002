"""Routes about associations and places on the people listener.

An act that binds data to a patient, or unbinds it, says first what it would do. It is done when the
request repeats the patient's identifier as `confirm`: the one thing that must be right.
"""

from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec

from asepsis.core.errors import Conflict, InputError, NotFound, NotPermitted
from asepsis.core.model.association import Association, AssociationState
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.core.model.patient import (
    AUTHORITY_CHARS_MAX,
    PATIENT_ID_CHARS_MAX,
    PLACE_CHARS_MAX,
    PatientId,
    Place,
)
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.registry.associations.book import AssociationBook, Bed
from asepsis.hub.registry.associations.rules import REASON_CHARS_MAX
from asepsis.hub.registry.associations.service import LIST_MAX, AssociationService
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 8_192
ONE: Final = "/api/associations/{id}"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_CHARS_MAX)]
Part = Annotated[str, msgspec.Meta(max_length=PLACE_CHARS_MAX)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Confirmation = Annotated[str, msgspec.Meta(max_length=200)]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown."""


class PatientBody(_Body, frozen=True):
    """A patient's identifier."""

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=PATIENT_ID_CHARS_MAX)]
    authority: Annotated[str, msgspec.Meta(max_length=AUTHORITY_CHARS_MAX)] = ""

    def id(self) -> PatientId:
        """Return the identifier."""
        return PatientId(self.value, self.authority)


class PlaceBody(_Body, frozen=True):
    """A bed."""

    point_of_care: Annotated[str, msgspec.Meta(min_length=1, max_length=PLACE_CHARS_MAX)]
    room: Part = ""
    bed: Part = ""
    facility: Part = ""


class ConfirmBody(_Body, frozen=True):
    """Body of a confirmation; without `confirm` nothing is done."""

    confirm: Confirmation | None = None


class ReasonBody(_Body, frozen=True):
    """Body of a rejection or an end."""

    reason: Reason
    confirm: Confirmation | None = None


class AssociateBody(_Body, frozen=True):
    """Body of an association that a person makes at the bedside."""

    device: Name
    patient: PatientBody
    confirm: Confirmation | None = None


class LateBody(_Body, frozen=True):
    """Body of a late assignment; times in nanoseconds since 1970."""

    device: Name
    patient: PatientBody
    start_ns: Moment
    end_ns: Moment
    confirm: Confirmation | None = None


class PlaceDeviceBody(_Body, frozen=True):
    """Body of a placement; without a place the device stands at none."""

    place: PlaceBody | None
    fixed: bool = False
    confirm: Confirmation | None = None


class RuleBody(_Body, frozen=True):
    """Body of a ward's rule."""

    follow_adt: bool
    confirm: Confirmation | None = None


class AssociationRoutes:
    """The handlers; one for a hub.

    Args:
        service: The use cases.
        book: What goes on now.
    """

    def __init__(self, service: AssociationService, book: AssociationBook) -> None:
        self._service = service
        self._book = book

    def routes(self) -> list[Route]:
        """Return the routes."""
        decides = Action.DECIDE_ASSOCIATION
        return [
            Route("GET", "/api/places", self._places, Action.READ_DEVICE),
            Route("GET", "/api/associations", self._list, Action.LIST_ASSOCIATIONS),
            Route("POST", "/api/associations", self._associate, decides),
            Route("POST", "/api/associations/late", self._assign_late, decides),
            Route("POST", ONE + "/confirm", self._confirm, decides),
            Route("POST", ONE + "/reject", self._reject, decides),
            Route("POST", ONE + "/end", self._end, decides),
            Route("PUT", "/api/devices/{name}/place", self._place, Action.PLACE_DEVICE),
            Route("PUT", "/api/wards/{name}/rule", self._rule, Action.PLACE_DEVICE),
        ]

    async def _places(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Beds with their devices; patients and associations only for who may see patients."""
        sees = _may(scope, Action.READ_PATIENT)
        beds = [self._bed(bed, sees=sees) for bed in self._book.beds()]
        await send_document(send, {"beds": beds, "wards_following_adt": sorted(self._book.rules)})

    async def _list(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?state=proposed&limit=100`: the newest first."""
        state, limit = _query(scope)
        found = await self._service.listed(state, limit=limit)
        await send_document(send, {"associations": [self._shown(one) for one in found]})

    async def _associate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Propose and confirm at once, at the bedside."""
        body = await read_document(scope, receive, AssociateBody, bytes_max=BODY_BYTES_MAX)
        patient = body.patient.id()
        if not _confirmed(body.confirm, patient):
            now = self._book.now(body.device)
            await self._preview(send, patient, device=body.device, now=now)
            return
        made = await self._service.associate(body.device, patient, actor=_actor(scope))
        await send_document(send, {"done": True, "association": self._shown(made)})

    async def _assign_late(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Assign a time that is over; first says what is confirmed in it."""
        body = await read_document(scope, receive, LateBody, bytes_max=BODY_BYTES_MAX)
        patient = body.patient.id()
        if not _confirmed(body.confirm, patient):
            held = await self._service.history(
                device=body.device, from_ns=body.start_ns, to_ns=body.end_ns
            )
            await self._preview(send, patient, device=body.device, overlaps=held)
            return
        made = await self._service.assign_late(
            body.device,
            patient,
            start_ns=body.start_ns,
            end_ns=body.end_ns,
            actor=_actor(scope),
        )
        await send_document(send, {"done": True, "association": self._shown(made)})

    async def _confirm(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Confirm a proposal, from now."""
        body = await read_document(scope, receive, ConfirmBody, bytes_max=BODY_BYTES_MAX)
        found = await self._service.association(_param(scope, "id"))
        if not _confirmed(body.confirm, found.patient):
            await self._preview(send, found.patient, device=found.device, association=found)
            return
        made = await self._service.confirm(found.id, actor=_actor(scope))
        await send_document(send, {"done": True, "association": self._shown(made)})

    async def _reject(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decline a proposal: nothing is charted by it, so nothing is asked again."""
        body = await read_document(scope, receive, ReasonBody, bytes_max=BODY_BYTES_MAX)
        made = await self._service.reject(
            _param(scope, "id"), actor=_actor(scope), reason=body.reason
        )
        await send_document(send, {"done": True, "association": self._shown(made)})

    async def _end(self, scope: Scope, receive: Receive, send: Send) -> None:
        """End a confirmed association now."""
        body = await read_document(scope, receive, ReasonBody, bytes_max=BODY_BYTES_MAX)
        found = await self._service.association(_param(scope, "id"))
        if not _confirmed(body.confirm, found.patient):
            await self._preview(send, found.patient, device=found.device, association=found)
            return
        made = await self._service.end(found.id, actor=_actor(scope), reason=body.reason)
        await send_document(send, {"done": True, "association": self._shown(made)})

    async def _place(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say where a device stands; asks again only where that ends an association."""
        body = await read_document(scope, receive, PlaceDeviceBody, bytes_max=BODY_BYTES_MAX)
        name = _param(scope, "name")
        place = _place_of(body.place)
        now, stands = self._book.now(name), self._book.placed(name)
        moves = stands is None or stands.place != place
        if now is not None and moves and body.confirm is None:
            shown = {"done": False, "confirm": name, "would_end": 1}
            await send_document(send, shown)
            return
        if body.confirm is not None and body.confirm != name:
            raise Conflict("the confirmation names another device")
        await self._service.place_device(name, place, fixed=body.fixed, actor=_actor(scope))
        await send_document(send, {"done": True})

    async def _rule(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the fixed monitors of a ward follow ADT, or no longer."""
        body = await read_document(scope, receive, RuleBody, bytes_max=BODY_BYTES_MAX)
        ward = _param(scope, "name")
        if body.confirm is None:
            fixed = [
                device
                for bed in self._book.beds()
                if bed.place.point_of_care == ward
                for device in bed.devices
                if (stands := self._book.placed(device)) is not None and stands.fixed
            ]
            shown = {"done": False, "confirm": ward, "fixed_devices": sorted(fixed)}
            await send_document(send, shown | {"follows_adt_now": ward in self._book.rules})
            return
        if body.confirm != ward:
            raise Conflict("the confirmation names another ward")
        await self._service.set_ward_rule(ward, follow_adt=body.follow_adt, actor=_actor(scope))
        await send_document(send, {"done": True})

    async def _preview(self, send: Send, patient: PatientId, **facts: object) -> None:
        """Say whom an act would be about; repeating `confirm` does it."""
        shown = {
            key: self._shown(value) if isinstance(value, Association) else value
            for key, value in facts.items()
        }
        about = self._book.patient(patient)
        await send_document(
            send, {"done": False, "confirm": patient.key(), "patient": about, **shown}
        )

    def _bed(self, bed: Bed, *, sees: bool) -> dict[str, Any]:
        stands = [found for name in bed.devices if (found := self._book.placed(name)) is not None]
        document: dict[str, Any] = {
            "place": bed.place,
            "label": bed.place.label(),
            "devices": [
                {"name": one.device, "fixed": one.fixed, "since_ns": one.since_ns} for one in stands
            ],
        }
        if sees:
            document["patient"] = bed.patient
            document["associations"] = [self._shown(one) for one in bed.associations]
        return document

    def _shown(self, association: Association) -> dict[str, Any]:
        place = association.place
        return {
            "id": association.id,
            "device": association.device,
            "patient": association.patient,
            "patient_name": self._book.patient(association.patient).name,
            "place": place,
            "label": place.label() if place is not None else "",
            "state": association.state,
            "basis": association.basis,
            "start_ns": association.start_ns,
            "end_ns": association.end_ns,
            "proposed_by": association.proposed_by,
            "confirmed_by": association.confirmed_by,
            "end_reason": association.end_reason,
        }


def _may(scope: Scope, action: Action) -> bool:
    principal: Principal = scope["asepsis.principal"]
    try:
        decide(principal, action)
    except NotPermitted:
        return False
    return True


def _confirmed(given: str | None, patient: PatientId) -> bool:
    """Whether the request repeats the patient's identifier.

    Raises:
        Conflict: It names another patient.
    """
    if given is not None and given != patient.key():
        raise Conflict("the confirmation names another patient")
    return given is not None


def _place_of(body: PlaceBody | None) -> Place | None:
    return None if body is None else Place(body.point_of_care, body.room, body.bed, body.facility)


def _param(scope: Scope, name: str) -> str:
    value: str = scope["asepsis.path_params"][name]
    if len(value) > NAME_CHARS_MAX:
        raise NotFound("no such name")
    return value


def _actor(scope: Scope) -> str:
    principal: Principal = scope["asepsis.principal"]
    return f"person:{principal.name}"


def _query(scope: Scope) -> tuple[AssociationState, int]:
    query: bytes = scope["query_string"]
    try:
        given = dict(parse_qsl(query.decode("ascii"), max_num_fields=2, strict_parsing=bool(query)))
        state = AssociationState(given.pop("state", AssociationState.PROPOSED))
        limit = int(given.pop("limit", "100"))
    except ValueError as error:
        raise InputError("the parameters are state and limit") from error
    if given or not 1 <= limit <= LIST_MAX:
        raise InputError(f"the parameters are state, and limit from 1 to {LIST_MAX}")
    return state, limit
