"""What a delegation permits, what the network must show, and who speaks for whom in memory."""

from dataclasses import replace

import pytest

from asepsis.core.errors import InputError, NotPermitted
from asepsis.hub.registry.delegations import lines
from asepsis.hub.registry.delegations.book import DelegationBook
from asepsis.hub.registry.delegations.lines import Declaration, Network, Source, SourceKind
from asepsis.hub.registry.rules import Evidence

ONE, TWO, DEVICE = "urn:uuid:1", "urn:uuid:2", "urn:dev:mac:0000000000000001"
NOW = 1_000
LINE = Declaration(
    holder=ONE,
    device=DEVICE,
    expires_at_ns=NOW + 10,
    evidence=Evidence.OBSERVED,
    network=Network(address="10.1.2.0/24", port=2575, vlan=12, tls_key_sha256="ab" * 32),
)
SEEN = Network(address="10.1.2.7", port=2575, vlan=12, tls_key_sha256="ab" * 32)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, ()),
        ({"address": "10.1.3.7"}, ("address",)),
        ({"address": ""}, ("address",)),
        ({"address": "none"}, ("address",)),
        ({"port": 2576}, ("port",)),
        ({"vlan": 0}, ("vlan",)),
        ({"tls_key_sha256": "cd" * 32}, ("tls_key_sha256",)),
        ({"port": 1, "vlan": 1}, ("port", "vlan")),
    ],
)
def test_every_declared_field_must_be_seen(
    change: dict[str, object], differs: tuple[str, ...]
) -> None:
    values = {name: getattr(SEEN, name) for name in SEEN.__struct_fields__} | change
    assert lines.differences(LINE.network, Network(**values)) == differs
    assert lines.differences(lines.NOTHING, Network(**values)) == ()


def test_observed_needs_a_report_that_agrees_where_something_was_declared() -> None:
    assert not LINE.observed
    assert replace(LINE, seen=SEEN).observed
    assert not replace(LINE, seen=SEEN, changed_at_ns=5).observed
    assert replace(LINE, network=lines.NOTHING).observed
    assert not replace(LINE, seen=SEEN, evidence=Evidence.CLAIMED).observed


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("ADT^A01", SourceKind.ADT),
        ("ADT^A17", SourceKind.ADT),
        ("ADT^A40", SourceKind.MERGE),
        ("ADT^A18", SourceKind.MERGE),
        ("ADT^A47", SourceKind.MERGE),
        ("ADT^", SourceKind.ADT),
        ("OMI^O23", SourceKind.WORKLIST),
        ("ORU^R01", None),
        ("MDM^T02", None),
    ],
)
def test_what_needs_a_named_source(message: str, kind: SourceKind | None) -> None:
    assert lines.source_kind(message) is kind


def test_message_types() -> None:
    some = replace(LINE, message_types=lines.check_types(("ORU^R01", "RGV^*", "alert")))
    for fine in ("ORU^R01", "RGV^O15", "alert"):
        some.check_type(fine)
    for wrong in ("ORU^R40", "fhir", "ADT^A01"):
        with pytest.raises(NotPermitted):
            some.check_type(wrong)
    LINE.check_type("anything")
    for wrong in ("oru^R01", "ORU", "ORU^", "ORU^R01^X", "sdc", "^R01"):
        with pytest.raises(InputError):
            lines.check_types((wrong,))
    with pytest.raises(InputError):
        lines.check_types(("ORU^R01",) * 65)
    with pytest.raises(InputError):
        lines.check_network(Network(address="ward 3"))


def test_a_partner_may_do_the_same_and_loses_it_together() -> None:
    book = DelegationBook()
    paired = replace(LINE, partner=TWO)
    source = Source(holder=ONE, kind=SourceKind.ADT, expires_at_ns=NOW + 5, partner=TWO)
    assert book.put([paired], [source]) == {ONE, TWO}
    for gateway in (ONE, TWO):
        assert book.current(gateway, NOW) == ({DEVICE}, NOW + 10)
        assert book.line(gateway, DEVICE) is paired
        book.check_message(gateway, "ADT^A01", now_ns=NOW)
        book.check_type(gateway, DEVICE, "ORU^R01")
    assert book.holders_of([DEVICE]) == {ONE, TWO}
    assert book.current("urn:uuid:3", NOW)[0] == frozenset()
    assert book.forget(ONE) == {TWO}
    assert book.current(TWO, NOW)[0] == frozenset()
    with pytest.raises(NotPermitted):
        book.check_message(TWO, "ADT^A01", now_ns=NOW)
    with pytest.raises(NotPermitted):
        book.check_type(TWO, DEVICE, "ORU^R01")


def test_a_source_is_one_of_one_kind_and_ends() -> None:
    book = DelegationBook()
    book.put([], [Source(holder=ONE, kind=SourceKind.ADT, expires_at_ns=NOW)])
    book.check_message(ONE, "ADT^A01", now_ns=NOW)
    book.check_message(TWO, "ORU^R01", now_ns=NOW)
    for gateway, message, at_ns in (
        (ONE, "ADT^A40", NOW),
        (ONE, "ADT^A01", NOW + 1),
        (TWO, "ADT^A01", NOW),
    ):
        with pytest.raises(NotPermitted):
            book.check_message(gateway, message, now_ns=at_ns)
