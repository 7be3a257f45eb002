"""What a thief, a liar and a neighbour get: refused, by real TLS, real signer, both databases."""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.trust.identity import EKU_SDC_PROVIDER
from asepsis.core.trust.pkcs7 import from_body, read_certs_only
from asepsis.hub.audit import log

DEVICE = "urn:dev:mac:00000000000000{:02x}"
CONSUMER = "urn:uuid:00000000-0000-4000-8000-0000000000{:02x}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Return a name of this test's own."""
    number = sum(request.node.name.encode()) % 251
    return f"urn:dev:mac:{number:016x}"


def code(body: bytes) -> str:
    return json.loads(body)["code"]


def counted(system: Any, listener: str) -> tuple[int, int]:
    """Return how many handshakes failed on a listener, and how many requests it read."""

    async def ask() -> Any:
        await asyncio.sleep(0.1)  # The hub counts after it has closed.
        return system.hub.server.status()[listener]

    counts = system.hub.call(ask())
    return counts["handshakes_failed"], counts["requests"]


def test_a_stolen_key_dies_with_the_identity_in_under_a_second(
    system: Any, tmp_path: Path, name: str
) -> None:
    """Goal: steal the key, renew, revoke the original: the thief's certificate is refused."""
    device = system.enrolled(tmp_path / "device", name)
    status, body = device.post_request(
        "simplereenroll", device.request(f"URI:{name}"), *device.cert()
    )
    assert status == 200
    device.keep(body, "thief.pem")
    thief = device.cert("thief.pem")
    assert device.curl("clinical", "/metadata", *thief)[0] == 200
    stream = subprocess.Popen(
        ["curl", "--silent", "--no-buffer", "--cacert", str(device.root), *thief,
         f"https://localhost:{system.hub.ports['clinical']}/views/live"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert stream.stdout
    assert stream.stdout.readline() == b"live\n"
    begun = time.monotonic()
    system.hub.call(system.hub.registry.revoke(name, person="ana", reason="stolen"))
    stream.wait(1)  # Closed by the call, or by the hub's own watch of changes, if that was first.
    assert time.monotonic() - begun < 1
    for arguments in (device.cert(), thief):
        status, body = device.curl("clinical", "/metadata", *arguments)
        assert (status, code(body)) == (403, "ASP-202")
        status, body = device.post_request(
            "simplereenroll", device.request(f"URI:{name}"), *arguments
        )
        assert (status, code(body)) == (403, "ASP-202")
    stream.stdout.close()


def test_a_second_device_of_the_same_maker_is_refused(
    system: Any, tmp_path: Path, name: str, give_idevid: Callable[[Any, str], None]
) -> None:
    listed, neighbour = system.client(tmp_path / "a"), system.client(tmp_path / "b")
    give_idevid(listed, f"SN-{name}")
    give_idevid(neighbour, f"SN-{name}-2")
    system.expect(name, idevid_issuer="CN=Maker CA,O=Maker", idevid_serial=f"SN-{name}")
    idevid = ("idevid.pem", "idevid.key")
    request = neighbour.request(f"URI:{name}")
    status, body = neighbour.post_request("simpleenroll", request, *neighbour.cert(*idevid))
    assert (status, code(body)) == (403, "ASP-207")
    request = listed.request(f"URI:{name}")
    status, body = listed.post_request("simpleenroll", request, *listed.cert(*idevid))
    assert status == 200, body
    listed.keep(body)
    assert listed.curl("clinical", "/metadata", *listed.cert()) == (200, name.encode())


def test_an_idevid_opens_no_other_route(
    system: Any, tmp_path: Path, give_idevid: Callable[[Any, str], None]
) -> None:
    device = system.client(tmp_path)
    give_idevid(device, "SN-X")
    idevid = device.cert("idevid.pem", "idevid.key")
    assert device.curl("enrolment", "/.well-known/est/cacerts", *idevid)[0] == 200
    assert device.curl("enrolment", "/metadata", *idevid)[0] == 404
    status, body = device.post_request("simplereenroll", device.request("URI:x"), *idevid)
    assert (status, code(body)) == (403, "ASP-206")
    # The people listener asks for no certificate, so it makes nobody anybody.
    for path in ("/api/devices", "/api/status", "/api/audit"):
        status, body = device.curl("people", path, *idevid)
        assert (status, code(body)) == (401, "ASP-208"), path
    # The clinical listener trusts no maker at all: TLS itself refuses, and no request is read.
    before = counted(system, "clinical")
    assert device.curl("clinical", "/metadata", *idevid) == (0, b"")
    assert counted(system, "clinical") == (before[0] + 1, before[1])


ESCALATIONS = {
    "another name": ("URI:urn:dev:mac:ffffffffffffffff", ()),
    "a second name": ("URI:{name},URI:urn:dev:mac:ffffffffffffffff", ()),
    "a host name": ("URI:{name},DNS:hub.example", ()),
    "a CA": ("URI:{name}", ("-addext", "basicConstraints=critical,CA:TRUE")),
    "a key that signs certificates": ("URI:{name}", ("-addext", "keyUsage=keyCertSign")),
    "a consumer's usage": (
        "URI:{name}",
        ("-addext", "extendedKeyUsage=clientAuth,2.25.110366081215678702529664867542989676206.2"),
    ),
    "a time stamp's usage": ("URI:{name}", ("-addext", "extendedKeyUsage=timeStamping")),
}


def forge(system: Any, client: Any, name: str) -> tuple[str, ...]:
    """Have the trusted maker certify a name in the hospital's own form; return curl's arguments."""
    maker, profile = system.data / "maker", client.folder / "forged.cnf"
    profile.write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        f"extendedKeyUsage=clientAuth,serverAuth,{EKU_SDC_PROVIDER.dotted_string}\n"
        f"subjectAltName=URI:{name}\n"
    )
    key, forged = client.key("forged.key"), client.folder / "forged.pem"
    csr = subprocess.run(
        ["openssl", "req", "-new", "-key", str(key), "-subj", "/serialNumber=SN-F"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    subprocess.run(
        ["openssl", "x509", "-req", "-CA", str(maker / "ca.pem"), "-CAkey", str(maker / "ca.key"),
         "-CAcreateserial", "-days", "30", "-extfile", str(profile), "-out", str(forged)],
        input=csr, capture_output=True, check=True,
    )  # fmt: skip
    return client.cert("forged.pem", "forged.key")


def test_a_maker_cannot_pose_as_the_hospital(system: Any, tmp_path: Path, name: str) -> None:
    """Goal: a trusted maker's certificate that looks like ours renews nothing and enrols nobody."""
    system.enrolled(tmp_path / "victim", name)
    maker = system.client(tmp_path / "maker")
    free = "urn:dev:mac:fffffffffffffff0"
    for posed, answers in (
        (name, {"simplereenroll": (403, "ASP-201"), "simpleenroll": (403, "ASP-201")}),
        (free, {"simplereenroll": (403, "ASP-207"), "simpleenroll": (401, "ASP-208"),
                "origin/simpleenroll": (409, "ASP-106")}),
    ):  # fmt: skip
        forged = forge(system, maker, posed)
        request = maker.request(f"URI:{posed}", key="forged.key")
        for path, answer in answers.items():
            status, body = maker.post_request(path, request, *forged)
            assert (status, code(body)) == answer, (posed, path)
        assert maker.curl("clinical", "/metadata", *forged) == (0, b"")


LABELS = {
    # A device's token: its origin key comes after the device, and it is no gateway's or consumer's.
    "origin": (409, "ASP-106"),
    "gateway": (403, "ASP-207"),
    "consumer": (403, "ASP-207"),
    # No labels at all.
    "server": (400, "ASP-100"),
    "audit": (400, "ASP-100"),
    "time": (400, "ASP-100"),
}
"""EST label -> status and code for a device's token."""


def test_every_escalation_in_a_request_is_refused(system: Any, tmp_path: Path, name: str) -> None:
    client = system.client(tmp_path)
    token_id, secret, _ = system.expect(name).split(".")
    basic = ("--user", f"{token_id}:{secret}")
    for what, (san, extra) in ESCALATIONS.items():
        request = client.request(san.format(name=name), *extra)
        status, body = client.post_request("simpleenroll", request, *basic)
        assert (status, code(body)) == (403, "ASP-207"), what
    request = client.request(f"URI:{name}")
    for label, answer in LABELS.items():
        status, body = client.post_request(f"{label}/simpleenroll", request, *basic)
        assert (status, code(body)) == answer, label
    request = client.request(
        f"URI:{name}", "-addext", f"extendedKeyUsage=clientAuth,{EKU_SDC_PROVIDER.dotted_string}"
    )
    status, body = client.post_request("simpleenroll", request, *basic)
    assert status == 200, body


def test_tokens_are_good_once_and_for_their_own_secret(
    system: Any, tmp_path: Path, name: str
) -> None:
    client, thief = system.client(tmp_path / "a"), system.client(tmp_path / "b")
    token_id, secret, _ = system.expect(name).split(".")
    request = client.request(f"URI:{name}")
    for user in (f"{token_id}:wrong", f"{'0' * 16}:{secret}", ":", token_id, "ä:ö"):
        status, body = client.post_request("simpleenroll", request, "--user", user)
        assert (status, code(body)) == (401, "ASP-208"), user
    status, first = client.post_request("simpleenroll", request, "--user", f"{token_id}:{secret}")
    assert status == 200
    status, again = client.post_request("simpleenroll", request, "--user", f"{token_id}:{secret}")
    assert (status, again) == (200, first)
    stolen = thief.request(f"URI:{name}")
    status, body = thief.post_request("simpleenroll", stolen, "--user", f"{token_id}:{secret}")
    assert (status, code(body)) == (403, "ASP-207")
    assert client.post_request("simpleenroll", request)[0] == 401
    assert client.post_request("simplereenroll", request)[0] == 401


def test_a_renewal_keeps_name_and_key(system: Any, tmp_path: Path, name: str) -> None:
    device = system.enrolled(tmp_path, name)
    other_key = device.request(f"URI:{name}", key="other.pem")
    status, body = device.post_request("simplereenroll", other_key, *device.cert())
    assert (status, code(body)) == (403, "ASP-207")
    other_name = device.request("URI:urn:dev:mac:ffffffffffffffff")
    status, body = device.post_request("simplereenroll", other_name, *device.cert())
    assert (status, code(body)) == (403, "ASP-207")
    as_gateway = device.request(f"URI:{name}")
    status, body = device.post_request("gateway/simplereenroll", as_gateway, *device.cert())
    assert (status, code(body)) == (403, "ASP-207")


def test_an_expired_device_reaches_enrolment_only(system: Any, tmp_path: Path, name: str) -> None:
    device = system.enrolled(tmp_path, name)
    system.hub.clock.ahead_ns = 100 * 86_400 * 10**9
    try:
        status, body = device.curl("clinical", "/metadata", *device.cert())
        assert (status, code(body)) == (403, "ASP-203")
        assert device.curl("enrolment", "/.well-known/est/cacerts", *device.cert())[0] == 200
    finally:
        system.hub.clock.ahead_ns = 0


def test_a_consumer_enrols_without_label_and_a_gateway_with_it(system: Any, tmp_path: Path) -> None:
    consumer = system.enrolled(tmp_path / "c", CONSUMER.format(1), profile="consumer")
    assert consumer.curl("clinical", "/metadata", *consumer.cert())[0] == 200
    gateway = system.client(tmp_path / "g")
    token_id, secret, _ = system.expect(CONSUMER.format(2), profile="gateway").split(".")
    request = gateway.request(f"URI:{CONSUMER.format(2)}")
    status, body = gateway.post_request(
        "gateway/simpleenroll", request, "--user", f"{token_id}:{secret}"
    )
    assert status == 200, body
    gateway.keep(body)
    assert gateway.curl("clinical", "/metadata", *gateway.cert())[0] == 200


def test_malformed_enrolments_are_named(system: Any, tmp_path: Path) -> None:
    client = system.client(tmp_path)
    bad = client.folder / "bad"
    for content, expected in ((b"", 400), (b"%%%", 400), (b"AAAA", 400), (b"A" * 9_000, 413)):
        bad.write_bytes(content)
        status, _ = client.post_request("simpleenroll", bad, "--user", "00:11")
        assert status == expected, content[:8]
    status, _ = client.curl("enrolment", "/.well-known/est/simpleenroll", "--data-binary", "AAAA")
    assert status == 415
    for nonce in ("", "nonce=", "nonce=00", "nonce=" + "0" * 66, "nonce=" + "G" * 16, "n=00"):
        assert client.curl("enrolment", f"/time?{nonce}")[0] == 400


def test_cacerts_csrattrs_and_time_need_no_identity(system: Any, tmp_path: Path) -> None:
    client = system.client(tmp_path)
    status, body = client.curl("enrolment", "/.well-known/est/cacerts")
    chain = read_certs_only(from_body(body))
    assert status == 200
    assert len(chain) == 2
    status, body = client.curl("enrolment", "/.well-known/est/csrattrs")
    assert status == 200
    parsed = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=from_body(body),
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"prime256v1" in parsed
    assert b"ecdsa-with-SHA256" in parsed
    status, body = client.curl("enrolment", "/time?nonce=" + "ab" * 16)
    signed = json.loads(body)
    assert status == 200
    assert set(signed) == {"statement", "signature", "chain"}
    assert bytes.fromhex("ab" * 16) in base64.b64decode(signed["statement"])


def test_the_audit_log_of_all_this_holds(system: Any) -> None:
    """Goal: after a day of attacks every row is in its place."""
    with system.hub.store.reading() as connection:
        assert log.check(connection) == log.size(connection) > 0
