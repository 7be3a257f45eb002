"""Signing: what the hub's verifier takes, and what it never takes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError
from asepsis.core.model.alarm import AlarmPhase
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.core.trust import libcrypto
from asepsis.core.trust.origin import ChainHead, OriginVerifier, Place
from asepsis.core.wire import frames
from asepsis.core.wire.origin import decode_batch
from asepsis.edge.device import models
from asepsis.edge.device.alarms import AlarmBook
from asepsis.edge.device.records import Record
from asepsis.edge.device.signing import Signed, Signer
from asepsis.edge.device.source_monitor import SimulatedPatient
from asepsis.edge.device.sources import TICK_MS

KEY = libcrypto.generate_key()
VERIFIER = OriginVerifier(KEY.spki_der)
DEVICE = DeviceId.from_eui64(7)
TICK_NS = TICK_MS * 1_000_000


def signer(epoch: int = 5) -> Signer:
    return Signer(
        DEVICE,
        key=KEY,
        epoch=epoch,
        waves=models.MONITOR.waves,
        instant=lambda ns: Instant(bytes(16), ns, 10**18 + ns, UNSYNCHRONISED_MS),
    )


def measured(ticks: int, *, alarm_at: int | None = None) -> list[Record]:
    patient = SimulatedPatient(1)
    book = AlarmBook(
        limits=models.MONITOR.limits, signs=models.MONITOR.signs, new_id=lambda: bytes(16)
    )
    book.judge({1: 150}, now_s=0)
    found: list[Record] = []
    for tick in range(ticks):
        now_ns = 10**9 + tick * TICK_NS
        found.append(
            Record(state=ClinicalState.IN_USE, monotonic_ns=now_ns, samples=patient.samples())
        )
        if tick == alarm_at:
            events = tuple(book.judge({1: 150}, now_s=2))
            found.append(Record(state=ClinicalState.ALARMING, monotonic_ns=now_ns, alarms=events))
            active = book.list_active()
            found.append(Record(state=ClinicalState.ALARMING, monotonic_ns=now_ns, active=active))
    return found


def published(source: list[Record]) -> list[bytes]:
    made = signer()
    return [r for n, record in enumerate(source, 1) for r in made.take(n, record)] + made.flush()


def test_a_second_is_a_packet_and_the_batch_that_promises_it() -> None:
    signed = published(measured(24))
    assert [Signed(record[0]) for record in signed] == [Signed.PACKET, Signed.BATCH] * 3
    head = ChainHead.start(5)
    for packet, record in zip(signed[::2], signed[1::2], strict=True):
        batch = decode_batch(record[1:])
        VERIFIER.verify(batch)
        assert head.place(batch) is Place.NEXT
        head = ChainHead.of(batch)
        assert batch.header.interval_ms <= 1_000
        promised = {d.sha256 for d in batch.waveform_digests()}
        assert promised == {f.digest for f in frames.decode_packet(packet[1:]).frames}
    batches = [decode_batch(r[1:]).header for r in signed if r[0] == Signed.BATCH]
    assert all(b.ring_first == a.ring_last + 1 for a, b in pairwise(batches))
    assert batches[-1].ring_last == 24


def test_an_alarm_is_signed_at_once_and_goes_first() -> None:
    source = measured(16, alarm_at=4)
    made = signer()
    before = [r for n, record in enumerate(source[:5], 1) for r in made.take(n, record)]
    assert before == []
    at_once = made.take(6, source[5])
    kinds = [Signed(record[0]) for record in at_once]
    # The state changed, so what was measured before it is a batch of its own.
    assert kinds == [Signed.PACKET, Signed.BATCH, Signed.ALERT]
    alert = decode_batch(at_once[-1][1:])
    assert alert.clinical_state is ClinicalState.ALARMING
    assert len(alert.alarms()) == 1
    assert not alert.header.lists_active
    assert made.take(7, source[6]) == []
    # The next tick ends the short interval behind an alarm: its batch names what is active.
    follower = decode_batch(
        made.take(8, Record(state=ClinicalState.ALARMING, monotonic_ns=source[7].monotonic_ns))[-1][
            1:
        ]
    )
    assert follower.header.lists_active
    assert follower.header.interval_ms <= 100
    assert [(e.condition_id, e.phase) for e in follower.alarms()] == [
        (alert.alarms()[0].condition_id, AlarmPhase.CHANGE)
    ]


def test_a_list_beside_events_is_older_than_they_are_and_left_out() -> None:
    """Goal: a batch with an end never lists the condition that it ends."""
    made = signer()
    book = AlarmBook(
        limits=models.MONITOR.limits, signs=models.MONITOR.signs, new_id=lambda: bytes(16)
    )
    book.judge({1: 150}, now_s=0)
    onset = book.judge({1: 150}, now_s=2)
    active = book.list_active()
    assert [e.condition_id for e in active] == [e.condition_id for e in onset]
    state = ClinicalState.ALARMING
    assert made.take(1, Record(state=state, monotonic_ns=1, active=active)) == []
    ended = tuple(book.clear())
    (record,) = made.take(2, Record(state=state, monotonic_ns=2, alarms=ended))
    batch = decode_batch(record[1:])
    assert record[0] == Signed.ALERT
    assert not batch.header.lists_active
    assert [e.phase for e in batch.alarms()] == [AlarmPhase.END]
    made.take(3, Record(state=state, monotonic_ns=3, active=book.list_active()))
    calm = decode_batch(made.flush()[-1][1:])
    assert calm.header.lists_active
    assert calm.alarms() == ()


def test_a_silent_vitals_compartment_leaves_no_batch_open() -> None:
    made = signer()
    made.take(1, measured(1)[0])
    assert not made.due(10**9 + 10**8)
    assert made.due(3 * 10**9)
    assert len(made.flush()) == 2
    assert made.flush() == []
    assert made.covered == 1


ALARMED = [r for r in published(measured(40, alarm_at=15)) if r[0] != Signed.PACKET]


@settings(max_examples=200)
@given(st.data())
def test_no_changed_batch_is_taken(data: st.DataObject) -> None:
    """Goal: whatever a broken-into network compartment changes, a bit is enough to be refused."""
    genuine = bytearray(data.draw(st.sampled_from(ALARMED))[1:])
    at = data.draw(st.integers(0, len(genuine) * 8 - 1))
    genuine[at // 8] ^= 1 << at % 8
    with pytest.raises(AsepsisError):
        VERIFIER.verify(decode_batch(bytes(genuine)))


def test_a_replayed_batch_has_its_old_place_and_a_dropped_one_leaves_a_hole() -> None:
    batches = [decode_batch(record[1:]) for record in ALARMED]
    head = ChainHead.of(batches[2])
    assert head.place(batches[0]) is Place.BEHIND
    assert head.place(batches[2]) is Place.DUPLICATE
    assert ChainHead.of(batches[0]).place(batches[2]) is Place.AHEAD


def test_idle_cannot_be_forged_by_another_key() -> None:
    other = Signer(
        DEVICE,
        key=libcrypto.generate_key(),
        epoch=5,
        waves=(),
        instant=lambda ns: Instant(bytes(16), ns, ns, UNSYNCHRONISED_MS),
    )
    other.take(1, Record(state=ClinicalState.IDLE, monotonic_ns=1))
    with pytest.raises(AsepsisError):
        VERIFIER.verify(decode_batch(other.flush()[-1][1:]))
