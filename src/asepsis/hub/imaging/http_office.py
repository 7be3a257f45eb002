"""What people who run the hub ask about images: what is held, what is set apart, what may out.

No patients.

Source: docs/reference/imaging.md.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import Connection, func, select

from asepsis.core.errors import InputError, NotFound
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.imaging.http import uid_of
from asepsis.hub.imaging.releasing import REASON_CHARS_MAX, Releases
from asepsis.hub.imaging.tables import instances, quarantine
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.routing import Route

SHOWN_MAX: Final = 500
JSON: Final = b"application/json"
RELEASE: Final = "/api/quarantined-images/{id}/release"
BODY_BYTES_MAX: Final = 4_096
DIGITS_MAX: Final = 18


class ReleaseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a release."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_CHARS_MAX)]


_REASON: Final = msgspec.json.Decoder(ReleaseBody)


class OfficeRoutes:
    """The handlers; one for a hub.

    Args:
        store: The state.
        releases: Takes objects out of quarantine.
    """

    def __init__(self, store: Store, releases: Releases) -> None:
        self._store = store
        self._releases = releases

    def routes(self) -> Sequence[Route]:
        """Return the routes, for the people listener."""
        return (
            Route("GET", "/api/images", self._studies, Action.READ_STATUS),
            Route("GET", "/api/images/{study}", self._study, Action.READ_STATUS),
            Route("GET", "/api/quarantined-images", self._quarantine, Action.READ_STATUS),
            Route("POST", RELEASE, self._release, Action.HANDLE_DEAD_LETTERS),
        )

    async def _studies(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        found = await self._store.read(_studies)
        await answer(send, 200, msgspec.json.encode({"studies": found}), media=JSON)

    async def _study(self, scope: Scope, _receive: Receive, send: Send) -> None:
        study = uid_of(scope["asepsis.path_params"]["study"])
        found = await self._store.read(lambda connection: _instances(connection, study))
        if not found:
            raise NotFound("no image of this study is held")
        await answer(send, 200, msgspec.json.encode({"instances": found}), media=JSON)

    async def _quarantine(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        found = await self._store.read(_quarantined)
        await answer(send, 200, msgspec.json.encode({"objects": found}), media=JSON)

    async def _release(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take an object out of quarantine, with a reason."""
        require_media(scope, "application/json")
        raw = await bounded_body(receive, BODY_BYTES_MAX, scope=scope)
        try:
            reason = _REASON.decode(raw).reason
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"the body is not as it must be: {error}") from error
        number: str = scope["asepsis.path_params"]["id"]
        if not (number.isascii() and number.isdigit() and len(number) <= DIGITS_MAX):
            raise NotFound("no such object in quarantine")
        principal: Principal = scope["asepsis.principal"]
        actor = f"person:{principal.name}"
        instance = await self._releases.release(int(number), actor=actor, reason=reason)
        await answer(send, 200, msgspec.json.encode({"instance": instance}), media=JSON)


def _studies(connection: Connection) -> list[dict[str, Any]]:
    newest = func.max(instances.c.received_at_ns)
    rows = connection.execute(
        select(
            instances.c.study,
            func.min(instances.c.device).label("device"),
            func.count().label("instances"),
            func.count(instances.c.accepted_at_ns).label("accepted"),
            func.sum(instances.c.length).label("bytes"),
            newest.label("received_at_ns"),
        )
        .group_by(instances.c.study)
        .order_by(newest.desc())
        .limit(SHOWN_MAX)
    )
    return [
        {
            "study": row.study,
            "device": row.device,
            "instances": row.instances,
            "accepted": row.accepted,
            "bytes": int(row.bytes),
            "received_at_ns": row.received_at_ns,
        }
        for row in rows
    ]


def _instances(connection: Connection, study: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(instances)
        .where(instances.c.study == study)
        .order_by(instances.c.id)
        .limit(SHOWN_MAX)
    )
    return [
        {
            "instance": row.sop_instance,
            "series": row.series,
            "sop_class": row.sop_class,
            "transfer_syntax": row.transfer_syntax,
            "bytes": row.length,
            "sha256": row.sha256.hex(),
            "sender": row.sender,
            "device": row.device,
            "calling_ae": row.calling_ae,
            "received_at_ns": row.received_at_ns,
            "accepted_at_ns": row.accepted_at_ns,
        }
        for row in rows
    ]


def _quarantined(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(select(quarantine).order_by(quarantine.c.id.desc()).limit(SHOWN_MAX))
    return [
        {
            "id": row.id,
            "instance": row.sop_instance,
            "reason": row.reason,
            "bytes": row.length,
            "sha256": row.sha256.hex(),
            "sender": row.sender,
            "device": row.device,
            "calling_ae": row.calling_ae,
            "at_ns": row.at_ns,
        }
        for row in rows
    ]
