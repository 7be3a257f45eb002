"""Routes about profiles and decisions on the people listener."""

from typing import Annotated, Any, Final

import msgspec

from asepsis.core.compliance.certificate import CERTIFICATE_BYTES_MAX
from asepsis.core.compliance.profile import PROFILE_BYTES_MAX, Interface
from asepsis.core.errors import InputError
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.registry.compliance.records import Admission, Stored
from asepsis.hub.registry.compliance.service import CONFORMANT_DAYS_MAX, ComplianceService
from asepsis.hub.registry.compliance.tables import PROFILE_NAME_CHARS_MAX, SUBJECT_CHARS_MAX
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 2 * PROFILE_BYTES_MAX
VERSION_DIGITS_MAX: Final = 7
MESSAGES_MAX: Final = 10_000

ProfileName = Annotated[str, msgspec.Meta(min_length=1, max_length=PROFILE_NAME_CHARS_MAX)]
Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=SUBJECT_CHARS_MAX)]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown."""


class ProfileBody(_Body, frozen=True):
    """A profile as it was written."""

    document: Annotated[str, msgspec.Meta(min_length=1, max_length=PROFILE_BYTES_MAX)]


class AdmissionBody(_Body, frozen=True):
    """A decision about a device or model."""

    subject: Subject
    profile: ProfileName
    version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    conformant_days: Annotated[int, msgspec.Meta(ge=1, le=CONFORMANT_DAYS_MAX)] | None = None
    certificate: Annotated[str, msgspec.Meta(max_length=CERTIFICATE_BYTES_MAX)] = ""


class WithdrawalBody(_Body, frozen=True):
    """The end of a decision."""

    subject: Subject
    interface: Interface


class LearnBody(_Body, frozen=True):
    """Which device to learn from."""

    device: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    name: ProfileName
    messages: Annotated[int, msgspec.Meta(ge=1, le=MESSAGES_MAX)] = 1_000


class ComplianceRoutes:
    """The handlers; one for a hub.

    Args:
        service: The use cases.
    """

    def __init__(self, service: ComplianceService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/api/profiles", self._list, Action.LIST_DEVICES),
            Route("POST", "/api/profiles", self._add, Action.MANAGE_PROFILES),
            Route("POST", "/api/profiles/learn", self._learn, Action.MANAGE_PROFILES),
            Route("GET", "/api/profiles/{name}/{version}", self._show, Action.LIST_DEVICES),
            Route("GET", "/api/compliance", self._state, Action.LIST_DEVICES),
            Route("POST", "/api/compliance/admit", self._admit, Action.MANAGE_PROFILES),
            Route("POST", "/api/compliance/withdraw", self._withdraw, Action.MANAGE_PROFILES),
        ]

    async def _list(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        found = [_summary(one) for one in self._service.book.stored]
        await send_document(send, {"profiles": found})

    async def _add(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, ProfileBody, bytes_max=BODY_BYTES_MAX)
        added = await self._service.add_profile(body.document.encode(), person=_person(scope))
        await send_document(send, {"name": added.name, "version": added.version})

    async def _learn(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Propose a profile from the newest messages of a device; nothing is kept of it."""
        body = await read_document(scope, receive, LearnBody, bytes_max=BODY_BYTES_MAX)
        document = await self._service.propose(
            device=body.device, name=body.name, messages_max=body.messages
        )
        await send_document(send, {"document": document})

    async def _show(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Show a version as it was written; 0 is the newest."""
        params: dict[str, str] = scope["asepsis.path_params"]
        text = params["version"]
        if not (text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX):
            raise InputError("a version is a number")
        found = self._service.stored(params["name"], int(text))
        await send_document(send, _summary(found) | {"document": found.document.decode()})

    async def _state(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        now_ns = self._service.store.clock()
        await send_document(
            send,
            {
                "admissions": [_admission(one, now_ns) for one in self._service.book.admissions],
                "devices": self._service.states(),
                "work_items": [_admission(one, now_ns) for one in self._service.work_items()],
            },
        )

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, AdmissionBody, bytes_max=BODY_BYTES_MAX)
        made = await self._service.admit(
            body.subject,
            profile=body.profile,
            version=body.version,
            conformant_days=body.conformant_days,
            certificate=body.certificate.encode(),
            person=_person(scope),
        )
        await send_document(send, _admission(made, self._service.store.clock()))

    async def _withdraw(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, WithdrawalBody, bytes_max=BODY_BYTES_MAX)
        await self._service.withdraw(body.subject, body.interface, person=_person(scope))
        await send_document(send, {"done": True})


def _summary(stored: Stored) -> dict[str, Any]:
    profile = stored.profile
    return {
        "name": profile.name,
        "version": profile.version,
        "interface": profile.interface.value,
        "models": list(profile.models),
        "source": profile.source,
        "metrics": len(profile.metrics),
        "added_ns": stored.added_ns,
        "person": stored.person,
    }


def _admission(admission: Admission, now_ns: int) -> dict[str, Any]:
    return {
        "subject": admission.subject,
        "interface": admission.interface.value,
        "profile": admission.profile,
        "version": admission.version,
        "conformant_until_ns": admission.conformant_until_ns,
        "lapsed": admission.lapsed(now_ns),
        "decided_ns": admission.decided_ns,
        "person": admission.person,
    }


def _person(scope: Scope) -> str:
    principal: Principal = scope["asepsis.principal"]
    return principal.name
