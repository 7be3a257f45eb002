"""Who may associate: refused settings, peers that are found, contexts that are answered."""

from typing import Any

import msgspec
import pytest

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway.imaging import policy, policy_reading
from asepsis.edge.gateway.imaging.pdu_values import AssociateRequest, ProposedContext
from asepsis.edge.gateway.imaging.policy import Certificate, Refused
from asepsis.edge.gateway.imaging.settings import ImagingSettings

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70"
SEGMENTS = ("10.0.0.0/8",)
TLS = {"chain_file": "a", "key_file": "b", "client_ca_file": "c"}
PEER = {
    "name": "ct",
    "listener": "rad",
    "addresses": ["10.1.2.3"],
    "ae_titles": ["CT1"],
    "device": "urn:dev:mac:0250c2fffe000001",
    "sop_classes": ["storage"],
    "cleartext": True,
}
LISTENER = {"name": "rad", "host": "10.1.0.1", "ae_titles": ["GATE", "OTHER"]}
ON_TLS = {"cleartext": False, "certificate_sha256": ["ab" * 32]}


def doors(*peers: dict[str, Any], **listener: Any) -> tuple[policy.Door, ...]:
    document = {
        "listeners": [LISTENER | listener],
        "peers": [PEER | peer for peer in peers or ({},)],
        "identity": {"passcode_file": "p"},
    }
    return policy_reading.doors(msgspec.convert(document, ImagingSettings), segments=SEGMENTS)


def ask(title: str = "CT1", called: str = "GATE", *classes: str) -> AssociateRequest:
    contexts = tuple(
        ProposedContext(2 * number + 1, uid, (JPEG, EXPLICIT))
        for number, uid in enumerate(classes or (CT,))
    )
    return AssociateRequest(called=called, calling=title, contexts=contexts)


@pytest.mark.parametrize(
    ("peer", "listener"),
    [
        ({"listener": "nowhere"}, {}),
        ({"addresses": ["nonsense"]}, {}),
        ({"device": "scanner"}, {}),
        ({"called": ["STRANGE"]}, {}),
        ({"cleartext": False}, {}),
        ({"addresses": ["192.168.0.1"]}, {}),
        ({"certificate_sha256": ["ab" * 32]}, {}),
        ({"cleartext": False}, {"tls": TLS}),
        ({}, {"host": "192.168.0.1"}),
        ({"user_identity": ["passcode"]}, {}),
        ({"user_identity": ["jwt"]}, {}),
        (ON_TLS | {"user_identity": ["saml"]}, {"tls": TLS}),
    ],
)
def test_settings_that_are_refused(peer: dict[str, Any], listener: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        doors(peer, **listener)


def test_two_peers_never_share_a_name_or_an_address_and_title() -> None:
    with pytest.raises(ConfigError):
        doors({}, {"addresses": ["10.9.9.9"]})
    with pytest.raises(ConfigError):
        doors({}, {"name": "second", "addresses": ["10.1.2.0/24"]})
    found = doors({}, {"name": "second", "addresses": ["10.1.2.0/24"], "ae_titles": ["CT2"]})
    assert [peer.name for peer in found[0].peers] == ["ct", "second"]


def test_address_and_title_name_one_peer() -> None:
    (door,) = doors({"called": ["GATE"]}, {"name": "second", "ae_titles": ["CT2"]})
    assert door.admit(ask("CT2", "OTHER"), "10.1.2.3", None).name == "second"
    assert door.anybody_at("10.1.2.3")
    assert not door.anybody_at("10.1.2.4")
    for title, called, address, answer in (
        ("CT9", "GATE", "10.1.2.3", policy.CALLING_UNKNOWN),
        ("ct1", "GATE", "10.1.2.3", policy.CALLING_UNKNOWN),
        ("CT1", "GATE", "10.1.2.4", policy.CALLING_UNKNOWN),
        ("CT1", "ANY-SCP", "10.1.2.3", policy.CALLED_UNKNOWN),
        ("CT1", "OTHER", "10.1.2.3", policy.CALLED_UNKNOWN),
    ):
        with pytest.raises(Refused) as caught:
            door.admit(ask(title, called), address, None)
        assert caught.value.answer == answer


def test_a_certificate_fits_by_fingerprint_or_name() -> None:
    (door,) = doors(ON_TLS | {"certificate_names": ["ct.example"]}, tls=TLS)
    good = (
        Certificate(bytes.fromhex("ab" * 32), frozenset()),
        Certificate(bytes(32), frozenset({"ct.example"})),
    )
    for certificate in good:
        assert door.admit(ask(), "10.1.2.3", certificate).name == "ct"
    for certificate in (None, Certificate(bytes(32), frozenset({"other.example"}))):
        with pytest.raises(Refused):
            door.admit(ask(), "10.1.2.3", certificate)


def test_the_first_transfer_syntax_of_an_allowed_class_is_taken() -> None:
    (door,) = doors({"sop_classes": [CT]})
    (peer,) = door.peers
    found = policy.negotiate(ask("CT1", "GATE", CT, MR, "1.2.840.10008.1.1"), peer, roles={"store"})
    assert [(each.result, each.transfer_syntax) for each in found] == [
        (0, JPEG),
        (3, JPEG),
        (0, JPEG),
    ]
    without = policy.negotiate(ask("CT1", "GATE", CT), peer, roles={"query"})
    assert [each.result for each in without] == [1]


def test_storage_means_every_storage_class_and_nothing_else() -> None:
    assert len(policy.STORAGE_CLASSES) > 190
    assert {CT, MR} <= policy.STORAGE_CLASSES
    for other in ("1.2.840.10008.1.20.1", "1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.31"):
        assert other not in policy.STORAGE_CLASSES
