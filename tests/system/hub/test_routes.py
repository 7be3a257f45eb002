"""Every route on every listener with every kind of identity, generated from the route tables."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hub_ward import CONSUMER, GATEWAY, SIGNING, Ward, make_ward

from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.identity import Profile
from asepsis.hub.access.principal import Role
from asepsis.hub.access.rules import MACHINES, PEOPLE, Action
from asepsis.hub.access.service import PeopleService
from asepsis.hub.app import Hub
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.exchange.intake import Clocks
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from asepsis.hub.web.routing import RouteInfo
from hospital import Hospital

MACHINE_NAMES = {
    PrincipalKind.DEVICE: SIGNING,
    PrincipalKind.GATEWAY: GATEWAY,
    PrincipalKind.CONSUMER: CONSUMER,
}
REFUSED = {401, 403}


class Fixture:
    """A running ward, its route tables and a token for each role."""

    def __init__(self, ward: Ward, routes: list[RouteInfo], tokens: dict[Role, str]) -> None:
        self.ward = ward
        self.routes = routes
        self.tokens = tokens


def tables(hospital: Hospital) -> list[RouteInfo]:
    """Return the routes of a hub as it really composes them."""

    async def look() -> list[RouteInfo]:
        clocks = Clocks(wall=time.time_ns, monotonic=time.monotonic_ns)
        settings = read_settings(hospital.toml)
        kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
        hub = Hub(settings, clocks=clocks, kek=kek)
        await hub.start()
        found = [r for name, router in hub.routers.items() for r in router.routes(name.value)]
        await hub.stop()
        return found

    return asyncio.run(look())


def give_tokens(hospital: Hospital) -> dict[Role, str]:
    """Add a person of every role."""
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    people = PeopleService(store, AuditLog(time.time_ns))
    tokens: dict[Role, str] = {}
    for role in Role:
        people.add_person(f"test {role.value}", [role], actor="test")
        tokens[role] = people.issue_token(f"test {role.value}", actor="test")
    store.close()
    return tokens


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fixture]:
    ward = make_ward(tmp_path_factory.mktemp("routes"))
    routes = tables(ward.hospital)
    tokens = give_tokens(ward.hospital)
    ward.start()
    yield Fixture(ward, routes, tokens)
    ward.close()


def call(client: httpx.Client, route: RouteInfo, own: str, token: str | None = None) -> int:
    """Call a route with an empty body and return the status; a stream is left at once."""
    path = route.path
    for name in ("{id}", "{name}"):
        path = path.replace(name, own.replace(":", "%3A").replace("/", "%2F"))
    path = path.replace("{label}", "device")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with client.stream(route.method, path, headers=headers) as answer:
        return answer.status_code


def of(served: Fixture, listener: str) -> list[RouteInfo]:
    found = [route for route in served.routes if route.listener == listener]
    assert found
    return found


def test_every_listener_has_its_own_routes(served: Fixture) -> None:
    """Goal: no route but the live view is on two listeners (REQ-TLS-009)."""
    seen: dict[tuple[str, str], set[str]] = {}
    for route in served.routes:
        seen.setdefault((route.method, route.path), set()).add(route.listener)
    shared = {path for (_, path), where in seen.items() if len(where) > 1}
    assert shared == {"/views/live"}


@pytest.mark.parametrize("kind", list(MACHINE_NAMES), ids=lambda kind: kind.value)
def test_machines_get_what_the_table_gives(served: Fixture, kind: PrincipalKind) -> None:
    name = MACHINE_NAMES[kind]
    client = served.ward.client(name)
    for route in of(served, "clinical"):
        allowed = route.action in MACHINES[kind]
        status = call(client, route, name)
        assert (status not in REFUSED) == allowed, (route, status)


def test_nobody_enters_the_clinical_listener(served: Fixture) -> None:
    with pytest.raises(httpx.TransportError):
        served.ward.client(None).get("/metadata")


def test_a_stranger_enters_neither_machine_listener(served: Fixture, tmp_path: Path) -> None:
    """Goal: a certificate of another hospital, or of a maker nobody listed, ends in TLS."""
    stranger = Hospital(tmp_path).enlist([(SIGNING, Profile.DEVICE)])[0]
    served.ward.machines["stranger"] = stranger
    for listener in ("clinical", "enrolment"):
        with pytest.raises(httpx.TransportError):
            served.ward.client("stranger", listener).get("/metadata")


def test_the_enrolment_listener_gives_only_enrolment(served: Fixture) -> None:
    for name, kind in ((None, PrincipalKind.ANONYMOUS), (SIGNING, PrincipalKind.DEVICE)):
        client = served.ward.client(name, "enrolment")
        for route in of(served, "enrolment"):
            status = call(client, route, SIGNING)
            if route.action not in MACHINES[kind]:
                assert status in REFUSED, (name, route, status)
            assert status != 200 or route.action in {Action.READ_CA, Action.READ_TIME}
        for route in of(served, "clinical"):
            assert call(client, route, SIGNING) == 404


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_people_get_what_the_table_gives(served: Fixture, role: Role) -> None:
    client = served.ward.client(None, "people")
    for route in of(served, "people"):
        status = call(client, route, SIGNING, served.tokens[role])
        assert (status not in REFUSED) == (route.action in PEOPLE[role]), (route, status)


def test_people_without_a_good_token_get_nothing(served: Fixture) -> None:
    client = served.ward.client(None, "people")
    for token in (None, "asepsis.0000000000000000.x", "x", served.tokens[Role.VIEWER] + "x"):
        for route in of(served, "people"):
            assert call(client, route, SIGNING, token) == 401, (route, token)
