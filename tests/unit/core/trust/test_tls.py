"""Goal: each listener takes what it must and refuses the rest, judged by `openssl s_client`."""

import queue
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import ConfigError, IdentityInvalid
from asepsis.core.trust import tls
from asepsis.core.trust.identity import USAGES, Profile, peer_from_der
from asepsis.core.trust.tls import KeyAndChain, Listener, server_context

DEVICE = "urn:dev:mac:0011223344556677"
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
GREETING = b"hello\n"


@dataclass
class Files:
    """Writes chains and keys where OpenSSL can read them."""

    folder: Path
    count: int = 0

    def of(self, key: ec.EllipticCurvePrivateKey, *certificates: x509.Certificate) -> KeyAndChain:
        self.count += 1
        chain, key_path = (self.folder / f"{self.count}.{end}" for end in ("crt", "key"))
        chain.write_bytes(b"".join(one.public_bytes(PEM) for one in certificates))
        key_path.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return KeyAndChain(chain_path=chain, key_path=key_path)

    def leaf(self, pki: Any, profile: Profile, **more: Any) -> KeyAndChain:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = pki.leaf(profile, key=key, **more)
        return self.of(key, certificate, pki.issuing.certificate, pki.root.certificate)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def hub(files: Files, pki: Any) -> KeyAndChain:
    return files.leaf(pki, Profile.SERVER, hosts=("localhost", "127.0.0.1"))


@dataclass
class Seen:
    """What a listening server met."""

    port: int
    peers: list[bytes | None]
    errors: queue.SimpleQueue[str]


