"""Goal: the kept acknowledgement is the one that the codec writes, and judging never leaks."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_ack import AckCode, acknowledge
from asepsis.edge.gateway import replies, rules
from asepsis.edge.gateway.policy import Peer, peer_of
from asepsis.edge.gateway.settings import DeviceEntry, PeerEntry, SenderName

NOW_NS = 1_793_700_930_123_456_789
DEVICE = "urn:dev:mac:0012210000000001"


def peer(**more: object) -> Peer:
    entry = PeerEntry(
        name="monitor",
        listener="ward",
        addresses=("10.0.0.1",),
        senders=(SenderName(application="MON", facility="ICU"),),
        message_types=("ORU^R01", "ADT^*"),
        devices=(DeviceEntry(name=DEVICE, identifiers=("MON-1",)),),
        **more,  # type: ignore[arg-type]
    )
    return peer_of(entry)


PEER = peer()
texts = st.binary(max_size=12).filter(lambda b: not set(b) & set(b"|^~\\&\r\n\x0b\x1c\0"))


@given(texts, texts, texts, st.sampled_from([b"", b"2.3", b"2.6^DEU"]), st.booleans())
def test_the_kept_acknowledgement_is_the_written_one(
    application: bytes,
    facility: bytes,
    control: bytes,
    version: bytes,
    enhanced: bool,  # noqa: FBT001 - drawn
) -> None:
    asked = b"||AL|NE" if enhanced else b""
    # Some bytes can be read and not be echoed; judging refuses those.
    control, application = (bytes(b for b in x if b >= 32) for x in (control, application))
    facility = bytes(b for b in facility if b >= 32)
    message = Message.parse(
        b"MSH|^~\\&|%b|%b|GW|HOSP|||ADT^A01|%b|P|%b|%b\r"
        % (application, facility, control, version, asked)
    )
    code = AckCode.COMMIT_ACCEPT if enhanced else AckCode.APPLICATION_ACCEPT
    written = acknowledge(message.header, code, control_id="7-1", clock=lambda: NOW_NS)
    header = message.header
    accept = replies.accept_of(header)
    kept = accept and replies.positive(
        accept, header.raw(10), control_id="7-1", clock=lambda: NOW_NS
    )
    assert kept == written


@given(st.binary(max_size=200))
def test_judging_any_message_refuses_or_takes_it(tail: bytes) -> None:
    data = b"MSH|^~\\&|MON|ICU|GW|HOSP|20261103||ORU^R01|1|P|2.6\rOBX|" + tail + b"\r"
    with contextlib.suppress(InputError):
        rules.judge(Message.parse(data), PEER)


@pytest.mark.parametrize(
    "header",
    [
        b"MON\x01|ICU|GW|HOSP|||ORU^R01|1|P|2.6",
        b"MON|ICU|GW|HOSP|||ORU^R01|\x07|P|2.6",
        b"MON|ICU|GW|HOSP|||ADT^\xff|1|P|2.6",
    ],
)
def test_a_header_that_cannot_be_echoed_is_refused_before_it_is_stored(header: bytes) -> None:
    with pytest.raises(InputError):
        rules.judge(Message.parse(b"MSH|^~\\&|" + header + b"\r"), PEER)


def test_a_required_device_must_be_named() -> None:
    message = Message.parse(b"MSH|^~\\&|MON|ICU|||2026||ORU^R01|1|P|2.6\rOBX|1|NM\r")
    assert rules.judge(message, PEER).devices == ()
    with pytest.raises(replies.Refused) as caught:
        rules.judge(message, peer(device_required=True))
    assert caught.value.field == 18


def test_a_message_with_a_thousand_devices_is_nobodys() -> None:
    rows = b"".join(b"OBX|%d|NM||||||||||||||||D-%d\r" % (n, n) for n in range(1_100))
    message = Message.parse(b"MSH|^~\\&|MON|ICU|||2026||ORU^R01|1|P|2.6\r" + rows)
    with pytest.raises(replies.Refused):
        rules.judge(message, PEER)


def test_the_devices_of_a_message_are_known_by_name() -> None:
    message = Message.parse(
        b"MSH|^~\\&|MON^1^L|ICU|||2026||ADT^A08|1|P|2.6\r"
        b"PRT|1|AD||EQUIP||||||MON-1~X^^00-12-21-00-00-00-00-01^EUI-64\r"
    )
    assert rules.judge(message, PEER).devices == (
        (b"MON-1", DEVICE),
        (b"X^^00-12-21-00-00-00-00-01^EUI-64", DEVICE),
    )
