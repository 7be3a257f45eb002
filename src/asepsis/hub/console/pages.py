"""What every page shares: who looks, what they may do, forms that are really theirs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from litestar import Request, Response

from asepsis.core.errors import FramingError, InputError, NotAuthenticated, NotPermitted
from asepsis.hub.access.http import check_origin
from asepsis.hub.access.principal import ANONYMOUS, Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.access.sessions import Session
from asepsis.hub.console.render import render
from asepsis.hub.web.asgi import Scope

FORM_BYTES_MAX: Final = 16_384
FORM_FIELDS_MAX: Final = 16
FIELD_CHARS_MAX: Final = 2_048
CSRF_FIELD: Final = "csrf"
Web = Request[Any, Any, Any]
Page = Response[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around every page.

    Attributes:
        clock: Wall time in nanoseconds since 1970.
        facility: Name of the place, for the head of each page.
    """

    clock: Callable[[], int]
    facility: str

    def page(self, request: Web, template: str, /, *, status: int = 200, **values: Any) -> Page:
        """Render a page for whoever asks."""
        scope = cast("Scope", request.scope)
        principal: Principal = scope.get("asepsis.principal", ANONYMOUS)
        session: Session | None = scope.get("asepsis.session")

        def offered(action: str) -> bool:
            return may(principal, Action(action))

        def possible(action: str) -> bool:
            return could(principal, Action(action))

        body = render(
            template,
            principal=principal,
            session=session,
            csrf="" if session is None else session.csrf,
            may=offered,
            could=possible,
            proven=not principal.password_only,
            path=scope["path"],
            facility=self.facility,
            now_ns=self.clock(),
            **values,
        )
        return Response(content=body, status_code=status, media_type="text/html")


def may(principal: Principal, action: Action) -> bool:
    """Say whether to offer something; the route asks again, and refuses."""
    try:
        decide(principal, action)
    except (NotPermitted, NotAuthenticated):
        return False
    return True


def could(principal: Principal, action: Action) -> bool:
    """Say whether somebody may do something once a second factor is shown."""
    return may(replace(principal, password_only=False), action)


def who(request: Web) -> Principal:
    """Return who asks."""
    principal: Principal = cast("Scope", request.scope)["asepsis.principal"]
    return principal


def is_refresh(request: Web) -> bool:
    """Say whether a page asks for its own live part again, rather than a person for the page."""
    return "hx-request" in request.headers


def redirect(path: str, *, cookie: str | None = None) -> Page:
    """Send the browser on after a form, so that loading again does not send it again."""
    headers = {"location": path} | ({} if cookie is None else {"set-cookie": cookie})
    return Response(content=b"", status_code=303, headers=headers, media_type="text/html")


async def read_form(request: Web, *, chars_max: int = FIELD_CHARS_MAX) -> Mapping[str, str]:
    """Return the fields of a form that this session's own page sent.

    Args:
        request: What came.
        chars_max: Longest field.

    Raises:
        NotPermitted: It comes from another origin.
        InputError: It does not carry the session's token, or is no form.
    """
    scope = cast("Scope", request.scope)
    session: Session | None = scope.get("asepsis.session")
    principal: Principal = scope["asepsis.principal"]
    if session is not None or principal is ANONYMOUS:
        check_origin(scope)
    fields = parse_form(await request.body(), chars_max=chars_max)
    if session is not None:
        session.check_csrf(fields.get(CSRF_FIELD, ""))
    return fields


def parse_form(body: bytes, *, chars_max: int = FIELD_CHARS_MAX) -> Mapping[str, str]:
    """Read a body of type application/x-www-form-urlencoded.

    Args:
        body: At most `FORM_BYTES_MAX` bytes.
        chars_max: Longest field.

    Raises:
        FramingError: Not such a form, too many or too long fields, or one given twice.

    Source: WHATWG URL section 5.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=FORM_FIELDS_MAX,
        )
    except ValueError as error:
        raise FramingError("the form cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs) or any(len(value) > chars_max for value in fields.values()):
        raise FramingError("a field is repeated or too long")
    return fields


def require(fields: Mapping[str, str], name: str) -> str:
    """Return a field that must not be empty.

    Raises:
        InputError: It is absent or empty.
    """
    value = fields.get(name, "").strip()
    if not value:
        raise InputError(f"the field {name} is empty")
    return value


def segment(text: str) -> str:
    """Return a path parameter as it was meant: the listener leaves an encoded slash encoded."""
    return text.replace("%2F", "/")
