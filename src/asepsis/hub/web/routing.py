"""A small router for the hot lanes, where every route names the action it performs.

A route without an action can not be built, so the decision table is asked before every handler,
and a generated test can call every route with every kind of identity.
"""

import enum
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from asepsis.core.errors import ConfigError, InputError, NotFound
from asepsis.hub.web.asgi import App, Receive, Scope, Send
from asepsis.hub.web.heads import decode_segment
from asepsis.hub.web.problems import problem, send_problem

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
SEGMENTS_MAX: Final = 16

Check = Callable[[object, enum.Enum], object]
"""Called with (principal, action) before each handler; raises `NotPermitted` or
`NotAuthenticated`. `hub.access.rules.decide` is the real one."""

Authenticate = Callable[[Scope], Awaitable[object]]
"""Called with the scope before the check where people show a token; returns the principal."""

_log: Final = logging.getLogger("asepsis.hub.web")


class RouteInfo(NamedTuple):
    """One route as tests and the status page see it."""

    listener: str
    method: str
    path: str
    action: enum.Enum


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path, what it does, and which action that is.

    Args:
        method: Upper-case method.
        path: Absolute path; a segment `{name}` is a parameter, found decoded in
            `scope["asepsis.path_params"]`. An encoded slash belongs to its segment, so device names
            with slashes are one parameter.
        handler: ASGI application.
        action: Member of the action enum that the decision table knows.

    Raises:
        ConfigError: A part is missing or malformed.
    """

    method: str
    path: str
    handler: App
    action: enum.Enum

    def __post_init__(self) -> None:
        require_action(self.action, where=f"route {self.method} {self.path}")
        if self.method not in METHODS:
            raise ConfigError(f"route {self.path}: no such method: {self.method}")
        if not self.path.startswith("/"):
            raise ConfigError(f"route {self.path}: a path starts with a slash")


@dataclass(frozen=True, slots=True)
class Mount:
    """A further application below path prefixes, with its own routes.

    Args:
        prefixes: Absolute path prefixes without a slash at the end, for example `/api`.
        app: ASGI application that checks the action of each of its routes itself.
        routes: (method, path, action) of each.

    Raises:
        ConfigError: No prefix, or a route outside the prefixes or without an action.
    """

    prefixes: tuple[str, ...]
    app: App
    routes: tuple[tuple[str, str, enum.Enum], ...]

    def __post_init__(self) -> None:
        if not self.prefixes:
            raise ConfigError("a mount needs a prefix")
        for method, path, action in self.routes:
            require_action(action, where=f"route {method} {path}")
            if not self.covers(path):
                raise ConfigError(f"route {path} is outside {self.prefixes}")

    def covers(self, path: str) -> bool:
        """Say whether a path belongs to this mount."""
        return any(path == each or path.startswith(each + "/") for each in self.prefixes)


class Router:
    """Finds the route, asks who may, calls it, and turns every error into problem details.

    Args:
        routes: The table.
        check: The decision, see `Check`.
        authenticate: Where people show a token, see `Authenticate`; its principal replaces the
            one of the listener's admission.
        mounts: Further applications.

    Raises:
        ConfigError: Two routes of one method and path.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        check: Check,
        authenticate: Authenticate | None = None,
        mounts: Sequence[Mount] = (),
    ) -> None:
        self._check = check
        self._authenticate = authenticate
        self._mounts = tuple(mounts)
        self._static: dict[str, dict[str, Route]] = {}
        self._dynamic: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        self._routes = tuple(routes)
        for route in self._routes:
            methods = self._methods_for(route.path)
            if route.method in methods:
                raise ConfigError(f"two routes for {route.method} {route.path}")
            methods[route.method] = route

    def routes(self, listener: str) -> list[RouteInfo]:
        """Return every route, mounts included, as those of a listener."""
        own = [RouteInfo(listener, each.method, each.path, each.action) for each in self._routes]
        mounted = [RouteInfo(listener, *each) for mount in self._mounts for each in mount.routes]
        return own + mounted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        guarded = _Guarded(send)
        try:
            await self._serve(scope, receive, guarded)
        except Exception as error:  # noqa: BLE001 - a handler's bug is one 500, logged, not an outage
            await self._explain(guarded, scope, error)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self._static.get(scope["path"])
        if methods is None:
            mount = next((each for each in self._mounts if each.covers(scope["path"])), None)
            if mount is not None:
                await mount.app(scope, receive, send)
                return
            methods = self._match(scope)
        route = methods.get(scope["method"])
        if route is None:
            await _not_allowed(scope, send, methods)
            return
        if self._authenticate is not None:
            scope["asepsis.principal"] = await self._authenticate(scope)
        self._check(scope["asepsis.principal"], route.action)
        await route.handler(scope, receive, send)

    async def _explain(self, send: "_Guarded", scope: Scope, error: Exception) -> None:
        if send.started:
            # Too late for a status; the protocol module ends the connection.
            raise error
        await send_problem(send, scope, error)

    def _methods_for(self, path: str) -> dict[str, Route]:
        if "{" not in path:
            return self._static.setdefault(path, {})
        pattern = tuple(path.split("/"))
        same_length = self._dynamic.setdefault(len(pattern), [])
        for known, methods in same_length:
            if known == pattern:
                return methods
        methods: dict[str, Route] = {}
        same_length.append((pattern, methods))
        return methods

    def _match(self, scope: Scope) -> dict[str, Route]:
        raw: str = cast("bytes", scope["raw_path"]).decode("ascii")
        parts = raw.split("/", SEGMENTS_MAX)
        for pattern, methods in self._dynamic.get(len(parts), ()):
            params = _bind_segments(pattern, parts)
            if params is not None:
                scope["asepsis.path_params"] = params
                return methods
        raise NotFound("no such path on this listener")


class _Guarded:
    """Remembers whether an answer has begun."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    def __call__(self, message: Scope) -> Awaitable[None]:
        self.started = True
        return self._send(message)


def require_action(action: object, *, where: str) -> enum.Enum:
    """Return the action that a route names.

    Raises:
        ConfigError: It names none.
    """
    if not isinstance(action, enum.Enum):
        raise ConfigError(f"{where} names no action", hint="add one from the decision table")
    return action


def _bind_segments(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            if not part:
                return None
            params[wanted[1:-1]] = decode_segment(part).replace("%2F", "/")
        elif wanted != part:
            return None
    return params


async def _not_allowed(scope: Scope, send: Send, methods: dict[str, Route]) -> None:
    connection = scope.get("asepsis.connection")
    result = problem(
        InputError("method not allowed here"),
        status=405,
        instance="" if connection is None else connection.request_id,
    )
    allow = (b"allow", ", ".join(sorted(methods)).encode())
    headers = [*result.headers, allow]
    await send({"type": "http.response.start", "status": result.status, "headers": headers})
    await send({"type": "http.response.body", "body": result.body})
