"""Who may enter, by every kind of certificate on every listener; and that asking is cheap."""

import time
from dataclasses import replace

import pytest

from asepsis.core.errors import (
    IdentityExpired,
    IdentityInvalid,
    IdentityRevoked,
    NotAuthenticated,
    NotFound,
)
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.identity import PeerCertificate
from asepsis.hub.access.principal import ANONYMOUS
from asepsis.hub.registry.book import (
    CLINICAL,
    ENROLMENT,
    OVERLAP_NS,
    BookState,
    CertificateEntry,
    DeviceEntry,
    IdentityBook,
    TwoInUse,
)
from asepsis.hub.registry.delegations.lines import Declaration

NAME = "urn:dev:mac:0000000000000001"
OTHER = "urn:dev:mac:0000000000000002"
NOW = 1_000_000_000_000_000_000
DAY = 86_400_000_000_000
DEVICE = DeviceEntry(
    name=NAME,
    kind=PrincipalKind.DEVICE,
    model="M1",
    key_sha256=b"k" * 32,
    origin_required=True,
    origin_spki=b"spki",
    lease_ms=2_000,
    renewal_window_days=730,
)
PEER = PeerCertificate(
    uri=NAME,
    kind=PrincipalKind.DEVICE,
    serial=1,
    not_before_ns=NOW - DAY,
    not_after_ns=NOW + 90 * DAY,
    fingerprint=b"1" * 32,
    spki_sha256=DEVICE.key_sha256,
    issuer_cn="x",
)
NEWER = replace(PEER, serial=2, fingerprint=b"2" * 32)


def entry(peer: PeerCertificate, issued_at_ns: int = NOW) -> CertificateEntry:
    return CertificateEntry(
        name=peer.uri,
        serial=peer.serial,
        fingerprint=peer.fingerprint,
        not_before_ns=peer.not_before_ns,
        not_after_ns=peer.not_after_ns,
        issued_at_ns=issued_at_ns,
    )


STATE = BookState(version=7, devices=[DEVICE], certificates=[entry(PEER)])


def book(state: BookState = STATE) -> IdentityBook:
    made = IdentityBook()
    made.load(state, now_ns=NOW)
    return made


STRANGERS = {
    "unknown name": (replace(PEER, uri=OTHER, fingerprint=b"3" * 32), IdentityInvalid, True),
    "unknown serial": (replace(PEER, fingerprint=b"3" * 32), IdentityInvalid, True),
    "another key": (
        replace(PEER, fingerprint=b"3" * 32, spki_sha256=b"x" * 32),
        IdentityInvalid,
        False,
    ),
    "expired": (
        replace(PEER, fingerprint=b"3" * 32, not_after_ns=NOW - 1),
        IdentityExpired,
        True,
    ),
    "not yet valid": (
        replace(PEER, fingerprint=b"3" * 32, not_before_ns=NOW + 1),
        IdentityExpired,
        True,
    ),
    "a server's": (
        replace(PEER, uri=OTHER, fingerprint=b"3" * 32, kind=PrincipalKind.SERVER),
        IdentityInvalid,
        False,
    ),
}


@pytest.mark.parametrize("case", STRANGERS.values(), ids=STRANGERS.keys())
def test_certificates_that_open_no_clinical_route(
    case: tuple[PeerCertificate, type[Exception], bool],
) -> None:
    peer, error, may_renew = case
    with pytest.raises(error):
        book().admit(peer, CLINICAL, NOW)
    if may_renew:
        principal = book().admit(peer, ENROLMENT, NOW)
        assert principal.renewal_only
        assert principal.name == peer.uri
    else:
        with pytest.raises(IdentityInvalid):
            book().admit(peer, ENROLMENT, NOW)


def test_no_certificate() -> None:
    with pytest.raises(NotAuthenticated):
        book().admit(None, CLINICAL, NOW)
    assert book().admit(None, ENROLMENT, NOW) == ANONYMOUS
    assert book().admit(None, "people", NOW) == ANONYMOUS
    assert book().admit(PEER, "people", NOW) == ANONYMOUS


def test_validity_is_judged_at_every_request() -> None:
    made = book()
    for now_ns in (PEER.not_before_ns, PEER.not_after_ns):
        assert made.admit(PEER, CLINICAL, now_ns).name == NAME
        assert not made.admit(PEER, ENROLMENT, now_ns).renewal_only
    for now_ns in (PEER.not_before_ns - 1, PEER.not_after_ns + 1):
        with pytest.raises(IdentityExpired):
            made.admit(PEER, CLINICAL, now_ns)
        assert made.admit(PEER, ENROLMENT, now_ns).renewal_only


def test_revoked_and_void_open_nothing() -> None:
    made = book()
    revoked = BookState(devices=[DEVICE], revoked=[NAME], void=[PEER.fingerprint])
    assert made.update([NAME], revoked, now_ns=NOW) == {NAME}
    assert made.update([NAME], revoked, now_ns=NOW) == frozenset()
    assert made.is_revoked(NAME)
    assert made.devices() == []
    for listener in (CLINICAL, ENROLMENT):
        for peer in (PEER, NEWER):
            with pytest.raises(IdentityRevoked):
                made.admit(peer, listener, NOW)
    with pytest.raises(IdentityRevoked):
        made.device(NAME)
    made.update([NAME], BookState(devices=[DEVICE], certificates=[entry(NEWER)]), now_ns=NOW)
    assert made.admit(NEWER, CLINICAL, NOW).name == NAME
    with pytest.raises(IdentityRevoked):
        made.admit(PEER, CLINICAL, NOW)


