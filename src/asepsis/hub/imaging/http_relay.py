"""The routes of the channel between gateways of imaging, on the clinical listener.

Source: docs/reference/imaging-relay.md.
"""

from typing import Final
from urllib.parse import parse_qsl

from asepsis.core.errors import InputError
from asepsis.core.wire import relay
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.imaging.relay import Relay
from asepsis.hub.imaging.relay_memory import Sheet
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.routing import Route

QUESTIONS: Final = "/relay/questions"
REPORTS: Final = "/relay/reports"
ARCHIVE: Final = "/relay/archives/{archive}"
_NUMBER_MAX: Final = 1 << 40


class RelayRoutes:
    """The handlers; one for a hub.

    Args:
        service: The use cases.
    """

    def __init__(self, service: Relay) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        ask, fetch = Action.ASK_ARCHIVE, Action.FETCH_OUTBOUND
        return [
            Route("POST", QUESTIONS, self._ask, ask),
            Route("DELETE", QUESTIONS + "/{question}", self._end, ask),
            Route("GET", QUESTIONS + "/{question}/answers", self._answers, ask),
            Route("GET", REPORTS, self._report, ask),
            Route("POST", REPORTS + "/{question}", self._reported, ask),
            Route("GET", ARCHIVE, self._take, fetch),
            Route("POST", ARCHIVE + "/{question}/answers", self._add, fetch),
        ]

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a question; 201, durable where its kind is."""
        require_media(scope, relay.JSON)
        asked = relay.decode_asked(await bounded_body(receive, relay.ASKED_BYTES_MAX, scope=scope))
        await self._service.ask(_principal(scope), asked)
        await answer(send, 201, relay.encode({"id": asked.id}), media=_media(relay.JSON))

    async def _end(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Nobody waits any more; 204."""
        await self._service.end(_principal(scope), _param(scope, "question"))
        await answer(send, 204, b"", media=_media(relay.JSON))

    async def _answers(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?after=&wait=`: the page after a number; 204 if there is none yet."""
        after, wait_s = _numbers(scope, "after", "wait")
        question = _param(scope, "question")
        sheet = await self._service.answers(
            _principal(scope), question, after=after, wait_s=float(_wait(wait_s))
        )
        if sheet is None:
            await answer(send, 204, b"", media=_media(relay.JSON))
        else:
            await answer(send, 200, sheet.body, media=_media(sheet.media))

    async def _report(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?skip=&wait=`: a commitment with its answer that its modality did not hear; or 204."""
        skip, wait_s = _numbers(scope, "skip", "wait")
        found = await self._service.report(
            _principal(scope), skip=skip, wait_s=float(_wait(wait_s))
        )
        if found is None:
            await answer(send, 204, b"", media=_media(relay.JSON))
        else:
            body = relay.encode(relay.Report(asked=found[0], page=found[1]))
            await answer(send, 200, body, media=_media(relay.JSON))

    async def _reported(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Its modality has heard of it; 204."""
        await self._service.reported(_principal(scope), _param(scope, "question"))
        await answer(send, 204, b"", media=_media(relay.JSON))

    async def _take(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?wait=`: the next question of an archive; 204 if there is none yet."""
        (wait_s,) = _numbers(scope, "wait")
        archive = _param(scope, "archive")
        asked = await self._service.take(_principal(scope), archive, wait_s=float(_wait(wait_s)))
        if asked is None:
            await answer(send, 204, b"", media=_media(relay.JSON))
        else:
            await answer(send, 200, relay.encode(asked), media=_media(relay.JSON))

    async def _add(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`?number=`: one page of an answer; 204."""
        media = require_media(scope, relay.JSON, relay.BYTES)
        (number,) = _numbers(scope, "number")
        body = await bounded_body(receive, relay.PAGE_BYTES_MAX, scope=scope)
        await self._service.add(
            _principal(scope),
            _param(scope, "archive"),
            _param(scope, "question"),
            number=number,
            sheet=Sheet(media, body),
        )
        await answer(send, 204, b"", media=_media(relay.JSON))


def _principal(scope: Scope) -> Principal:
    principal: Principal = scope["asepsis.principal"]
    return principal


def _param(scope: Scope, name: str) -> str:
    value: str = scope["asepsis.path_params"][name]
    return value


def _media(name: str) -> bytes:
    return name.encode("ascii")


def _wait(wait_s: int) -> int:
    if wait_s > relay.WAIT_S_MAX:
        raise InputError(f"wait is 0 to {relay.WAIT_S_MAX}")
    return wait_s


def _numbers(scope: Scope, *names: str) -> list[int]:
    """Return whole numbers of the query, 0 for one that is not there."""
    query: bytes = scope["query_string"]
    try:
        text = query.decode("ascii")
        given = dict(parse_qsl(text, max_num_fields=len(names), strict_parsing=bool(query)))
        found = [int(given.pop(name, "0")) for name in names]
    except ValueError as error:
        raise InputError(f"the parameters are {' and '.join(names)}") from error
    if given or not all(0 <= number <= _NUMBER_MAX for number in found):
        raise InputError(f"the parameters are {' and '.join(names)}")
    return found
