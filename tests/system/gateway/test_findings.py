"""What the gateway finds out reaches the hub with the message, and the hub knows that it lives."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from gateway_ward import DEVICE, EI, GATEWAY, Sender, Ward, oru, peer_text

from asepsis.core.mapping.pcd01 import numerics_of_message
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.wire.message_record import KIND_GROUP, Found, encode_group
from asepsis.hub.exchange.lease import Cause

BERLIN = peer_text("monitor", ["127.0.0.1"], more='time_zone = "Europe/Berlin"')
REPEATED = b"20261025023000"
"""Half past two in the night in which clocks are put back from three to two."""


def test_a_repeated_hour_a_used_id_and_clear_text_are_known_at_the_hub(
    prepared: Callable[..., Ward],
) -> None:
    ward = prepared(peers=BERLIN)
    ward.start_hub()
    ward.start_gateway()
    began_ns = time.time_ns()
    with Sender(ward.port()) as sender:
        assert sender.send(oru(1, at=REPEATED)) == "CA"
        assert sender.send(oru(1, at=b"20261103120000", value=61)) == "CA"
        assert sender.send(oru(2, at=b"20260329023000")) == "CA"
    assert ward.stop_gateway() == 0
    found = [entry.findings for entry in ward.entries()]
    assert all(findings is not None for findings in found)
    first, second, third = (findings for findings in found if findings is not None)
    assert first.found == Found.CLEARTEXT | Found.AMBIGUOUS_TIME
    assert second.found == Found.CLEARTEXT | Found.ID_REUSED
    assert third.found == Found.CLEARTEXT | Found.SKIPPED_TIME
    assert first.peer.name == "monitor"
    assert first.peer.zone == "Europe/Berlin"
    assert first.peer.devices == ((EI, DEVICE),)
    assert first.offset_min in {60, 120}  # Of now, whatever the season.
    assert began_ns <= first.arrived_at_ns <= time.time_ns()


def test_the_values_of_a_stored_message_can_be_read_again(prepared: Callable[..., Ward]) -> None:
    ward = prepared(peers=BERLIN)
    ward.start_hub()
    ward.start_gateway()
    with Sender(ward.port()) as sender:
        assert sender.send(oru(1, at=REPEATED)) == "CA"
    ward.stop_gateway()
    (entry,) = ward.entries()
    assert entry.findings is not None
    group = encode_group([(entry.findings, entry.body)])
    (numerics,) = numerics_of_message(KIND_GROUP, group).value
    assert numerics.device.uri == DEVICE
    assert numerics.certainty is Certainty.AMBIGUOUS
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert numerics.start_ns == int(at.timestamp()) * 10**9
    assert numerics.later_by_ns == 3_600 * 10**9


def test_a_gateway_without_messages_shows_life_and_its_death_is_an_alarm(
    prepared: Callable[..., Ward],
) -> None:
    """Goal: three seconds of silence from the ward are none of the gateway (REQ-ALM-020)."""
    ward = prepared()
    ward.start_hub()
    ward.start_gateway()
    time.sleep(3.5)
    killed_ns = time.time_ns()
    ward.kill_gateway()
    time.sleep(4)
    (event,) = (one for one in ward.technical() if one.cause is Cause.GATEWAY)
    assert event.device == GATEWAY
    assert event.at_ns > killed_ns
