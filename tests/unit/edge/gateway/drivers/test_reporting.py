"""What a device told, as the hub takes it: bundles, packets, documents, nothing that is stale."""

from itertools import count

import pytest

from asepsis.core.errors import FramingError
from asepsis.core.mapping.fhir_bundle import bundle_to_numerics
from asepsis.core.model.alarm import AlarmKind, AlarmPriority
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import frames
from asepsis.core.wire.fhir_alarm import decode_alarms
from asepsis.core.wire.fhir_codec import decode_bundle
from asepsis.edge.gateway.drivers import channel
from asepsis.edge.gateway.drivers.reporting import Counter, Made, Reporter, empty_bundle
from asepsis.edge.gateway.drivers.sdk import (
    Condition,
    Conditions,
    Samples,
    Unlinked,
    Value,
    Values,
)

DEVICE = DeviceId("urn:dev:mac:0000000000000041")
START_NS = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def reporter() -> Reporter:
    ids = count(1)
    return Reporter(DEVICE, 7, Counter(), lambda: next(ids).to_bytes(16, "big"))


def take(one: Reporter, told: object, *, at_s: float = 0.0) -> list[Made]:
    moment = int(at_s * SECOND)
    return list(one.take(told, at_ns=START_NS + moment, now_ns=10 * SECOND + moment))


def value(code: int, unit: int, number: int, *, handle: int = 4, age_ms: int = 0) -> Value:
    return Value(handle=handle, code=code, unit=unit, value=number, age_ms=age_ms)


def wave(*samples: int, handle: int = 9) -> Samples:
    return Samples(
        handle=handle,
        code=131_330,
        unit=266_418,
        period_ns=4_000_000,
        scale=1,
        offset=0,
        samples=samples,
    )


def condition(key: str, *, text: str = "LOW") -> Condition:
    return Condition(
        key=key,
        code=196_672,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=AlarmPriority.HIGH,
        text=text,
    )


def test_values_become_a_bundle_with_the_age_that_they_have() -> None:
    one = reporter()
    pressures = [value(150_021, 266_016, 120, age_ms=30_000), value(150_022, 266_016, 70)]
    (made,) = take(one, Values(tuple(pressures)))
    bundle = decode_bundle(made.body).resource
    found = bundle_to_numerics(bundle, device=DEVICE).value
    assert found.start_ns == START_NS - 30 * SECOND
    assert [(n.mdc_code, n.offset_ms) for n in found.numerics] == [(150_021, 0), (150_022, 30_000)]
    # Parts of one measurement share a handle at the device; at the hub each has its own.
    assert len({n.handle for n in found.numerics}) == 2
    assert (made.lane, made.sequence) == ("fhir", 1)


def test_values_that_come_fast_share_a_bundle_and_the_newest_counts() -> None:
    one = reporter()
    take(one, Values((value(147_842, 264_864, 60),)))
    assert not take(one, Values((value(147_842, 264_864, 61),)), at_s=0.1)
    (made,) = take(one, Values((value(147_842, 264_864, 62),)), at_s=0.6)
    (numeric,) = bundle_to_numerics(decode_bundle(made.body).resource, device=DEVICE).value.numerics
    assert numeric.value == 62


def test_what_was_told_together_goes_together_and_jitter_makes_nothing_wait() -> None:
    one = reporter()
    one.waves_ns, one.ahead = 80_000_000, 2
    sent: list[int] = []
    for turn in range(20):
        moment = 10 * SECOND + turn * 100_000_000 - turn % 2 * 30_000_000
        for handle in (1, 2):
            told = wave(turn, handle=handle)
            assert not list(one.take(told, at_ns=START_NS + moment, now_ns=moment))
        assert one.holds_back
        made = list(one.tick(at_ns=START_NS + moment, now_ns=moment))
        sent += [len(frames.decode_packet(packet.body).frames) for packet in made]
    assert sent == [2] * 20
    assert not one.holds_back


