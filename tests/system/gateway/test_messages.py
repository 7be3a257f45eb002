"""Messages of honest and dishonest senders through a real gateway to a real hub."""

from collections.abc import Callable

import pytest
from gateway_ward import EI, Sender, Ward, oru, peer_text

from asepsis.core.wire.mllp import frame


def test_a_message_is_acknowledged_and_in_the_journal_as_it_came(
    prepared: Callable[..., Ward],
) -> None:
    ward = prepared()
    ward.start_hub()
    ward.start_gateway()
    sent = [oru(n) for n in range(1, 21)]
    with Sender(ward.port()) as sender:
        assert [sender.send(message) for message in sent] == ["CA"] * len(sent)
        assert sender.send(sent[3]) == "CA"  # A duplicate is acknowledged again.
        again = oru(3, value=99)
        assert sender.send(again) == "CA"  # The same id over other bytes is a new message.
    assert ward.stop_gateway() == 0
    assert ward.journalled() == [*sent, again]
    found = ward.findings()
    assert found["duplicate"] == 1
    assert found["id-reused"] == 1
    assert found["cleartext"] == 1


def test_acknowledgements_are_as_the_sender_asks(ward: Ward) -> None:
    """Goal: MSH-15 and MSH-16 empty: AA; one of them there: CA; NE: nothing at all."""
    with Sender(ward.port()) as sender:
        assert sender.send(oru(1, ack=b"")) == "AA"
        assert sender.send(oru(2, ack=b"||AL")) == "CA"
        assert sender.send(oru(3, ack=b"|||AL")) == "CA"
        sender.raw(frame(oru(4, ack=b"||NE|NE")))
        assert sender.send(oru(5, ack=b"||AL|NE")) == "CA"
        assert sender.send(oru(6, ack=b"||ER|NE", sender=b"EVIL|ICU")) == "CR"


@pytest.mark.parametrize(
    ("message", "code", "place"),
    [
        (oru(1, sender=b"EVIL|ICU", ack=b""), "AR", "MSH^1^3"),
        (oru(1, sender=b"MON|OTHER", ack=b""), "AR", "MSH^1^3"),
        (oru(1, ack=b"").replace(b"ORU^R01^ORU_R01", b"MDM^T02"), "AR", "MSH^1^9"),
        (oru(1, ack=b"", device=b"0012210000000099^^0012210000000099^EUI-64"), "AE", "OBX^1^18"),
        (oru(1, ack=b"") + b"PRT|1|AD||EQUIP^Equipment||||||OTHER-1\r", "AE", "PRT^1^10"),
        # The typed identifier decides, whatever declared name stands beside it.
        (oru(1, ack=b"", device=b"MON-1^^0012210000000099^EUI-64"), "AE", "OBX^1^18"),
        (oru(1, ack=b"") + b"MSH|^~\\&|MON|ICU\r", "AE", ""),
        (oru(1, ack=b"").replace(b"\rOBX", b"\nOBX"), "AE", ""),
    ],
)
def test_what_is_never_taken_is_answered_so(
    ward: Ward, message: bytes, code: str, place: str
) -> None:
    with Sender(ward.port()) as sender:
        sender.raw(frame(message))
        answer = sender.answer()
        assert answer is not None
        assert answer.get("MSA-1") == code
        assert answer.raw("ERR-2").decode() == place
        assert sender.send(oru(901)) == "CA"  # The connection goes on.


def test_a_device_may_be_named_by_eui64_or_by_its_listed_identifier(ward: Ward) -> None:
    with Sender(ward.port()) as sender:
        assert sender.send(oru(21, device=EI.lower())) == "CA"
        assert sender.send(oru(22, device=b"MON-1")) == "CA"
        assert sender.send(oru(23, device=b"MON-1~" + EI)) == "CA"
        assert sender.send(oru(24, device=b"MON-1^ICU~UNKNOWN")) == "CE"


def test_a_repeated_hour_is_reported_and_the_bytes_stay(prepared: Callable[..., Ward]) -> None:
    zone = 'time_zone = "Europe/Berlin"'
    ward = prepared(peers=peer_text("monitor", ["127.0.0.1"], more=zone))
    ward.start_hub()
    ward.start_gateway()
    doubtful = oru(1, at=b"20261025023000")
    with Sender(ward.port()) as sender:
        assert sender.send(doubtful) == "CA"
    assert ward.stop_gateway() == 0
    assert ward.journalled() == [doubtful]
    assert '"certainty": "ambiguous"' in ward.log


def test_a_sender_that_counts_from_one_every_day_loses_nothing(
    prepared: Callable[..., Ward],
) -> None:
    ward = prepared()
    ward.start_hub()
    ward.start_gateway()
    days = [
        [oru(n, at=b"202611%02d120000+0100" % day, value=50 + n) for n in range(1, 31)]
        for day in range(1, 6)
    ]
    for messages in days:
        with Sender(ward.port()) as sender:
            assert {sender.send(message) for message in messages} == {"CA"}
        ward.stop_gateway()  # A gateway that is restarted every night as well.
        ward.start_gateway()
    with Sender(ward.port()) as sender:
        assert {sender.send(message) for message in days[0]} == {"CA"}
    ward.stop_gateway()
    assert ward.journalled() == [message for messages in days for message in messages]


def test_messages_of_one_sender_keep_their_order_under_pipelining(
    prepared: Callable[..., Ward],
) -> None:
    ward = prepared()
    ward.start_hub()
    ward.start_gateway()
    sent = [oru(n) for n in range(1, 301)]
    with Sender(ward.port()) as sender:
        sender.raw(b"".join(map(frame, sent)))
        codes = [sender.answer() for _ in sent]
    assert [answer.get("MSA-2") for answer in codes if answer] == [str(n) for n in range(1, 301)]
    ward.stop_gateway()
    assert ward.journalled() == sent
