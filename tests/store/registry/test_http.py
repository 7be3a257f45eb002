"""The enrolment listener without a network: credentials, nonces, limits."""

import asyncio
import base64
from typing import Any

import pytest

from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.requests import IssueRequest
from asepsis.hub.access.principal import ANONYMOUS, Principal
from asepsis.hub.access.rules import decide
from asepsis.hub.registry.http import (
    CHALLENGE,
    TIMES_PER_SECOND_MAX,
    EnrolmentRoutes,
    authenticate,
)
from asepsis.hub.web.routing import Router

GATEWAY = "urn:uuid:00000000-0000-4000-8000-000000000001"
DEVICE = Principal(kind=PrincipalKind.DEVICE, name="urn:dev:mac:0000000000000001")


class Listener:
    """Calls the router as the server does."""

    def __init__(self, hospital: Any) -> None:
        self.hospital = hospital
        routes = EnrolmentRoutes(
            hospital.service, hospital.signer, clock=hospital.store.clock
        ).routes()
        self._router = Router(routes, check=decide, authenticate=authenticate)
        self.peer_der = b""
        self.csr = b""

    def call(
        self,
        method: str,
        target: str,
        *,
        principal: Principal = ANONYMOUS,
        body: bytes = b"",
        **headers: str,
    ) -> tuple[int, dict[bytes, bytes]]:
        """Send one request; return status and headers."""
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
            "asepsis.principal": principal,
            "asepsis.peer_der": self.peer_der,
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self._router(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"])

    def enrol(self, path: str, **more: Any) -> tuple[int, dict[bytes, bytes]]:
        """Post a request for a certificate."""
        media = {"content_type": "application/pkcs10"}
        return self.call(
            "POST", f"/.well-known/est{path}", body=base64.b64encode(self.csr), **(media | more)
        )

    def asked(self) -> list[tuple[str, str]]:
        """Return profile and proof of what reached the signer."""
        return [
            (each.profile, type(each.proof).__name__)
            for each in self.hospital.signer.asked
            if isinstance(each, IssueRequest)
        ]


@pytest.fixture
def listener(hospital: Any, new_machine: Any) -> Listener:
    made = Listener(hospital)
    made.csr = new_machine().csr()
    return made


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Bearer x",
        basic(b"no colon"),
        basic(b":secret"),
        basic(b"id:"),
        basic(b"\xff:x"),
        basic(b"id:" + b"x" * 600),
    ],
)
def test_malformed_credentials_are_asked_for_again(listener: Listener, authorization: str) -> None:
    status, headers = listener.enrol("/device/simpleenroll", authorization=authorization)
    assert status == 401
    assert headers[b"www-authenticate"] == CHALLENGE.encode()
    assert listener.asked() == []


def test_who_shows_nothing_is_asked(listener: Listener) -> None:
    assert listener.enrol("/device/simpleenroll")[0] == 401
    assert listener.enrol("/device/simpleenroll", principal=DEVICE)[0] == 401
    assert listener.enrol("/device/simplereenroll")[0] == 401
    assert listener.asked() == []


def test_each_door_sends_its_proof(listener: Listener, hospital: Any, new_machine: Any) -> None:
    machine = new_machine()
    listener.peer_der = asyncio.run(hospital.issue_der(machine, hospital.expect()))
    hospital.signer.asked.clear()
    listener.csr = machine.csr()
    assert listener.enrol("/simplereenroll", principal=DEVICE)[0] == 200
    proof = hospital.expect(profile="gateway", name=GATEWAY)
    listener.csr = new_machine(GATEWAY).csr()
    token = {"authorization": basic(f"{proof.id}:{proof.secret}".encode())}
    assert listener.enrol("/gateway/simpleenroll", **token)[0] == 200
    listener.csr = machine.csr(origin=True)
    assert listener.enrol("/origin/simpleenroll", principal=DEVICE)[0] == 403
    assert listener.enrol("/origin/simplereenroll", principal=DEVICE)[0] == 403
    assert listener.asked() == [
        ("device", "RenewalProof"),
        ("gateway", "TokenProof"),
        ("origin", "RenewalProof"),
        ("origin", "RenewalProof"),
    ]


def test_a_label_that_is_none_is_malformed(listener: Listener) -> None:
    token = {"authorization": basic(b"id:secret")}
    assert listener.enrol("/server/simpleenroll", **token)[0] == 400


def test_the_authorities_are_remembered_for_a_minute(listener: Listener) -> None:
    for _ in range(3):
        status, headers = listener.call("GET", "/.well-known/est/cacerts")
        assert status == 200
        assert headers[b"content-type"] == b"application/pkcs7-mime; smime-type=certs-only"
    assert len(listener.hospital.signer.asked) == 1
    listener.hospital.store.clock.advance_s(60)
    listener.call("GET", "/.well-known/est/cacerts")
    assert len(listener.hospital.signer.asked) == 2


def test_a_storm_for_the_time_is_slowed_down(listener: Listener) -> None:
    target = "/time?nonce=" + "0a" * 8
    found = [listener.call("GET", target)[0] for _ in range(TIMES_PER_SECOND_MAX + 1)]
    assert found == [200] * TIMES_PER_SECOND_MAX + [429]
    listener.hospital.store.clock.advance_s(1)
    assert listener.call("GET", target)[0] == 200


@pytest.mark.parametrize(
    "query", ["", "nonce=", "nonce=0a", "nonce=" + "0A" * 8, "nonce=" + "0a" * 33, "x=" + "0a" * 8]
)
def test_nonces_that_are_none(listener: Listener, query: str) -> None:
    assert listener.call("GET", f"/time?{query}")[0] == 400
