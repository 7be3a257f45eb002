"""Routes about people on the people listener: accounts, roles, passwords, and who I am."""

import asyncio
from typing import Annotated, Any, Final

import msgspec

from asepsis.core.errors import InputError
from asepsis.hub.access.access import Access
from asepsis.hub.access.principal import Principal, Role
from asepsis.hub.access.rules import Action
from asepsis.hub.access.service import TOKEN_DAYS_DEFAULT, TOKEN_DAYS_MAX
from asepsis.hub.access.sessions import Session
from asepsis.hub.access.tables import PERSON_CHARS_MAX
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.documents import send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 4_096
PERSON: Final = "/api/people/{name}"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=PERSON_CHARS_MAX)]
Roles = Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=len(Role))]


class AddBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a new account."""

    name: Name
    roles: Roles


class RolesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of new roles."""

    roles: Roles


class PasswordBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a new password."""

    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class TokenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a new token: for how many days it is good."""

    days: Annotated[int, msgspec.Meta(ge=1, le=TOKEN_DAYS_MAX)] = TOKEN_DAYS_DEFAULT


_ADD: Final = msgspec.json.Decoder(AddBody)
_ROLES: Final = msgspec.json.Decoder(RolesBody)
_PASSWORD: Final = msgspec.json.Decoder(PasswordBody)
_TOKEN: Final = msgspec.json.Decoder(TokenBody)


class PeopleRoutes:
    """The handlers; one for a hub.

    Args:
        access: Everything about people.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/api/session", self._session, Action.USE_CONSOLE),
            Route("GET", "/api/people", self._list, Action.MANAGE_PEOPLE),
            Route("POST", "/api/people", self._add, Action.MANAGE_PEOPLE),
            Route("POST", PERSON + "/roles", self._roles, Action.MANAGE_PEOPLE),
            Route("POST", PERSON + "/password", self._password, Action.MANAGE_PEOPLE),
            Route("POST", PERSON + "/tokens", self._token, Action.MANAGE_PEOPLE),
            Route("POST", PERSON + "/second-factor/end", self._end_factor, Action.MANAGE_PEOPLE),
            Route("DELETE", PERSON, self._remove, Action.MANAGE_PEOPLE),
        ]

    async def _session(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Say who asks and until when; a page asks to learn whether the hub is there."""
        session: Session | None = scope.get("asepsis.session")
        principal: Principal = scope["asepsis.principal"]
        await send_document(
            send,
            {
                "person": principal.name,
                "roles": sorted(principal.roles),
                "expires_at_ns": None if session is None else session.expires_at_ns,
            },
        )

    async def _list(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_document(send, {"people": await self._access.accounts.listing()})

    async def _add(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: AddBody = await _body(scope, receive, _ADD)
        await self._access.accounts.add(body.name, body.roles, actor=_actor(scope))
        await send_document(send, {"done": True})

    async def _roles(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: RolesBody = await _body(scope, receive, _ROLES)
        await self._access.accounts.set_roles(_name(scope), body.roles, actor=_actor(scope))
        await send_document(send, {"done": True})

    async def _password(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: PasswordBody = await _body(scope, receive, _PASSWORD)
        await self._access.accounts.set_password(
            _name(scope),
            body.password,
            actor=_actor(scope),
            besides=scope.get("asepsis.connection"),
        )
        await send_document(send, {"done": True})

    async def _token(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a token for commands and scripts; it is shown this once."""
        body: TokenBody = await _body(scope, receive, _TOKEN)
        token = await asyncio.to_thread(
            self._access.people.issue_token, _name(scope), actor=_actor(scope), days=body.days
        )
        await send_document(send, {"token": token})

    async def _end_factor(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """End the second factor of somebody who lost it."""
        await self._access.factors.end(_name(scope), actor=_actor(scope))
        await send_document(send, {"done": True})

    async def _remove(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._access.accounts.remove(
            _name(scope), actor=_actor(scope), besides=scope.get("asepsis.connection")
        )
        await send_document(send, {"done": True})


async def _body(scope: Scope, receive: Receive, decoder: msgspec.json.Decoder[Any]) -> Any:
    require_media(scope, "application/json")
    raw = await bounded_body(receive, BODY_BYTES_MAX, scope=scope)
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("the body is not as it must be", hint="see docs/reference") from error


def _name(scope: Scope) -> str:
    name: str = scope["asepsis.path_params"]["name"]
    return name


def _actor(scope: Scope) -> str:
    principal: Principal = scope["asepsis.principal"]
    return principal.name