@contextmanager
def listening(context: ssl.SSLContext, greeting: bytes = GREETING) -> Iterator[Seen]:
    """Serve TLS on loopback: greet, note the peer's certificate, close."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = Seen(listener.getsockname()[1], [], queue.SimpleQueue())
        thread = threading.Thread(target=_accept, args=(listener, context, seen, greeting))
        thread.start()
        try:
            yield seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _accept(listener: socket.socket, context: ssl.SSLContext, seen: Seen, greeting: bytes) -> None:
    while True:
        try:
            raw, _ = listener.accept()
        except OSError:
            return
        with raw:
            raw.settimeout(5)
            try:
                with context.wrap_socket(raw, server_side=True) as secured:
                    seen.peers.append(secured.getpeercert(binary_form=True))
                    secured.sendall(greeting)
                    secured.settimeout(0.5)  # the peer's part is over soon or never
                    with suppress(OSError):
                        secured.recv(64)
            except OSError as error:
                seen.errors.put(str(error))


def connect(port: int, context: ssl.SSLContext, **more: Any) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="localhost", **more) as secured,
    ):
        return secured.recv(64)  # TLS 1.3 refusals show at the first read


def s_client(port: int, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def clinical(hub: KeyAndChain, pki: Any) -> ssl.SSLContext:
    return server_context(Listener.CLINICAL, identity=hub, issuing_der=[pki.issuing_der])


def enrolment(hub: KeyAndChain, pki: Any, *makers: bytes) -> ssl.SSLContext:
    return server_context(
        Listener.ENROLMENT, identity=hub, issuing_der=[pki.issuing_der], maker_der=makers
    )


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_tls_12_and_13_are_spoken(hub: KeyAndChain, version: str) -> None:
    with listening(server_context(Listener.PEOPLE, identity=hub)) as seen:
        done = s_client(seen.port, version, "-alpn", "http/1.1")
    assert "ALPN protocol: http/1.1" in done.stdout
    assert "Compression: NONE" in done.stdout


def test_tls_11_is_refused(hub: KeyAndChain) -> None:
    with listening(server_context(Listener.PEOPLE, identity=hub)) as seen:
        done = s_client(seen.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in done.stdout
    assert "UNSUPPORTED_PROTOCOL" in seen.errors.get(timeout=5).upper().replace(" ", "_")


@pytest.mark.parametrize(
    "suite",
    ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-CCM", "NULL"],
)
def test_weak_suites_are_refused(hub: KeyAndChain, suite: str) -> None:
    """Goal: no static RSA, no CBC, no NULL, nothing outside the list of RFC 9325 section 4.2."""
    with listening(server_context(Listener.PEOPLE, identity=hub)) as seen:
        done = s_client(seen.port, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
    assert "Cipher is (NONE)" in done.stdout
    assert seen.peers == []


def test_renegotiation_is_refused(hub: KeyAndChain) -> None:
    with listening(server_context(Listener.PEOPLE, identity=hub), greeting=b"") as seen:
        done = s_client(seen.port, "-tls1_2", typed="R\n")
    assert "no renegotiation" in done.stderr


@pytest.mark.parametrize("listener", Listener)
def test_every_listener_sends_its_chain_with_the_root(
    hub: KeyAndChain, pki: Any, listener: Listener
) -> None:
    """Goal: REQ-TLS-007, so that a client that holds a token only can compare its pin."""
    issuing = () if listener is Listener.PEOPLE else (pki.issuing_der,)
    context = server_context(listener, identity=hub, issuing_der=issuing)
    with listening(context) as seen:
        done = s_client(seen.port, "-showcerts")
    sent = x509.load_pem_x509_certificates(done.stdout.encode())
    assert sent[-1].public_bytes(DER) == pki.root_der
    assert len(sent) == 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("profile", [Profile.DEVICE, Profile.GATEWAY, Profile.CONSUMER])
def test_a_client_of_this_hospital_enters_the_clinical_listener(
    files: Files, hub: KeyAndChain, pki: Any, profile: Profile, version: ssl.TLSVersion
) -> None:
    client = tls.client_context(root_der=pki.root_der, identity=files.leaf(pki, profile))
    client.maximum_version = version
    with listening(clinical(hub, pki)) as seen:
        assert connect(seen.port, client) == GREETING
    assert seen.peers[0] is not None
    assert peer_from_der(seen.peers[0]).kind.value == profile.value


def refused(seen: Seen, client: ssl.SSLContext) -> str:
    with pytest.raises(OSError):  # noqa: PT011 - alert, reset or end of file, by timing
        raise_if_closed(connect(seen.port, client))
    return seen.errors.get(timeout=5)


def raise_if_closed(greeting: bytes) -> None:
    if greeting != GREETING:
        raise ConnectionError("closed")


def test_no_certificate_is_refused_on_the_clinical_listener(hub: KeyAndChain, pki: Any) -> None:
    with listening(clinical(hub, pki)) as seen:
        word = refused(seen, tls.client_context(root_der=pki.root_der))
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in word


def test_a_foreign_certificate_is_refused(
    files: Files, hub: KeyAndChain, pki: Any, foreign_pki: Any
) -> None:
    client = tls.client_context(
        root_der=pki.root_der, identity=files.leaf(foreign_pki, Profile.DEVICE)
    )
    with listening(clinical(hub, pki)) as seen:
        assert "CERTIFICATE_VERIFY_FAILED" in refused(seen, client)


def test_a_ca_beside_ours_under_the_same_root_is_refused(
    files: Files, hub: KeyAndChain, pki: Any
) -> None:
    """Goal: URNs cannot be confined by name constraints, so only our issuing CA is an anchor."""
    sibling = pki.sibling()
    client = tls.client_context(root_der=pki.root_der, identity=files.leaf(sibling, Profile.DEVICE))
    with listening(clinical(hub, pki)) as seen:
        assert "CERTIFICATE_VERIFY_FAILED" in refused(seen, client)


@pytest.mark.parametrize("profile", [Profile.SERVER, Profile.ORIGIN, Profile.TIME, Profile.AUDIT])
def test_a_certificate_without_client_auth_is_refused(
    files: Files, hub: KeyAndChain, pki: Any, profile: Profile
) -> None:
    client = tls.client_context(root_der=pki.root_der, identity=files.leaf(pki, profile))
    with listening(clinical(hub, pki)) as seen:
        word = refused(seen, client)
    assert "unsuitable certificate purpose" in word


def test_expired_is_refused_clinically_and_admitted_to_enrol(
    files: Files, hub: KeyAndChain, pki: Any
) -> None:
    """Goal: REQ-ID-015, a stored device reaches the enrolment listener and nothing else."""
    old = pki.older(days=200)
    client = tls.client_context(
        root_der=pki.root_der, identity=files.leaf(old, Profile.DEVICE, now_ns=old.now_ns)
    )
    with listening(clinical(hub, old)) as seen:
        assert "certificate has expired" in refused(seen, client)
    with listening(enrolment(hub, old)) as seen:
        assert connect(seen.port, client) == GREETING
    assert seen.peers[0] is not None


def test_enrolment_takes_makers_certificates_and_none(
    files: Files, hub: KeyAndChain, pki: Any, foreign_pki: Any
) -> None:
    maker = files.leaf(foreign_pki, Profile.DEVICE)
    with listening(enrolment(hub, pki, foreign_pki.root_der)) as seen:
        for identity in (None, maker):
            client = tls.client_context(root_der=pki.root_der, identity=identity)
            assert connect(seen.port, client) == GREETING
    assert seen.peers[0] is None
    assert seen.peers[1] is not None
    with listening(enrolment(hub, pki)) as seen:
        word = refused(seen, tls.client_context(root_der=pki.root_der, identity=maker))
    assert "CERTIFICATE_VERIFY_FAILED" in word


def test_people_are_asked_for_no_certificate(hub: KeyAndChain) -> None:
    with listening(server_context(Listener.PEOPLE, identity=hub)) as seen:
        done = s_client(seen.port)
    assert "No client certificate CA names sent" in done.stdout
    assert "Client Certificate Types" not in done.stdout


def test_a_client_refuses_another_root_and_another_name(
    files: Files, hub: KeyAndChain, pki: Any, foreign_pki: Any
) -> None:
    foreign = tls.client_context(root_der=foreign_pki.root_der)
    own = tls.client_context(root_der=pki.root_der)
    other = files.leaf(pki, Profile.SERVER, hosts=("elsewhere.example",))
    for identity, client in ((hub, foreign), (other, own)):
        context = server_context(Listener.PEOPLE, identity=identity)
        with listening(context) as seen, pytest.raises(ssl.SSLCertVerificationError):
            connect(seen.port, client)


def test_a_device_cannot_play_the_hub(files: Files, pki: Any) -> None:
    """Goal: device certificates carry serverAuth for SDC and still name no host."""
    device = files.leaf(pki, Profile.DEVICE)
    context, client = (
        server_context(Listener.PEOPLE, identity=device),
        tls.client_context(root_der=pki.root_der),
    )
    with (
        listening(context) as seen,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        connect(seen.port, client)


def test_without_time_check_only_time_is_left_out(files: Files, pki: Any, foreign_pki: Any) -> None:
    old = pki.older(days=200)
    hub = files.leaf(old, Profile.SERVER, hosts=("localhost",), now_ns=old.now_ns)
    with listening(server_context(Listener.PEOPLE, identity=hub)) as seen:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            connect(seen.port, tls.client_context(root_der=old.root_der))
        free = tls.client_context_without_time_check(root_der=old.root_der)
        assert connect(seen.port, free) == GREETING
        foreign = tls.client_context_without_time_check(root_der=foreign_pki.root_der)
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(seen.port, foreign)


def test_only_the_clinical_listener_gives_tickets(files: Files, hub: KeyAndChain, pki: Any) -> None:
    device = files.leaf(pki, Profile.DEVICE)
    for context, tickets in (
        (clinical(hub, pki), 1),
        (enrolment(hub, pki), 0),
        (server_context(Listener.PEOPLE, identity=hub), 0),
    ):
        with listening(context) as seen:
            done = s_client(
                seen.port, "-cert", str(device.chain_path), "-key", str(device.key_path),
                "-tls1_3", "-ign_eof",
            )  # fmt: skip
        assert done.stdout.count("Post-Handshake New Session Ticket arrived") == tickets


def test_a_renewed_certificate_serves_new_connections(
    files: Files, hub: KeyAndChain, pki: Any
) -> None:
    context = server_context(Listener.PEOPLE, identity=hub)
    client = tls.client_context(root_der=pki.root_der)
    with listening(context) as seen:
        assert connect(seen.port, client) == GREETING
        renewed = files.leaf(pki, Profile.SERVER, hosts=("localhost",))
        tls.reload_identity(context, renewed)
        done = s_client(seen.port, "-showcerts")
    served = x509.load_pem_x509_certificates(done.stdout.encode())
    assert served == x509.load_pem_x509_certificates(renewed.chain_path.read_bytes())


def test_a_reload_that_does_not_fit_changes_nothing(
    files: Files, hub: KeyAndChain, pki: Any
) -> None:
    context = server_context(Listener.PEOPLE, identity=hub)
    other = files.leaf(pki, Profile.SERVER, hosts=("localhost",))
    with pytest.raises(ConfigError):
        tls.reload_identity(
            context, KeyAndChain(chain_path=hub.chain_path, key_path=other.key_path)
        )
    with listening(context) as seen:
        assert connect(seen.port, tls.client_context(root_der=pki.root_der)) == GREETING


def test_a_key_with_a_passphrase_never_waits_at_a_terminal(files: Files, pki: Any) -> None:
    good = files.leaf(pki, Profile.SERVER, hosts=("localhost",))
    key = serialization.load_pem_private_key(good.key_path.read_bytes(), None)
    good.key_path.write_bytes(
        key.private_bytes(
            PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError):
        server_context(Listener.PEOPLE, identity=good)


@pytest.mark.parametrize(
    ("listener", "issuing", "makers"),
    [
        (Listener.CLINICAL, False, False),
        (Listener.ENROLMENT, False, False),
        (Listener.PEOPLE, True, False),
        (Listener.CLINICAL, True, True),
    ],
)
def test_a_listener_without_its_anchors_does_not_start(
    hub: KeyAndChain, pki: Any, listener: Listener, *, issuing: bool, makers: bool
) -> None:
    """Goal: no fail-open: a missing CA never turns verification off (granian issue 853)."""
    with pytest.raises(ConfigError):
        server_context(
            listener,
            identity=hub,
            issuing_der=[pki.issuing_der] if issuing else [],
            maker_der=[pki.root_der] if makers else [],
        )


def test_noise_is_no_anchor(hub: KeyAndChain) -> None:
    with pytest.raises(ConfigError):
        server_context(Listener.CLINICAL, identity=hub, issuing_der=[b"noise"])


def test_a_pin_is_found_before_anything_is_sent(
    hub: KeyAndChain, pki: Any, foreign_pki: Any
) -> None:
    """Goal: REQ-ID-008: look at the chain, compare, and connect anew with the pinned root."""
    with listening(server_context(Listener.PEOPLE, identity=hub)) as seen:
        with (
            socket.create_connection(("127.0.0.1", seen.port), timeout=5) as raw,
            tls.chain_probe_context().wrap_socket(raw, server_hostname="localhost") as probe,
        ):
            chain = tls.unverified_chain(probe)
        root = tls.pinned_root(chain, pin=tls.pin_of(pki.root_der))
        assert root == pki.root_der
        assert connect(seen.port, tls.client_context(root_der=root)) == GREETING
    for pin in (tls.pin_of(foreign_pki.root_der), "", "00"):
        with pytest.raises(IdentityInvalid):
            tls.pinned_root(chain, pin=pin)


@pytest.mark.parametrize("listener", [Listener.CLINICAL, Listener.ENROLMENT])
def test_no_listener_reads_a_revocation_list(
    hub: KeyAndChain, pki: Any, listener: Listener
) -> None:
    """Goal: REQ-ID-017: a stale CRL cannot refuse a ward, because OpenSSL is given none."""
    context = server_context(listener, identity=hub, issuing_der=[pki.issuing_der])
    assert not context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
    assert not context.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN
    assert context.cert_store_stats()["crl"] == 0


def test_the_sdc_usage_alone_opens_no_connection(files: Files, hub: KeyAndChain, pki: Any) -> None:
    """Goal: an EKU set with one usage missing is refused by OpenSSL or by `peer_from_der`."""
    usages = x509.ExtendedKeyUsage([next(iter(USAGES[Profile.ORIGIN]))])
    key = ec.generate_private_key(ec.SECP256R1())
    odd = x509.load_der_x509_certificate(pki.odd(extensions=[usages], key=key))
    client = tls.client_context(
        root_der=pki.root_der, identity=files.of(key, odd, pki.issuing.certificate)
    )
    with listening(clinical(hub, pki)) as seen:
        assert "CERTIFICATE_VERIFY_FAILED" in refused(seen, client)
