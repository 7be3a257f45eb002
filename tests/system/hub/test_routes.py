"""Every route on every listener with every kind of identity, generated from the route tables.

`ANSWERS` says what each route answers to an empty request of somebody who may ask; whoever may not
gets the one refusal that stands beside him in `EVERYBODY`, or TLS ends the connection before there
is a request at all. A route that is not in the table fails the tests.
"""

import asyncio
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hub_ward import CONSUMER, GATEWAY, SIGNING, Ward, make_ward
from identities import (
    SERVER_NAME,
    SignedHospital,
    certify,
    knock,
    make_idevid,
    make_maker,
    register,
)
from route_answers import ANSWERS

from asepsis.core.errors import IdentityInvalid, IdentityRevoked, NotAuthenticated, NotPermitted
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from asepsis.hub.access.principal import Role
from asepsis.hub.access.rules import MACHINES, PEOPLE, RENEWAL_ONLY, Action
from asepsis.hub.access.service import PeopleService
from asepsis.hub.app.hub import Hub
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.exchange.intake import Clocks
from asepsis.hub.keyholder import SignerSettings, start_signer
from asepsis.hub.keys import AdminClient
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from asepsis.hub.web.routing import RouteInfo
from hospital import DAY_NS, Hospital, device_name

SETTINGS: Final = f"""
[images]
readers = ["{GATEWAY}", "{CONSUMER}"]
[devices]
carry_requests = true
"""
REVOKED, EXPIRED, UNRECORDED = device_name(5), device_name(6), device_name(7)
NOTHING: Final = frozenset[Action]()
DOOR: Final = frozenset({Action.SIGN_IN})
"""What everybody may do on the people listener: try to become somebody."""
TLS: Final = None
"""In place of actions: TLS itself ends the connection."""
UNKNOWN: Final = (401, NotAuthenticated.code)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one identity gets; on the people listener everybody without a token is nobody.

    Attributes:
        clinical: Actions it is given on the clinical listener, or `TLS`.
        enrolment: The same on the enrolment listener.
        otherwise: Status and code of every other action.
        own: The name it puts into a path.
    """

    clinical: frozenset[Action] | None
    enrolment: frozenset[Action] | None
    otherwise: tuple[int, str] = (403, NotPermitted.code)
    own: str = SIGNING

    def on(self, listener: str) -> frozenset[Action] | None:
        """Return what it is given on a listener."""
        return DOOR if listener == "people" else getattr(self, listener)


def _member(kind: PrincipalKind, own: str) -> Expected:
    return Expected(clinical=MACHINES[kind], enrolment=MACHINES[kind], own=own)


INVALID: Final = (403, IdentityInvalid.code)
RENEWS: Final = MACHINES[PrincipalKind.DEVICE] & RENEWAL_ONLY
EVERYBODY: Final = {
    "device": _member(PrincipalKind.DEVICE, SIGNING),
    "gateway": _member(PrincipalKind.GATEWAY, GATEWAY),
    "consumer": _member(PrincipalKind.CONSUMER, CONSUMER),
    "nobody": Expected(
        clinical=TLS, enrolment=MACHINES[PrincipalKind.ANONYMOUS], otherwise=UNKNOWN
    ),
    "a device of another hospital": Expected(clinical=TLS, enrolment=TLS),
    "IDevID of a trusted maker": Expected(clinical=TLS, enrolment=MACHINES[PrincipalKind.IDEVID]),
    "IDevID of another maker": Expected(clinical=TLS, enrolment=TLS),
    "expired": Expected(clinical=TLS, enrolment=RENEWS),
    "revoked": Expected(clinical=NOTHING, enrolment=NOTHING, otherwise=(403, IdentityRevoked.code)),
    "never recorded": Expected(clinical=NOTHING, enrolment=RENEWS, otherwise=INVALID),
    "our name with another key": Expected(clinical=NOTHING, enrolment=NOTHING, otherwise=INVALID),
    "server": Expected(clinical=TLS, enrolment=TLS),
    "origin": Expected(clinical=TLS, enrolment=TLS),
}
LISTENERS: Final = ("clinical", "enrolment", "people")
PAIRS: Final = [(who, listener) for who in EVERYBODY for listener in LISTENERS]
SERVED: Final = [(w, at) for w, at in PAIRS if EVERYBODY[w].on(at) is not TLS]
NOT_SERVED: Final = [(w, at) for w, at in PAIRS if EVERYBODY[w].on(at) is TLS]


class Fixture:
    """A running ward, its route tables, a token for each role, and files for each identity."""

    def __init__(self, ward: Ward, routes: list[RouteInfo], tokens: dict[Role, str]) -> None:
        self.ward = ward
        self.routes = routes
        self.tokens = tokens
        self.files: dict[str, tls.KeyAndChain | None] = {}

    def context(self, who: str) -> ssl.SSLContext:
        """Return what somebody connects with."""
        return tls.client_context(root_der=self.ward.hospital.root_der, identity=self.files[who])

    def port(self, listener: str) -> int:
        """Return where a listener listens."""
        assert self.ward.hub is not None
        return self.ward.hub.ready["listeners"][listener]["port"]

    def person(self, role: Role) -> httpx.Client:
        """Return a client of a person."""
        client = self.ward.client(None, "people")
        client.headers["Authorization"] = f"Bearer {self.tokens[role]}"
        return client

    def counts(self, listener: str) -> dict[str, int]:
        """Return what the hub itself counted on a listener since it started."""
        found = self.person(Role.VIEWER).get("/api/status").json()["listeners"][listener]
        del found["open"]  # Other tests' connections end when they like.
        return found


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


def make_files(ward: Ward, folder: Path) -> dict[str, tls.KeyAndChain | None]:
    """Make every identity; the hub must not run yet. Returns their files."""
    hospital = ward.hospital
    assert isinstance(hospital, SignedHospital)
    maker = make_maker()
    ended = certify(hospital, Profile.DEVICE, EXPIRED, ends_ns=time.time_ns() - DAY_NS)
    register(hospital, ended.leaf, Profile.DEVICE)
    revoked = certify(hospital, Profile.DEVICE, REVOKED)
    register(hospital, revoked.leaf, Profile.DEVICE)

    async def trust() -> None:
        admin = AdminClient(hospital.home / "run" / "signer-admin.sock")
        await admin.trust_maker(maker.certificate.public_bytes(Encoding.DER))
        await admin.close()

    asyncio.run(trust())
    return {
        "device": ward.machines[SIGNING].files,
        "gateway": ward.machines[GATEWAY].files,
        "consumer": ward.machines[CONSUMER].files,
        "nobody": None,
        "a device of another hospital": Hospital(folder / "other")
        .enlist([(SIGNING, Profile.DEVICE)])[0]
        .files,
        "IDevID of a trusted maker": make_idevid(maker, folder),
        "IDevID of another maker": make_idevid(make_maker(), folder),
        "expired": ended.files,
        "revoked": revoked.files,
        "never recorded": certify(hospital, Profile.DEVICE, UNRECORDED).files,
        "our name with another key": certify(hospital, Profile.DEVICE, SIGNING).files,
        "server": certify(hospital, Profile.SERVER, SERVER_NAME).files,
        "origin": certify(hospital, Profile.ORIGIN, SIGNING).files,
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fixture]:
    folder = tmp_path_factory.mktemp("routes")
    ward = make_ward(folder / "ward", more=SETTINGS, made_as=SignedHospital)
    assert isinstance(ward.hospital, SignedHospital)
    signer = start_signer(SignerSettings(data=ward.hospital.home))
    try:
        found = Fixture(ward, tables(ward.hospital), give_tokens(ward.hospital))
        found.files = make_files(ward, folder)
        ward.start()
        done = found.person(Role.SECURITY).post(
            f"/api/devices/{REVOKED}/revoke", json={"reason": "stolen", "confirm": REVOKED}
        )
        assert done.json()["done"] is True, done.text
        yield found
    finally:
        ward.close()
        signer.stop()


def call(
    client: httpx.Client, route: RouteInfo, own: str, token: str | None = None
) -> tuple[int, str]:
    """Call a route with an empty body; return status and error code, which is empty for none."""
    path = route.path
    for name in ("{id}", "{name}"):
        path = path.replace(name, own.replace(":", "%3A").replace("/", "%2F"))
    path = path.replace("{label}", "device")
    for name in ("{study}", "{series}", "{instance}"):
        path = path.replace(name, "1.2.3")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with client.stream(route.method, path, headers=headers) as answer:
        if answer.status_code < 400:
            return answer.status_code, ""
        answer.read()
        if answer.headers["content-type"].startswith("text/html"):
            return answer.status_code, ""
        refusal = answer.json()
        if "issue" in refusal:  # An OperationOutcome: the code stands in front of the sentence.
            return answer.status_code, refusal["issue"][0]["diagnostics"].partition(":")[0]
        return answer.status_code, refusal["code"]


def of(served: Fixture, listener: str) -> list[RouteInfo]:
    found = [route for route in served.routes if route.listener == listener]
    assert found
    return found


def test_every_listener_has_its_own_routes(served: Fixture) -> None:
    """Goal: only the live view, the record and images are on two listeners (REQ-TLS-009)."""
    seen: dict[tuple[str, str], set[str]] = {}
    for route in served.routes:
        seen.setdefault((route.method, route.path), set()).add(route.listener)
    shared = {path for (_, path), where in seen.items() if len(where) > 1}
    own = {"/views/live", "/alarms", "/trends"}
    read = ("/fhir/", "/dicom-web/")
    assert {path for path in shared if not path.startswith(read)} == own


def test_the_table_of_answers_is_that_of_the_routes(served: Fixture) -> None:
    assert {f"{route.method} {route.path}" for route in served.routes} == set(ANSWERS)
    assert set(served.files) == set(EVERYBODY)


@pytest.mark.parametrize(("who", "listener"), SERVED)
def test_whom_tls_admits_gets_what_the_table_gives(
    served: Fixture, who: str, listener: str
) -> None:
    """Goal: exactly one status for each route; the people listener asks for no certificate."""
    expected = EVERYBODY[who]
    given = expected.on(listener)
    assert given is not TLS
    otherwise = UNKNOWN if listener == "people" else expected.otherwise
    url = f"https://localhost:{served.port(listener)}"
    with httpx.Client(verify=served.context(who), base_url=url, timeout=20) as client:
        for route in of(served, listener):
            status, code = call(client, route, expected.own)
            if route.action in given:
                assert status == ANSWERS[f"{route.method} {route.path}"], (route, status, code)
            else:
                assert (status, code) == otherwise, route


@pytest.mark.parametrize(("who", "listener"), NOT_SERVED)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_whom_tls_refuses_gets_nothing(
    served: Fixture, who: str, listener: str, version: ssl.TLSVersion
) -> None:
    """Goal: not a byte comes back, no request is read, and the hub counts a failed handshake."""
    context = served.context(who)
    context.minimum_version = context.maximum_version = version
    before = served.counts(listener)
    assert knock(context, served.port(listener)) == b""
    expected = before | {
        "accepted": before["accepted"] + 1,
        "handshakes_failed": before["handshakes_failed"] + 1,
    }
    # The hub counts after it has closed.
    deadline = time.monotonic() + 2
    while (counted := served.counts(listener)) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert counted == expected


@pytest.mark.parametrize("who", ["nobody", "device"])
def test_the_enrolment_listener_has_no_clinical_route(served: Fixture, who: str) -> None:
    url = f"https://localhost:{served.port('enrolment')}"
    with httpx.Client(verify=served.context(who), base_url=url, timeout=20) as client:
        for route in of(served, "clinical"):
            assert call(client, route, SIGNING)[0] == 404


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_people_get_what_the_table_gives(served: Fixture, role: Role) -> None:
    client = served.ward.client(None, "people")
    for route in of(served, "people"):
        status, code = call(client, route, SIGNING, served.tokens[role])
        if route.action in PEOPLE[role]:
            assert status == ANSWERS[f"{route.method} {route.path}"], (route, status, code)
        else:
            assert (status, code) == (403, NotPermitted.code), route


def test_people_without_a_good_token_get_nothing(served: Fixture) -> None:
    client = served.ward.client(None, "people")
    for token in ("asepsis.0000000000000000.x", "x", served.tokens[Role.VIEWER] + "x"):
        for route in of(served, "people"):
            assert call(client, route, SIGNING, token) == UNKNOWN, (route, token)
