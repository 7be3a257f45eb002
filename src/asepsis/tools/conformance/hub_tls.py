"""Checks of a hub's connections: REQ-TLS."""

import itertools
import ssl
import warnings
from typing import Final

from cryptography import x509

from asepsis.core.trust import tls
from asepsis.tools.conformance.bench import LISTENERS, HubBench
from asepsis.tools.conformance.checks import Violation, demand, table
from asepsis.tools.conformance.forged import stranger
from asepsis.tools.conformance.plan import Role

WEAK_SUITES: Final = "AES128-GCM-SHA256:AES256-SHA:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA"
"""Static RSA or CBC: what RFC 9325 section 4.2 leaves out."""
HEADER_BYTES: Final = 40_960
HANDSHAKE_S: Final = {"clinical": 10.0, "enrolment": 10.0, "people": 10.0}
GRACE_S: Final = 3.0
KNOCK_S: Final = 5.0


def strong_suites(bench: HubBench) -> None:
    """Every listener takes TLS 1.3 or a suite of RFC 9325, and no other suite of TLS 1.2."""
    for listener in LISTENERS:
        version = _shake(bench, listener, bench.context("signing"))
        demand(version in ("TLSv1.3", "TLSv1.2"), f"{listener}: {version}")
        weak = _anything()
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers(f"{WEAK_SUITES}:@SECLEVEL=0")
        _refused(bench, listener, weak, "a suite outside RFC 9325 section 4.2")


def nothing_old(bench: HubBench) -> None:
    """Every listener refuses TLS 1.0 and 1.1, and compresses nothing."""
    for listener in LISTENERS:
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            _refused(bench, listener, _old(version), version.name)
        with (
            bench.dial(listener) as plain,
            bench.context("signing").wrap_socket(
                plain, server_hostname=bench.plan.host
            ) as connection,
        ):
            demand(connection.compression() is None, f"{listener} compresses")


def both_prove_themselves(bench: HubBench) -> None:
    """The clinical listener refuses nobody's and a stranger's certificate."""
    nobody = tls.client_context(root_der=bench.root_der)
    _unheard(bench, nobody, "a client without a certificate")
    with stranger(bench.name("signing")) as files:
        _unheard(
            bench,
            tls.client_context(root_der=bench.root_der, identity=files),
            "a certificate of another CA",
        )


def whole_chain(bench: HubBench) -> None:
    """Every listener sends its chain with the root, and the root is the pinned one."""
    for listener in LISTENERS:
        chain = bench.chain(listener)
        pins = [tls.pin_of(der) for der in chain]
        demand(bench.token("signing").pin in pins, f"{listener}: the chain lacks the root")
        names = [x509.load_der_x509_certificate(der) for der in chain]
        for below, above in itertools.pairwise(names):
            demand(below.issuer == above.subject, f"{listener}: the chain has a hole")


def no_shared_routes(bench: HubBench) -> None:
    """Each listener knows its own routes only."""
    foreign: dict[tuple[str, Role | None], tuple[str, ...]] = {
        ("clinical", "signing"): ("/time?nonce=0011223344556677", "/.well-known/est/cacerts"),
        ("enrolment", None): ("/metadata", "/api/devices"),
        ("people", None): ("/metadata", "/.well-known/est/cacerts"),
    }
    for (listener, role), paths in foreign.items():
        client = bench.client(role, listener)
        for path in paths:
            status = client.get(path).status_code
            demand(status in (401, 403, 404), f"{listener} answers {status} to {path}")


def slow_and_large(bench: HubBench) -> None:
    """A handshake that does not go on is cut in time, and so is a header section over 32 KiB."""
    if not bench.silent:
        bench.stay_silent()
    _large_header(bench)
    for listener, silence in bench.silent.items():
        limit_s = HANDSHAKE_S[listener] + GRACE_S
        took_s = silence.wait_end(seconds=limit_s)
        demand(took_s is not None, f"{listener} keeps a silent connection over {limit_s:g} s")


def _large_header(bench: HubBench) -> None:
    with (
        bench.dial("clinical") as plain,
        bench.context("signing").wrap_socket(plain, server_hostname=bench.plan.host) as connection,
    ):
        request = b"GET /metadata HTTP/1.1\r\nHost: %b\r\nX: %b\r\n\r\n"
        try:
            connection.sendall(request % (bench.plan.host.encode(), b"x" * HEADER_BYTES))
            first = connection.recv(64)
        except OSError:
            return
        demand(not first.startswith(b"HTTP/1.1 2"), "a header section of 40 KiB is answered")


def _shake(bench: HubBench, listener: str, context: ssl.SSLContext) -> str | None:
    try:
        with (
            bench.dial(listener) as plain,
            context.wrap_socket(plain, server_hostname=bench.plan.host) as connection,
        ):
            return connection.version()
    except OSError as error:
        raise Violation(f"{listener}: no handshake: {error}") from error


def _refused(bench: HubBench, listener: str, context: ssl.SSLContext, what: str) -> None:
    try:
        with (
            bench.dial(listener) as plain,
            context.wrap_socket(plain, server_hostname=bench.plan.host),
        ):
            pass
    except OSError:
        return
    raise Violation(f"{listener} takes {what}")


def _unheard(bench: HubBench, context: ssl.SSLContext, what: str) -> None:
    """See that a request over such a connection gets no answer.

    With TLS 1.3 a client learns only after its handshake that its certificate was not taken.
    """
    try:
        with (
            bench.dial("clinical", timeout_s=KNOCK_S) as plain,
            context.wrap_socket(plain, server_hostname=bench.plan.host) as connection,
        ):
            connection.sendall(b"GET /metadata HTTP/1.1\r\nHost: hub\r\n\r\n")
            answer = connection.recv(16)
    except ssl.SSLCertVerificationError:
        raise
    except OSError:
        return
    demand(not answer, f"the clinical listener answers {what}")


def _anything() -> ssl.SSLContext:
    """Return a client that would take what no client should; it sends no application data."""
    return tls.chain_probe_context()


def _old(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = _anything()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


CHECKS: Final = table(
    ("TLS-001", strong_suites),
    ("TLS-002", nothing_old),
    ("TLS-003", both_prove_themselves),
    ("TLS-007", whole_chain),
    ("TLS-009", no_shared_routes),
)
LAST: Final = table(("TLS-010", slow_and_large))
"""What takes its time beside everything else, from the start of a run."""
