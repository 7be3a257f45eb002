"""Mounts Litestar handlers on a listener: same problem details, same rule about actions.

Handlers name their action with `opt={"action": Action.X}`; building fails when one does not.
"""

import asyncio
import enum
import logging
import re
from collections.abc import Sequence
from typing import Any, Final, cast

from litestar import Litestar, Request, Response, get
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import FromPath
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from asepsis.core.errors import AsepsisError, ConfigError, InputError
from asepsis.hub.web.asgi import App, Message, Scope
from asepsis.hub.web.problems import MEDIA, Problem, problem
from asepsis.hub.web.routing import Authenticate, Check, Mount, require_action

_PARAMETER_TYPE: Final = re.compile(r":[a-z]+\}")
_log: Final = logging.getLogger("asepsis.hub.web")


def litestar_mount(
    prefixes: tuple[str, ...],
    handlers: Sequence[ControllerRouterHandler],
    *,
    check: Check,
    authenticate: Authenticate | None = None,
    body_bytes_max: int = 1_048_576,
    **dependencies: Any,
) -> Mount:
    """Build a `Mount` from Litestar route handlers, controllers or routers.

    Args:
        prefixes: Absolute path prefixes that hold every handler, for example `/api`.
        handlers: What to mount.
        check: The decision table, see `routing.Check`.
        authenticate: Turns a request into a principal, see `routing.Authenticate`.
        body_bytes_max: Largest request body, in bytes.
        dependencies: Values that handlers take by keyword, as Litestar dependencies.

    Raises:
        ConfigError: A handler names no action or stands outside the prefixes.
    """

    async def guard(
        connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler
    ) -> None:
        scope = cast("Scope", connection.scope)
        if authenticate is not None:
            scope["asepsis.principal"] = await authenticate(scope)
        check(scope["asepsis.principal"], route.opt["action"])

    app = _PlainLitestar(
        route_handlers=list(handlers),
        guards=[guard],
        openapi_config=None,
        debug=False,
        logging_config=None,
        request_max_body_size=body_bytes_max,
        dependencies={name: _provide(value) for name, value in dependencies.items()},
        exception_handlers={
            AsepsisError: _explain,
            HTTPException: _explain_http,
            Exception: _explain,
        },
    )
    return Mount(prefixes=prefixes, app=cast("App", app), routes=tuple(_routes(app)))


class _PlainLitestar(Litestar):
    """Without plugins for libraries that we do not use.

    The framework looks for them whenever an application is built. One that is not installed is not
    remembered as absent, so it is looked for again after root is given up, where the later user
    may not read the folders: that is another error than the one that the framework expects.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def rehearse() -> None:
    """Build a mount and ask it once: what the library imports late is imported then.

    A process that gives up root calls this before; its later user may not read the files.
    """

    class Act(enum.Enum):
        LOOK = "look"

    @get("/rehearsal/{number:int}", opt={"action": Act.LOOK})
    async def look(request: Request[Any, Any, Any], number: FromPath[int], thing: Thing) -> bytes:
        return b"%d%s" % (number, str(thing).encode()) + await request.body()

    mount = litestar_mount(
        ("/rehearsal",), [look], check=lambda _who, _action: None, authenticate=_nobody, thing=1
    )

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Message) -> None:
        """Drop the answer: only the way there counts."""

    async def ask() -> None:
        for path in ("/rehearsal/1", "/rehearsal/x", "/rehearsal"):
            await mount.app(_scope(path), receive, send)

    asyncio.run(ask())


Thing = NamedDependency[object]


async def _nobody(_scope: Scope) -> object:
    return None


def _scope(path: str) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
        "state": {},
        "extensions": {},
    }


def _routes(app: Litestar) -> list[tuple[str, str, enum.Enum]]:
    found: list[tuple[str, str, enum.Enum]] = []
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            raise ConfigError(f"route {route.path} is not HTTP", hint="no WebSocket is served")
        for handler in route.route_handlers:
            found += _methods(_PARAMETER_TYPE.sub("}", route.path), handler)
    return found


def _methods(path: str, handler: HTTPRouteHandler) -> list[tuple[str, str, enum.Enum]]:
    methods = sorted(str(each) for each in handler.http_methods)
    if methods == ["OPTIONS"] and "action" not in handler.opt:
        return []  # Litestar adds one per path; it only lists methods.
    action = require_action(handler.opt.get("action"), where=f"route {methods} {path}")
    return [(method, path, action) for method in methods]


def _provide(value: object) -> Any:
    return Provide(lambda: value, sync_to_thread=False)


def _explain(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    scope = cast("Scope", request.scope)
    connection = scope.get("asepsis.connection")
    instance = "" if connection is None else connection.request_id
    result = problem(error, instance=instance, challenge=scope.get("asepsis.challenge", "Bearer"))
    if result.status == 500:
        _log.error("request %s failed", instance, exc_info=error)
    return _response(result)


def _explain_http(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Give Litestar's own refusals (no route, bad parameter, large body) our form."""
    if error.status_code >= 500:
        return _explain(_request, error)
    text = "the request does not fit this route" if error.status_code == 400 else error.detail
    result = problem(InputError(text), status=error.status_code)
    headers = [(k.encode(), v.encode()) for k, v in (error.headers or {}).items()]
    return _response(result._replace(headers=[*result.headers, *headers]))


def _response(result: Problem) -> Response[bytes]:
    skip = (b"content-length", b"content-type")
    return Response(
        content=result.body,
        status_code=result.status,
        media_type=MEDIA.decode(),
        headers={k.decode(): v.decode() for k, v in result.headers if k not in skip},
    )
