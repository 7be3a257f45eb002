"""Routes without an action can not be built; errors become problem details."""

import asyncio
from enum import Enum
from typing import Any, cast

import msgspec
import pytest
from litestar import get, post
from litestar.params import JSONBody

from asepsis.core.errors import ConfigError, NotAuthenticated, NotPermitted, RateLimited
from asepsis.hub.web.asgi import Message, Receive, Scope, Send, answer
from asepsis.hub.web.litestar_mount import litestar_mount
from asepsis.hub.web.registry import Connection, ConnectionRegistry
from asepsis.hub.web.routing import Mount, Route, RouteInfo, Router


class Action(Enum):
    """What the test's decision table knows."""

    READ = 1
    WRITE = 2


async def show(scope: Scope, _receive: Receive, send: Send) -> None:
    params = scope.get("asepsis.path_params", {})
    await answer(send, 200, msgspec.json.encode(params), media=b"application/json")


async def busy(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RateLimited("slower", retry_after_s=3)


async def bug(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise KeyError("Jane")


def decide(principal: object, action: Enum) -> None:
    if principal == "nobody":
        raise NotAuthenticated("who are you?")
    if principal == "reader" and action is not Action.READ:
        raise NotPermitted("readers read")


ROUTES = (
    Route("GET", "/things/{name}", show, Action.READ),
    Route("POST", "/things/{name}", show, Action.WRITE),
    Route("GET", "/busy", busy, Action.READ),
    Route("GET", "/bug", bug, Action.READ),
)


@get("/api/pages", opt={"action": Action.READ}, sync_to_thread=False)
def pages() -> dict[str, str]:
    return {"page": "one"}


@post("/api/pages", opt={"action": Action.WRITE}, sync_to_thread=False)
def change(data: JSONBody[dict[str, int]]) -> dict[str, int]:
    return data


@get("/api/bug", opt={"action": Action.READ}, sync_to_thread=False)
def page_bug() -> None:
    raise KeyError("Jane")


def call(
    router: Router, method: str, path: str, *, who: str = "admin", body: bytes = b""
) -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[Message] = []
    raw, _, query = path.encode().partition(b"?")
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "https",
        "server": ("hub", 443),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "method": method,
        "path": raw.decode().replace("%20", " "),
        "raw_path": raw,
        "query_string": query,
        "headers": [(b"content-type", b"application/json"), (b"host", b"hub")],
        "asepsis.principal": who,
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(cast("Any", router(scope, receive, send)))
    text = b"".join(each.get("body", b"") for each in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), msgspec.json.decode(text) if text else None


@pytest.fixture(scope="module")
def router() -> Router:
    mount = litestar_mount(("/api",), [pages, change, page_bug], check=decide)
    return Router(ROUTES, check=decide, mounts=[mount])


@pytest.mark.parametrize("action", [None, "read", 1])
def test_a_route_without_an_action_can_not_be_built(action: Any) -> None:
    with pytest.raises(ConfigError):
        Route("GET", "/x", show, action)
    with pytest.raises(ConfigError):
        Mount(("/x",), show, (("GET", "/x", action),))


def test_a_litestar_handler_without_an_action_can_not_be_mounted() -> None:
    @get("/api/forgotten", sync_to_thread=False)
    def forgotten() -> None: ...

    with pytest.raises(ConfigError, match="names no action"):
        litestar_mount(("/api",), [forgotten], check=decide)


def test_a_litestar_handler_outside_its_prefixes_can_not_be_mounted() -> None:
    with pytest.raises(ConfigError, match="outside"):
        litestar_mount(("/other",), [pages], check=decide)


def test_two_routes_of_one_name_can_not_be_built() -> None:
    with pytest.raises(ConfigError):
        Router([*ROUTES, ROUTES[0]], check=decide)


def test_every_route_is_listed_with_its_action(router: Router) -> None:
    listed = set(router.routes("people"))
    assert RouteInfo("people", "POST", "/things/{name}", Action.WRITE) in listed
    assert RouteInfo("people", "POST", "/api/pages", Action.WRITE) in listed
    assert len(listed) == len(ROUTES) + 3


def test_a_parameter_is_decoded_with_its_slashes(router: Router) -> None:
    status, _, body = call(router, "GET", "/things/https:%2F%2Fid.gs1.org%2F01%20x")
    assert (status, body) == (200, {"name": "https://id.gs1.org/01 x"})


@pytest.mark.parametrize(
    ("method", "path", "who", "wanted"),
    [
        ("GET", "/nothing", "admin", 404),
        ("GET", "/things/", "admin", 404),
        ("GET", "/things/a/b", "admin", 404),
        ("DELETE", "/things/a", "admin", 405),
        ("POST", "/things/a", "reader", 403),
        ("GET", "/things/a", "nobody", 401),
        ("GET", "/busy", "admin", 429),
        ("GET", "/bug", "admin", 500),
        ("GET", "/api/nothing", "admin", 404),
        ("DELETE", "/api/pages", "admin", 405),
        ("GET", "/api/pages", "nobody", 401),
        ("POST", "/api/pages", "reader", 403),
        ("POST", "/api/pages", "admin", 400),
        ("GET", "/api/bug", "admin", 500),
    ],
)
def test_every_refusal_is_problem_details(
    router: Router, method: str, path: str, who: str, wanted: int
) -> None:
    """Goal: the same form from our router and from Litestar."""
    status, headers, body = call(router, method, path, who=who)
    assert (status, body["status"]) == (wanted, wanted)
    assert headers[b"content-type"] == b"application/problem+json"
    assert "Jane" not in str(body)
    if wanted == 405:
        assert b"GET" in headers[b"allow"]
    if wanted == 429:
        assert headers[b"retry-after"] == b"3"


def test_a_mounted_page_is_served(router: Router) -> None:
    assert call(router, "GET", "/api/pages")[::2] == (200, {"page": "one"})
    assert call(router, "POST", "/api/pages", body=b'{"a":1}')[::2] == (201, {"a": 1})


def test_the_authenticated_person_replaces_the_connection() -> None:
    async def authenticate(_scope: Scope) -> object:
        return "reader"

    mount = litestar_mount(("/api",), [change], check=decide, authenticate=authenticate)
    router = Router(ROUTES, check=decide, authenticate=authenticate, mounts=[mount])
    assert call(router, "GET", "/things/a", who="nobody")[0] == 200
    assert call(router, "POST", "/things/a")[0] == 403
    assert call(router, "POST", "/api/pages", body=b"{}")[0] == 403


def test_the_registry_forgets_what_ended() -> None:
    registry, closed = ConnectionRegistry(), list[int]()
    connection = Connection(
        listener="people",
        address="127.0.0.1",
        peer=None,
        peer_der=None,
        idevid=None,
        opened_ns=1,
        tls=None,
        abort=lambda: closed.append(1),
    )
    registry.add(connection)
    assert [each.id for each in registry.listing()] == [connection.id]
    assert registry.close_where(lambda each: each.listener == "people") == 1
    registry.remove(connection)
    registry.remove(connection)
    assert len(registry) == 0
    assert registry.close_identity("urn:dev:mac:0000000000000001") == 0
    connection.mark_closed()
    connection.on_close(lambda: closed.append(2))
    connection.close()
    assert closed == [1, 2]
    assert connection.peer_chain() == ()
