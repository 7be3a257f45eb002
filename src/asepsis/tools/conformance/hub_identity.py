"""Checks of enrolment, certificates and time at a hub: REQ-ID."""

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from asepsis.core.errors import AsepsisError, TransientError
from asepsis.core.model.alarm import AlarmPhase
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.identity import EKU_SDC_PROVIDER
from asepsis.edge.uplink import est
from asepsis.edge.uplink.caretaker import signed_time
from asepsis.edge.uplink.token import EnrolmentToken
from asepsis.tools.conformance.bench import ALARM, BATCH, HubBench
from asepsis.tools.conformance.checks import OK, NotShown, Violation, demand, table
from asepsis.tools.conformance.forged import RequestKey, request
from asepsis.tools.conformance.hub_alarms import document
from asepsis.tools.conformance.plan import Role
from asepsis.tools.conformance.source import Source

VALID_MAX: Final = timedelta(days=90, minutes=10)
"""90 days, and what a certificate is dated back for slow clocks."""
CUT_S: Final = 1.0
CLOCK_NS: Final = 3_600 * 10**9
STREAM_END_S: Final = 5.0
UNLISTED: Final = "urn:dev:mac:02fffffffffffffe"
SPKI: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def name_in_certificate(bench: HubBench) -> None:
    """A device's name is the only name of its certificate."""
    for role in ("signing", "plain"):
        found = _leaf(bench, role).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [str(entry.value) for entry in found.value]
        demand(names == [bench.name(role)], f"the certificate of {role} names {names}")


def usages(bench: HubBench) -> None:
    """A device certificate carries clientAuth, serverAuth and the SDC usage, and no other."""
    found = _leaf(bench, "signing").extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    wanted = {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
        EKU_SDC_PROVIDER,
    }
    seen = ", ".join(usage.dotted_string for usage in found.value)
    demand(set(found.value) == wanted, f"usages are {seen}")


def other_keys(bench: HubBench) -> None:
    """A request with a key that is not on P-256 gets no certificate."""
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65_537, 2_048)):
        _no_certificate(bench, "spare", key=key, what=f"a key of {key.key_size} bits")


def short_life(bench: HubBench) -> None:
    """A certificate is valid for at most 90 days, and no longer than its issuer."""
    leaf = _leaf(bench, "signing")
    demand(
        leaf.not_valid_after_utc - leaf.not_valid_before_utc <= VALID_MAX,
        f"valid from {leaf.not_valid_before_utc} to {leaf.not_valid_after_utc}",
    )
    chain = x509.load_pem_x509_certificates((bench.folder("signing").path / "tls.pem").read_bytes())
    demand(
        all(leaf.not_valid_after_utc <= c.not_valid_after_utc for c in chain),
        "a certificate outlives its issuer",
    )


def est_routes(bench: HubBench) -> None:
    """The enrolment listener answers cacerts and csrattrs of EST."""
    client = bench.client(None, "enrolment")
    found = client.get("/.well-known/est/cacerts")
    demand(found.status_code == OK, f"cacerts answers {found.status_code}")
    certificates = est.certificates_of(found.content)
    demand(bench.root_der in certificates, "cacerts does not hold the root")
    attributes = client.get("/.well-known/est/csrattrs")
    demand(attributes.status_code in (200, 204), f"csrattrs answers {attributes.status_code}")


def token_for_one(bench: HubBench) -> None:
    """A token gives no certificate to another name, and none for another key once it was used."""
    _no_certificate(bench, "spare", name=UNLISTED, what="another device than the token's")
    _no_certificate(bench, "signing", what="a used token with another key")
    broken = EnrolmentToken(bench.token("spare").id, "x" * 32, bench.token("spare").pin)
    _no_certificate(bench, "spare", token=broken, what="a wrong secret")


def own_profile(bench: HubBench) -> None:
    """A request that asks to be a CA gets the hub's own profile, or nothing."""
    wish = request(bench.name("spare"), wishes=True)
    hub = bench.connection(None)
    try:
        chain = est.enrol(hub, wish, token=bench.token("spare"))
    except AsepsisError:
        return
    finally:
        hub.close()
    leaf = x509.load_der_x509_certificate(chain[0])
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    demand(not constraints.ca, "a device became a CA by wishing")
    found = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    demand(ExtendedKeyUsageOID.CODE_SIGNING not in found, "a device chose its own usages")


def renewal(bench: HubBench) -> None:
    """A renewal keeps name and key; one for another key or name is refused."""
    hub = bench.connection("other")
    try:
        folder = bench.folder("other")
        chain = est.renew(hub, folder.request("tls", uri=bench.name("other")))
        leaf, before = x509.load_der_x509_certificate(chain[0]), _leaf(bench, "other")
        same = leaf.public_key().public_bytes(*SPKI) == before.public_key().public_bytes(*SPKI)
        demand(same, "a renewal changed the key")
        for wrong in (request(bench.name("other")), request(UNLISTED)):
            _refused(lambda wrong=wrong: est.renew(hub, wrong), "a renewal for another key or name")
    finally:
        hub.close()


def origin_key_stays(bench: HubBench) -> None:
    """A renewal over the network cannot replace the origin key."""
    hub = bench.connection("other")
    try:
        wrong = request(bench.name("other"))
        _refused(lambda: est.renew(hub, wrong, label="origin"), "a new origin key by renewal")
        _refused(lambda: est.enrol(hub, wrong, token=None, label="origin"), "a new origin key")
    finally:
        hub.close()