def test_over_time_no_more_packets_than_allowed() -> None:
    one = reporter()
    one.waves_ns, one.ahead = 80_000_000, 2
    sent = 0
    for turn in range(100):
        moment = 10 * SECOND + turn * 10_000_000
        list(one.take(wave(turn), at_ns=START_NS + moment, now_ns=moment))
        sent += len(list(one.tick(at_ns=START_NS + moment, now_ns=moment)))
    assert sent <= 2 + 1_000 // 80


def test_a_unit_that_fits_no_metric_is_left_out_and_the_others_go_on() -> None:
    one = reporter()
    told = Values((value(147_842, 266_016, 60), value(150_456, 262_688, 97)))
    (made,) = take(one, told)
    assert b"150456" in made.body
    assert b"147842" not in made.body
    assert one.unfit == 1


def test_samples_become_packets_without_a_hole_in_their_numbers() -> None:
    one = reporter()
    stretch = wave(1, 2, 3)
    (first,) = take(one, stretch)
    take(one, stretch, at_s=0.3)
    (second,) = take(one, stretch, at_s=0.9)
    packets = [frames.decode_packet(made.body) for made in (first, second)]
    assert [p.sequence for p in packets] == [1, 2]
    assert [p.frames[0].frame_sequence for p in packets] == [1, 2]
    assert packets[1].frames[0].sample_count == 6
    assert packets[1].frames[0].wall_ns == START_NS + int(0.9 * SECOND) - 6 * 4_000_000


def test_conditions_become_events_and_a_list() -> None:
    one = reporter()
    onset, listed = take(one, Conditions((condition("a"),)))
    document = decode_alarms(onset.body)
    assert [(e.phase, e.text) for e in document.events] == [("onset", "LOW")]
    active = decode_alarms(listed.body)
    assert (active.lists_active, len(active.events)) == (True, 1)
    assert not take(one, Conditions((condition("a"),)), at_s=1)
    (again,) = take(one, Conditions((condition("a"),)), at_s=4)
    assert decode_alarms(again.body).lists_active
    changed, _ = take(one, Conditions((condition("a", text="LOWER"),)), at_s=5)
    assert decode_alarms(changed.body).events[0].phase == "change"
    ended, empty = take(one, Conditions(()), at_s=6)
    event = decode_alarms(ended.body).events[0]
    assert (event.phase, event.condition_id) == ("end", document.events[0].condition_id)
    assert decode_alarms(empty.body).events == ()
    anew, _ = take(one, Conditions((condition("a"),)), at_s=7)
    assert decode_alarms(anew.body).events[0].condition_id != event.condition_id


def test_nothing_is_told_of_a_device_that_was_lost() -> None:
    """Goal: neither a value that waited nor the list of its alarms outlives the link."""
    one = reporter()
    take(one, Conditions((condition("a"),)))
    take(one, Values((value(147_842, 264_864, 60),)))
    take(one, Values((value(147_842, 264_864, 61),)), at_s=0.1)
    take(one, Unlinked("silence"), at_s=0.2)
    assert not list(one.tick(at_ns=START_NS + 60 * SECOND, now_ns=70 * SECOND))


def test_an_empty_bundle_names_its_device_and_nothing_else() -> None:
    bundle = decode_bundle(empty_bundle(DEVICE)).resource
    assert len(bundle.entry) == 1
    assert bundle.timestamp is None


def test_a_channel_takes_reports_only_and_never_blocks() -> None:
    line, hub = channel.pair()
    told = (Values((value(147_842, 264_864, 60),)), Conditions((condition("a"),)))
    assert channel.send(line, channel.Report(at_ns=1, told=told, strangers=2))
    assert channel.receive(hub) == channel.Report(at_ns=1, told=told, strangers=2)
    assert channel.receive(hub) is None
    for packet in (b"\x00", b"\x81\xa5at_ns\xff", b"\x81\xa5other\x01"):
        line.send(packet)
        with pytest.raises(FramingError):
            channel.receive(hub)
    sent = 0
    while channel.send(line, channel.Report(at_ns=1, told=told)) and sent < 100_000:
        sent += 1
    assert sent < 100_000
    line.close()
    hub.close()
