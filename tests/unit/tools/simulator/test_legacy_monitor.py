"""Goal: what a simulated legacy device writes is PCD-01 and ADT that the hub understands wholly."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from asepsis.core.errors import InputError
from asepsis.core.mapping.pcd01 import numerics_of_message
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import KIND_GROUP, MessageFindings, MessagePeer, encode_group
from asepsis.tools.simulator.legacy_monitor import HEART_RATE, KINDS, LegacyDevice
from asepsis.tools.simulator.legacy_process import STRUCTURES, AdtOrder, adt_message

EUI = "0123456789ABCDEF"
DEVICE = "urn:dev:mac:0123456789abcdef"
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


def device(kind: str) -> LegacyDevice:
    return LegacyDevice(kind, eui64=EUI, sender=("MON", "ICU"), rng=Random(1))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_value_arrives_at_the_device(kind: str) -> None:
    _, body = device(kind).message(NOON)
    word = b"%b^^%b^EUI-64" % ((EUI.encode(),) * 2)
    findings = MessageFindings(MessagePeer("monitor", "UTC", ((word, DEVICE),)), 0, 0)
    found = numerics_of_message(KIND_GROUP, encode_group([(findings, body)]))
    assert found.losses == ()
    (numerics,) = found.value
    assert numerics.device.uri == DEVICE
    assert len(numerics.numerics) == len(KINDS[kind].signs)


def test_the_control_id_begins_anew_each_day() -> None:
    monitor = device("monitor")
    ids = [monitor.message(NOON + timedelta(hours=6 * n))[0] for n in range(5)]
    assert ids == ["1", "2", "1", "2", "3"]


def test_a_high_heart_rate() -> None:
    monitor = device("monitor")
    monitor.high = True
    message = Message.parse(monitor.message(NOON)[1])
    rows = zip(*message.columns("OBX", 3, 5), strict=True)
    assert dict(rows)["^".join((*HEART_RATE, "MDC")).encode()] == b"152"


def test_adt_messages() -> None:
    order = AdtOrder(
        event="A02", patient="4711", name=("DOE", "JANE"), place=("ICU", "1", "2"), prior=("ICU",)
    )
    message = Message.parse(adt_message(order, ("ADT", "HIS"), control="9", at="20261103"))
    assert message.header.structure == STRUCTURES["A02"]
    assert message.get("PV1-3.3") == "2"
    assert message.get("PID-5.2") == "JANE"
    with pytest.raises(InputError):
        adt_message(AdtOrder(event="A99", patient="1"), ("A", "B"), control="1", at="")