def bound_key(bench: HubBench) -> None:
    """A name stays with its key: its own token gives no certificate for a second one."""
    _no_certificate(bench, "plain", what="a second key for a name")


def unlisted_maker(bench: HubBench) -> None:
    """A device that only a foreign maker vouches for is not admitted."""
    hub = bench.connection(None)
    try:
        _refused(lambda: est.enrol(hub, request(UNLISTED), token=None), "nobody in particular")
    finally:
        hub.close()


def revocation(bench: HubBench) -> None:
    """Revoking ends a stream and kept connections within a second, and every later request."""
    victim = bench.source("victim")
    kept = bench.fresh_client("victim")
    kept.post("/origin", content=victim.values(), headers=BATCH)
    with bench.view(bench.name("victim")) as view:
        asked_s = bench.revoke("victim")
        told_s, _ = view.wait(
            "alarm",
            lambda told: told["found_by"] == "hub" and told["phase"] != AlarmPhase.END.name.lower(),
            seconds=STREAM_END_S,
            what="the revoked device",
        )
        demand(told_s - asked_s < STREAM_END_S, "the ward hears of a revocation too late")
    _ended(kept, victim)
    hub = bench.connection("victim")
    try:
        wish = bench.folder("victim").request("tls", uri=bench.name("victim"))
        _refused(lambda: est.renew(hub, wish), "the renewal of a revoked identity")
    finally:
        hub.close()


def judged_at_every_request(bench: HubBench) -> None:
    """A revoked identity is refused on every new connection, resumed or not."""
    if not bench.plan.admin_token_file:
        raise NotShown("the plan names no admin_token_file: nobody may revoke")
    try:
        answer = bench.fresh_client("victim").get("/metadata")
    except httpx.TransportError:
        return
    demand(answer.status_code in (401, 403), f"a revoked identity gets {answer.status_code}")


def nonce_in_time(bench: HubBench) -> None:
    """Signed time holds the nonce, and a certificate for time under the hospital's root."""
    hub = bench.connection(None)
    try:
        wall_ns = signed_time(hub, root_der=bench.root_der)
    except AsepsisError as error:
        raise Violation(f"signed time: {error}") from error
    finally:
        hub.close()
    demand(abs(wall_ns - time.time_ns()) < CLOCK_NS, "signed time is an hour off")


def own_name_only(bench: HubBench) -> None:
    """A device cannot send for another, and a gateway only for its declared list."""
    other = bench.source("other")
    bench.refuse("plain", "/origin", other.twin().values(), BATCH, 403)
    foreign = document(bench.name("other"), [(1, "onset")])
    bench.refuse("gateway", "/alerts", foreign, bench.numbered("gateway", ALARM), 403)
    declared = document(DeviceId.parse(bench.plan.legacy).uri, [(1, "onset")])
    bench.accept("gateway", "/alerts", declared, bench.numbered("gateway", ALARM))
    over = document(DeviceId.parse(bench.plan.legacy).uri, [(1, "end")])
    bench.accept("gateway", "/alerts", over, bench.numbered("gateway", ALARM))


def _ended(kept: httpx.Client, victim: Source) -> None:
    deadline_s = time.monotonic() + CUT_S
    while True:
        try:
            answer = kept.post("/origin", content=victim.values(), headers=BATCH)
        except httpx.TransportError:
            return
        if answer.status_code in (401, 403):
            return
        demand(time.monotonic() < deadline_s, "a revoked device is still heard after a second")
        time.sleep(0.05)


def _leaf(bench: HubBench, role: Role) -> x509.Certificate:
    return x509.load_der_x509_certificate(bench.folder(role).leaf("tls"))


def _no_certificate(
    bench: HubBench,
    role: Role,
    *,
    what: str,
    name: str = "",
    key: RequestKey | None = None,
    token: EnrolmentToken | None = None,
) -> None:
    """See that a request with the token of a role gets no certificate."""
    hub = bench.connection(None)
    wish = request(name or bench.name(role), key)
    try:
        _refused(lambda: est.enrol(hub, wish, token=token or bench.token(role)), what)
    finally:
        hub.close()


def _refused(ask: Callable[[], list[bytes]], what: str) -> None:
    try:
        chain = ask()
    except TransientError as error:
        raise Violation(f"{what}: no final answer: {error}") from error
    except AsepsisError:
        return
    digest = hashlib.sha256(chain[0]).hexdigest()[:16]
    raise Violation(f"{what} gets a certificate ({digest})")


CHECKS: Final = table(
    ("ID-001", name_in_certificate),
    ("ID-003", usages),
    ("ID-004", other_keys),
    ("ID-005", short_life),
    ("ID-006", est_routes),
    ("ID-009", token_for_one),
    ("ID-010", unlisted_maker),
    ("ID-012", own_profile),
    ("ID-013", renewal),
    ("ID-014", bound_key),
    ("ID-020", nonce_in_time),
    ("ID-021", own_name_only),
    ("ORG-016", origin_key_stays),
)
LAST: Final = table(
    ("ID-016", revocation),
    ("TLS-006", judged_at_every_request),
)
"""After these one identity of the suite is gone for good."""
