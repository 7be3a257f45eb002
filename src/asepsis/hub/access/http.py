"""The bearer token of a person, read on every request of the people listener."""

from asepsis.hub.access.principal import Principal
from asepsis.hub.access.service import PeopleService
from asepsis.hub.web.asgi import Scope, header
from asepsis.hub.web.routing import Authenticate


def bearer(people: PeopleService) -> Authenticate:
    """Return what the people listener's router authenticates with (RFC 6750 section 2.1)."""

    async def authenticate(scope: Scope) -> Principal:
        return await people.authenticate(header(scope, b"authorization"))

    return authenticate
