"""Refusals as pages: whoever asks with a browser gets words, whoever asks with a program a problem.

One wrapper around everything that the people listener answers, so no route forgets it.
"""

from typing import Final
from urllib.parse import quote

import msgspec

from asepsis.hub.console.render import render
from asepsis.hub.web.asgi import App, Headers, Message, Receive, Scope, Send, header
from asepsis.hub.web.problems import MEDIA

SIGN_IN: Final = "/sign-in"
PROBLEM_BYTES_MAX: Final = 65_536
NEXT_CHARS_MAX: Final = 256
_KEPT: Final = frozenset((b"retry-after", b"allow"))
_ADVICE: Final = {
    401: "Sign in and try again.",
    403: "Your account may not do this. Whoever manages accounts can tell you who may.",
    404: "The address leads nowhere. The device or proposal may be gone.",
    409: "Somebody else was faster, or the state has changed. Look again before you decide.",
    429: "Wait a moment, then try again.",
    500: "This is a fault of the hub. Bedside monitoring and alarms are not affected by it.",
    503: "The hub is busy or a part of it is away. Bedside alarms apply.",
}


class ProblemBody(msgspec.Struct, frozen=True):
    """What a page shows of a problem (RFC 9457)."""

    title: str = "Error"
    detail: str = ""
    hint: str = ""
    code: str = ""
    instance: str = ""


def with_error_pages(app: App) -> App:
    """Wrap the application of the people listener."""

    async def dressed(scope: Scope, receive: Receive, send: Send) -> None:
        if _wants_page(scope):
            send = _Dresser(scope, send)
        await app(scope, receive, send)

    return dressed


class _Dresser:
    """Holds back a problem until it is whole, then sends a page instead."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_problem(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")[:PROBLEM_BYTES_MAX]
            if not message.get("more_body", False):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        status: int = start["status"]
        kept = [(name, value) for name, value in start["headers"] if name.lower() in _KEPT]
        if status == 401 and self._scope["method"] == "GET":
            await self._answer(303, b"", [(b"location", self._sign_in().encode())])
            return
        try:
            found = msgspec.json.decode(bytes(self._body), type=ProblemBody)
        except msgspec.MsgspecError:
            found = ProblemBody()
        advice = found.hint or _ADVICE.get(status, "")
        page = render("error.html", status=status, problem=found, advice=advice)
        await self._answer(status, page, kept)

    async def _answer(self, status: int, body: bytes, headers: Headers) -> None:
        fields: Headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.body", "body": body})

    def _sign_in(self) -> str:
        """Return the way to the sign-in page and back; the way back is a path of ours only."""
        path: str = self._scope["raw_path"].decode("ascii", "replace")[:NEXT_CHARS_MAX]
        ended = "&ended=1" if self._scope.get("asepsis.session_ended") else ""
        return f"{SIGN_IN}?next={quote(path, safe='/')}{ended}"


def _wants_page(scope: Scope) -> bool:
    return b"text/html" in (header(scope, b"accept") or b"")


def _is_problem(message: Message) -> bool:
    headers: Headers = message["headers"]
    for name, value in headers:
        if name.lower() == b"content-type":
            return value.startswith(MEDIA)
    return False