def test_a_certificate_in_the_state_of_a_revoked_name_is_no_way_in() -> None:
    made = book(BookState(devices=[DEVICE], certificates=[entry(PEER)], revoked=[NAME]))
    with pytest.raises(IdentityRevoked):
        made.admit(PEER, CLINICAL, NOW)


def test_a_server_in_the_registry_is_no_way_in() -> None:
    server = replace(DEVICE, kind=PrincipalKind.SERVER)
    made = book(BookState(devices=[server], certificates=[entry(PEER)]))
    with pytest.raises(IdentityInvalid):
        made.admit(PEER, CLINICAL, NOW)
    stray = book(BookState(certificates=[entry(PEER)]))
    with pytest.raises(IdentityInvalid):
        stray.admit(PEER, CLINICAL, NOW)


def test_devices_and_origin_keys() -> None:
    made = book()
    assert made.device(NAME) == DEVICE
    assert made.devices() == [DEVICE]
    key_id = DEVICE.origin_key_id
    assert key_id
    assert made.origin_key(NAME, key_id) == b"spki"
    for name, key in ((NAME, bytes(8)), (OTHER, key_id)):
        with pytest.raises(NotFound):
            made.origin_key(name, key)
    bare = replace(DEVICE, origin_spki=None)
    assert bare.origin_key_id is None
    with pytest.raises(NotFound):
        book(BookState(devices=[bare])).origin_key(NAME, key_id)


def test_declarations_end_by_themselves() -> None:
    gateway = replace(DEVICE, kind=PrincipalKind.GATEWAY)
    made = book(
        BookState(
            devices=[gateway],
            certificates=[entry(PEER)],
            declarations=[
                Declaration(holder=NAME, device=OTHER, expires_at_ns=NOW + 5),
                Declaration(holder=NAME, device="c", expires_at_ns=NOW + 9),
            ],
        )
    )
    found = {t: made.admit(PEER, CLINICAL, NOW + t).declared for t in (0, 5, 6, 9, 10)}
    assert found == {0: {OTHER, "c"}, 5: {OTHER, "c"}, 6: {"c"}, 9: {"c"}, 10: frozenset()}


def watched(*, newer_at_ns: int) -> tuple[IdentityBook, list[TwoInUse]]:
    made, told = book(), list[TwoInUse]()
    made.on_two_in_use = told.append
    state = BookState(
        devices=[DEVICE], certificates=[entry(PEER, NOW - 9), entry(NEWER, newer_at_ns)]
    )
    made.update([NAME], state, now_ns=NOW)
    return made, told


def test_two_in_use_is_told_once_and_refuses_nobody() -> None:
    made, told = watched(newer_at_ns=NOW)
    made.admit(NEWER, CLINICAL, NOW)
    made.admit(PEER, CLINICAL, NOW + OVERLAP_NS)
    assert told == []
    for _ in range(3):
        assert made.admit(PEER, CLINICAL, NOW + OVERLAP_NS + 1).name == NAME
    assert told == [TwoInUse(name=NAME, newer_serial=2, older_serial=1)]


def test_an_alarm_is_not_repeated_after_the_book_was_brought_up_to_date() -> None:
    made, told = watched(newer_at_ns=NOW)
    state = BookState(devices=[DEVICE], certificates=[entry(PEER, NOW - 9), entry(NEWER, NOW)])
    for _ in range(2):
        made.admit(NEWER, CLINICAL, NOW)
        made.admit(PEER, CLINICAL, NOW + OVERLAP_NS + 1)
        made.update([NAME], state, now_ns=NOW)
    assert len(told) == 1


def test_a_device_that_did_not_change_over_is_no_alarm() -> None:
    made, told = watched(newer_at_ns=NOW)
    made.admit(PEER, CLINICAL, NOW + OVERLAP_NS + 1)
    assert told == []


def test_without_a_listener_for_alarms_nothing_breaks() -> None:
    made, _ = watched(newer_at_ns=NOW)
    made.on_two_in_use = None
    made.admit(NEWER, CLINICAL, NOW)
    assert made.admit(PEER, CLINICAL, NOW + OVERLAP_NS + 1).name == NAME


def test_asking_costs_microseconds() -> None:
    """Goal: admission is asked at every request of 1,000 beds; it must not show."""
    many = [
        replace(PEER, uri=f"urn:dev:mac:{n:016x}", fingerprint=n.to_bytes(32, "big"))
        for n in range(5_000)
    ]
    devices = [replace(DEVICE, name=peer.uri) for peer in many]
    made = book(BookState(devices=devices, certificates=[entry(peer) for peer in many]))
    best = min(_round(made, many) for _ in range(5))
    assert best / len(many) < 10_000, "ns for one admission"


def _round(made: IdentityBook, peers: list[PeerCertificate]) -> int:
    begun = time.perf_counter_ns()
    for peer in peers:
        made.admit(peer, CLINICAL, NOW)
    return time.perf_counter_ns() - begun
