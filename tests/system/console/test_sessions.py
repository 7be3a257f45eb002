"""Sessions against a real hub: who gets in, what a cookie is good for, and how it ends at once."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx
import pytest
from console_ward import PASSWORD, ConsoleWard

from asepsis.hub.access.sessions import COOKIE
from asepsis.hub.console.http import HANDLERS
from asepsis.hub.console.security import HEADERS
from hospital import device_name

END_S_MAX = 1.0
STREAM = f"/views/live?device={quote(device_name(1), safe='')}"
PAGE = {"Accept": "text/html"}


@pytest.fixture
def person(ward: ConsoleWard) -> Iterator[str]:
    """Return somebody new who sees patients."""
    name = f"p{time.monotonic_ns()}"
    ward.add_person(name, ["clinician"])
    yield name
    ward.api.delete(f"/api/people/{name}")


class Stream:
    """A live view that somebody holds open, in a thread."""

    def __init__(self, client: httpx.Client) -> None:
        self.begun, self.ended_s = threading.Event(), 0.0
        self._client = client
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.begun.wait(5)

    def end_after(self, act: Callable[[], httpx.Response]) -> float:
        """Return how long after an act began the stream ended, in seconds."""
        began_s = time.monotonic()
        answer = act()
        assert answer.status_code in (200, 303), answer.text
        self._thread.join(5)
        assert self.ended_s, "the stream goes on"
        return self.ended_s - began_s

    def _run(self) -> None:
        try:
            with self._client.stream("GET", STREAM) as answer:
                assert answer.status_code == 200
                for _ in answer.iter_bytes():
                    self.begun.set()
        except httpx.HTTPError:
            pass
        self.ended_s = time.monotonic()


def csrf(client: httpx.Client) -> str:
    """Return the token that the pages of a session carry."""
    found = re.search(r'<meta name="csrf" content="([0-9a-f]{64})">', client.get("/account").text)
    assert found
    return found[1]


def second(ward: ConsoleWard, client: httpx.Client) -> httpx.Client:
    """Return another connection of the same browser."""
    other = ward.client()
    other.cookies = client.cookies
    other.headers.update({"Origin": ward.base, "Sec-Fetch-Site": "same-origin"})
    return other


def test_the_cookie_is_bound_to_this_host_and_hidden_from_scripts(ward: ConsoleWard) -> None:
    client = ward.client()
    given = {"name": "clara", "password": PASSWORD}
    answer = client.post("/sign-in", data=given, headers={"Origin": ward.base})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    rules = {part.strip() for part in cookie.split(";")[1:]}
    assert rules == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
    ],
)
def test_a_form_must_come_from_our_own_pages(
    ward: ConsoleWard, headers: dict[str, str], status: int
) -> None:
    given = {"name": "clara", "password": PASSWORD}
    assert ward.client().post("/sign-in", data=given, headers=headers).status_code == status


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_cookie_counts_for_nothing_from_elsewhere(ward: ConsoleWard, site: str) -> None:
    client = ward.sign_in("clara")
    assert client.get("/api/devices").status_code == 200
    answer = client.get("/api/devices", headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403


def posts() -> list[str]:
    """Return every page that takes a form, from the route table."""
    found: list[str] = []
    for handler in HANDLERS:
        if "POST" in getattr(handler, "http_methods", ()):
            found += [re.sub(r"\{[^}]*\}", "x", path) for path in handler.paths]  # type: ignore[union-attr]
    return sorted(set(found) - {"/sign-in"})


@pytest.mark.parametrize("path", posts())
def test_no_form_is_taken_without_the_token_of_its_session(ward: ConsoleWard, path: str) -> None:
    ward.add_person(f"all {path}", ["clinician", "clinical-engineer"])
    client = ward.sign_in(f"all {path}")
    if path.startswith("/campaigns"):
        ward.enrol_factor(client)
    strange = csrf(ward.sign_in("clara"))
    for given in ({}, {"csrf": ""}, {"csrf": strange}):
        answer = client.post(path, data=given, headers={"Origin": ward.base})
        assert (answer.status_code, answer.json()["detail"]) == (
            400,
            "the form is not of this session",
        )
    assert client.get("/api/session").status_code == 200, "it still runs"


def test_a_change_over_the_api_needs_the_token_in_a_header(ward: ConsoleWard) -> None:
    client = ward.sign_in("boss")
    body = {"name": "new", "roles": ["viewer"]}
    own = {"Origin": ward.base}
    assert client.post("/api/people", json=body, headers=own).status_code == 403
    strange = own | {"X-CSRF-Token": "0" * 64}
    assert client.post("/api/people", json=body, headers=strange).status_code == 400
    good = own | {"X-CSRF-Token": csrf(client)}
    assert client.post("/api/people", json=body, headers=good).status_code == 403, "a password only"
    ward.enrol_factor(client)
    assert client.post("/api/people", json=body, headers=good).status_code == 200


def test_wrong_passwords_are_slowed_down_and_lock_nobody_else_out(
    ward: ConsoleWard, person: str
) -> None:
    client = ward.client()
    origin = {"Origin": ward.base}
    for _ in range(5):
        answer = client.post("/sign-in", data={"name": person, "password": "x"}, headers=origin)
        assert answer.status_code == 403
    answer = client.post("/sign-in", data={"name": person, "password": PASSWORD}, headers=origin)
    assert answer.status_code == 429
    assert "Try again in" in answer.text
    ward.sign_in("clara")


@pytest.mark.alone
def test_signing_out_ends_streams_in_a_second(ward: ConsoleWard, person: str) -> None:
    client = ward.sign_in(person)
    other = second(ward, client)
    token = csrf(client)
    took_s = Stream(client).end_after(lambda: other.post("/sign-out", data={"csrf": token}))
    assert took_s < END_S_MAX
    assert second(ward, client).get("/api/session").status_code == 401


@pytest.mark.alone
def test_ending_another_session_ends_its_streams(ward: ConsoleWard, person: str) -> None:
    first, other = ward.sign_in(person), ward.sign_in(person)
    stream = Stream(first)
    page = other.get("/account").text
    [path] = re.findall(r'action="(/account/sessions/[0-9a-f]+/end)"', page)
    given, origin = {"csrf": csrf(other)}, {"Origin": ward.base}
    assert stream.end_after(lambda: other.post(path, data=given, headers=origin)) < END_S_MAX
    assert other.get("/api/session").status_code == 200


@pytest.mark.alone
@pytest.mark.parametrize("what", ["remove", "password", "roles"])
def test_what_an_administrator_changes_ends_streams(
    ward: ConsoleWard, person: str, what: str
) -> None:
    stream = Stream(ward.sign_in(person))
    path = f"/api/people/{person}"
    acts: dict[str, Callable[[], httpx.Response]] = {
        "remove": lambda: ward.api.delete(path),
        "password": lambda: ward.api.post(path + "/password", json={"password": "another one 77"}),
        "roles": lambda: ward.api.post(path + "/roles", json={"roles": ["security"]}),
    }
    assert stream.end_after(acts[what]) < END_S_MAX


def test_a_changed_password_ends_every_session(ward: ConsoleWard, person: str) -> None:
    client, other = ward.sign_in(person), ward.sign_in(person)
    given = {"csrf": csrf(client), "old": PASSWORD, "new": "seven dry wooden stairs"}
    short = given | {"new": "short", "again": "short"}
    headers = {"Origin": ward.base}
    assert client.post("/account/password", data=short, headers=headers).status_code == 400
    again = given | {"again": given["new"]}
    assert client.post("/account/password", data=again, headers=headers).status_code == 303
    assert [each.get("/api/session").status_code for each in (client, other)] == [401, 401]


def test_a_wall_display_looks_for_weeks_and_is_a_viewers_only(ward: ConsoleWard) -> None:
    client = ward.client()
    headers = {"Origin": ward.base}
    given = {"name": "wall", "password": PASSWORD, "display": "1"}
    answer = client.post("/sign-in", data=given, headers=headers)
    assert "Max-Age=2592000" in answer.headers["set-cookie"]
    assert client.get("/ward").status_code == 200
    assert client.get("/audit").status_code == 403
    acts = ward.client().post("/sign-in", data=given | {"name": "clara"}, headers=headers)
    assert acts.status_code == 403
    assert "wall display" in acts.text


def test_every_page_carries_the_policy_and_is_not_stored(ward: ConsoleWard) -> None:
    client = ward.sign_in("clara")
    for path in ("/ward", "/devices", "/associations", "/account", "/status", "/sign-in", "/no"):
        answer = client.get(path, headers=PAGE)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        for name, value in HEADERS:
            assert answer.headers[name.decode()] == value.decode(), path
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_refusals_are_pages_for_people_and_problems_for_programs(ward: ConsoleWard) -> None:
    client = ward.sign_in("clara")
    for path, status in (("/audit", 403), ("/nothing", 404), ("/devices/urn:x", 404)):
        page = client.get(path, headers=PAGE)
        assert (page.status_code, page.headers["content-type"]) == (
            status,
            "text/html; charset=utf-8",
        )
        assert "To the start page" in page.text
        problem = client.get(path)
        assert problem.headers["content-type"] == "application/problem+json"
    nobody = ward.client().get("/devices", headers=PAGE)
    assert (nobody.status_code, nobody.headers["location"]) == (303, "/sign-in?next=/devices")


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil", "javascript:x"]
)
def test_the_way_back_leads_nowhere_else(ward: ConsoleWard, back: str) -> None:
    given = {"name": "clara", "password": PASSWORD, "next": back}
    answer = ward.client().post("/sign-in", data=given, headers={"Origin": ward.base})
    assert answer.headers["location"] == "/"


def test_files_are_cached_by_their_content(ward: ConsoleWard) -> None:
    client = ward.client()
    [path] = re.findall(r'href="(/static/console\.css\?v=[0-9a-f]+)"', client.get("/sign-in").text)
    first = client.get(path)
    assert "immutable" in first.headers["cache-control"]
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "no-cache" in client.get("/static/console.css").headers["cache-control"]
    assert client.get("/static/..%2Frender.py").status_code == 404
