"""What a person shows on a request of the people listener: a bearer token, or a browser's cookie.

A cookie counts only where the request comes from our own pages. Browsers send it to the same site
only (SameSite=Strict), yet another port of this host is the same site: so the request must also say
that its origin is ours, and a request that changes something must say it twice, with the session's
token in a header or a form.

Source: RFC 6750 section 2.1; RFC 6265bis; Fetch Metadata; RFC 6454 section 7 (Origin).
"""

from collections.abc import Callable
from typing import Final

from asepsis.core.errors import NotAuthenticated, NotPermitted
from asepsis.hub.access.held import HeldConnections
from asepsis.hub.access.principal import ANONYMOUS, Principal
from asepsis.hub.access.service import PeopleService
from asepsis.hub.access.sessions import COOKIE, Session, SessionService
from asepsis.hub.web.asgi import Scope, header
from asepsis.hub.web.routing import Authenticate

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
CSRF_HEADER: Final = b"x-csrf-token"
CSRF_CHARS_MAX: Final = 128
COOKIES_BYTES_MAX: Final = 4_096
_OURS: Final = frozenset({b"same-origin", b"none"})
"""Values of Sec-Fetch-Site: our own page, or a person who typed the address."""
BY_ITSELF: Final = (b"hx-request", b"last-event-id")
"""Headers of requests that a page sends without a person: they do not prolong a session."""


class Credentials:
    """Recognises people on the people listener; one for a hub.

    Args:
        people: Their tokens.
        sessions: Their browsers' sessions.
        held: Connections by credential.
    """

    def __init__(
        self, people: PeopleService, sessions: SessionService, held: HeldConnections
    ) -> None:
        self._people = people
        self._sessions = sessions
        self._held = held

    def api(self) -> Authenticate:
        """Return what routes for programs authenticate with: a change needs the CSRF header."""
        return self._using(_check_header)

    def forms(self) -> Authenticate:
        """Return what pages authenticate with: each form checks the CSRF token in its body."""
        return self._using(_leave_to_form)

    def _using(self, check: Callable[[Scope, Session], None]) -> Authenticate:
        async def authenticate(scope: Scope) -> Principal:
            authorization = header(scope, b"authorization")
            if authorization is not None:
                return await self._by_token(scope, authorization)
            cookie = read_cookie(scope)
            if cookie is None:
                return ANONYMOUS
            check_origin(scope)
            session = await self._by_cookie(scope, cookie)
            if session is None:
                return ANONYMOUS
            if scope["method"] not in SAFE_METHODS:
                check(scope, session)
            return session.principal

        return authenticate

    async def _by_token(self, scope: Scope, authorization: bytes) -> Principal:
        found = await self._people.recognise(authorization)
        connection = scope.get("asepsis.connection")
        if connection is not None:
            self._held.note(
                connection, credential=f"token:{found.token_id}", person=found.principal.name
            )
        return found.principal

    async def _by_cookie(self, scope: Scope, cookie: str) -> Session | None:
        """Return the session, or None for one that is over: who shows it is nobody now."""
        used = not any(header(scope, name) for name in BY_ITSELF)
        stream = b"text/event-stream" in (header(scope, b"accept") or b"")
        try:
            session = await self._sessions.authenticate(
                cookie, connection=scope.get("asepsis.connection"), used=used and not stream
            )
        except NotAuthenticated:
            scope["asepsis.session_ended"] = True
            return None
        scope["asepsis.session"] = session
        return session


def check_origin(scope: Scope) -> None:
    """Let a request with a cookie pass that comes from our own pages.

    Raises:
        NotPermitted: It comes from another origin, or changes something and does not say where it
            comes from.
    """
    site, origin = header(scope, b"sec-fetch-site"), header(scope, b"origin")
    if site is not None and site not in _OURS:
        raise NotPermitted("the request comes from another site")
    changes = scope["method"] not in SAFE_METHODS
    if origin == b"null" or (origin is None and changes):
        # Browsers hide the origin of a form where the page sends no Referer, as ours do.
        if site != b"same-origin":
            raise NotPermitted("the request does not say where it comes from")
        return
    ours = b"https://" + (header(scope, b"host") or b"")
    if origin is not None and origin.lower() != ours.lower():
        raise NotPermitted("the request comes from another origin")


def read_cookie(scope: Scope) -> str | None:
    """Return the value of the session's cookie, or None."""
    raw = header(scope, b"cookie")
    if raw is None:
        return None
    for part in raw[:COOKIES_BYTES_MAX].split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE.encode():
            return value.decode("latin-1")
    return None


def _check_header(scope: Scope, session: Session) -> None:
    given = header(scope, CSRF_HEADER)
    if given is None:
        raise NotPermitted("a change needs the session's token in X-CSRF-Token")
    session.check_csrf(given[:CSRF_CHARS_MAX].decode("latin-1"))


def _leave_to_form(_scope: Scope, _session: Session) -> None:
    """Say nothing: the handler reads the body, and refuses one without the token."""
