"""What the hub writes about a record: whose it is, what is nobody's, which alerts are of now."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from asepsis.core.errors import TransientError
from asepsis.core.journal.ports import Append, Record
from asepsis.core.mapping.pcd01 import numerics_of_entry
from asepsis.core.mapping.pcim import read_association
from asepsis.core.mapping.route import Route, routes_of
from asepsis.core.mapping.route_document import read_routes
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.origin import NO_PREVIOUS, BatchHeader, attach_signature, encode_batch
from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.delivery.feeder import Feeder
from asepsis.hub.delivery.ledger import Ledger, key_of, lane_of, position_of
from asepsis.hub.delivery.model import Destination, Item, ItemKind, Kind, Options
from asepsis.hub.delivery.scribe import LATE_NS, Scribe, Written
from asepsis.hub.registry.associations.service import as_event

S = 10**9
NOW = 1_800_000_000 * S
DEVICE = "urn:dev:mac:0000000000000001"
ADA, BEN = PatientId("1", "MRN"), PatientId("2", "MRN")
HEART_RATE = Numeric(
    handle=7,
    mdc_code=147842,
    unit_code=264864,
    value=60,
    status=MeasurementStatus.VALID,
    offset_ms=0,
)
ALARM = AlarmEvent(
    condition_id=bytes(15) + b"\1",
    phase=AlarmPhase.ONSET,
    kind=AlarmKind.PHYSIOLOGICAL,
    priority=AlarmPriority.HIGH,
    latching=False,
    inactivation=Inactivation.NONE,
    mdc_code=196648,
    source_handle=7,
    offset_ms=0,
    text="HR HIGH",
)


def held(patient: PatientId, start_ns: int, end_ns: int | None = None) -> Association:
    return Association(
        id="00000000-0000-4000-8000-000000000001",
        device=DEVICE,
        patient=patient,
        place=Place("ICU", "1", "A"),
        state=AssociationState.CONFIRMED if end_ns is None else AssociationState.ENDED,
        basis=Basis.PERSON,
        start_ns=start_ns,
        end_ns=end_ns,
        proposed_by="person:ana",
        confirmed_by="person:ana",
        end_reason=None,
    )


@dataclass
class Desk:
    """Associations, clocks and conditions that a test moves."""

    intervals: list[Association] = field(default_factory=list[Association])
    now_ns: int = NOW
    active: set[bytes] = field(default_factory=set[bytes])
    behind: bool = False

    def now(self, device: str) -> Association | None:
        open_ended = [a for a in self.intervals if a.end_ns is None and a.device == device]
        return open_ended[0] if open_ended else None

    async def history(
        self, *, device: str | None = None, from_ns: int, to_ns: int
    ) -> Sequence[Association]:
        return [
            a
            for a in self.intervals
            if a.device == device and a.start_ns < to_ns and (a.end_ns or to_ns) >= from_ns
        ]

    async def settled(self, _record: Record, _wait_s: float) -> bool:
        return not self.behind

    def scribe(self) -> Scribe:
        return Scribe(
            settled=self.settled,
            present=self,
            histories=self,
            bundles=lambda _: (),
            alarms=make_readers().alarms,
            active=lambda _, condition: condition in self.active,
            clock=lambda: self.now_ns,
        )

    def write(self, record: Record, carries: str) -> Sequence[Written]:
        return asyncio.run(self.scribe().write(record, carries))


def record(
    *numerics: Numeric,
    alarms: Sequence[AlarmEvent] = (),
    lane: Lane = Lane.VITALS,
    at_ns: int = NOW,
    arrived_ns: int = NOW,
    sequence: int = 1,
    uncertainty_ms: int = 10,
) -> Record:
    header = BatchHeader(
        device=DeviceId(DEVICE),
        key_id=bytes(8),
        epoch=1,
        sequence=sequence,
        ring_first=1,
        ring_last=10,
        previous=NO_PREVIOUS if sequence == 1 else b"\1" * 32,
        clinical_state=ClinicalState.IN_USE,
        instant=Instant(bytes(16), 1, at_ns, uncertainty_ms),
        interval_ms=1_000,
        lists_active=False,
    )
    body = attach_signature(encode_batch(header, numerics=numerics, alarms=alarms), bytes(64))
    append = Append(
        lane=lane,
        account=Account.ORIGIN,
        producer=DEVICE,
        epoch=1,
        sequence=sequence,
        kind="origin-batch",
        body=body,
        received_at_ns=arrived_ns,
    )
    return Record(sequence, append)


def parsed(written: Sequence[Written]) -> list[Message]:
    return [Message.parse(one.entry.body) for one in written]


def later(ms: int, value: int = 61) -> Numeric:
    return replace(HEART_RATE, offset_ms=ms, value=value)


def test_each_value_goes_with_whom_its_device_was_confirmed_for_then() -> None:
    """Goal: one batch over the end of one patient and the beginning of the next: three messages."""
    desk = Desk([held(ADA, NOW - 60 * S, NOW + S // 10), held(BEN, NOW + 3 * S // 10)])
    values = (HEART_RATE, later(99), later(100, 70), later(299, 70), later(300, 80), later(500, 80))
    written = desk.write(record(*values), "observations")
    messages = parsed(written)
    assert [m.get("PID-3.1") for m in messages] == ["1", "", "2"]
    assert [m.get("PV1-3.1") for m in messages] == ["ICU", "", "ICU"]
    assert [one.nobodys for one in written] == [False, True, False]
    # The first row of each is its device.
    values_of = [[m.get(f"OBX[{n}]-5") for n in (2, 3)] for m in messages]
    assert values_of == [["60", "61"], ["70", "70"], ["80", "80"]]
    names = [m.header.control_id for m in messages]
    assert len(set(names)) == 3
    assert names == [
        m.header.control_id for m in parsed(desk.write(record(*values), "observations"))
    ]
    back = numerics_of_entry(written[0].entry, messages[0]).value
    assert [one.device.uri for one in back] == [DEVICE]


@pytest.mark.parametrize("lane", [Lane.VITALS, Lane.ALERT, Lane.LATE])
def test_numbers_come_by_every_lane_of_signed_batches(lane: Lane) -> None:
    (message,) = parsed(Desk().write(record(HEART_RATE, lane=lane), "observations"))
    assert message.get("OBX[2]-5") == "60"


def test_a_clock_that_is_off_puts_values_to_their_arrival_and_to_nobody() -> None:
    desk = Desk([held(ADA, 1)])
    off = record(HEART_RATE, at_ns=NOW - 3_600 * S, uncertainty_ms=UNSYNCHRONISED_MS)
    (message,) = parsed(desk.write(off, "observations"))
    assert message.get("PID-3") == ""
    assert message.get("OBR-7")[:14] == message.header.raw(7).decode()[:14]
    assert desk.write(off, "observations")[0].nobodys


def test_values_wait_for_who_their_device_is_used_for_and_alerts_do_not() -> None:
    desk = Desk([held(ADA, 1)], behind=True)
    with pytest.raises(TransientError):
        desk.write(record(HEART_RATE), "observations")
    (alert,) = parsed(desk.write(record(alarms=[ALARM], lane=Lane.ALERT), "alerts"))
    assert alert.get("PID-3") == ""


def test_an_alert_names_patient_code_and_metric() -> None:
    desk = Desk([held(ADA, 1)])
    (alert,) = parsed(desk.write(record(HEART_RATE, alarms=[ALARM], lane=Lane.ALERT), "alerts"))
    assert (alert.header.message_code, alert.header.trigger_event) == ("ORU", "R40")
    assert alert.get("PID-3.1") == "1"
    assert alert.get("OBX-3.1") == "196648"
    assert alert.get("OBX[2]-5.1") == "147842"


def test_a_late_alert_is_told_only_while_its_condition_is_active() -> None:
    """Goal: nobody runs to a bed for what is over; what goes on, and every end, is told."""
    desk = Desk()
    (onset,) = desk.write(record(alarms=[ALARM], lane=Lane.ALERT), "alerts")
    (end,) = desk.write(
        record(alarms=[replace(ALARM, phase=AlarmPhase.END)], lane=Lane.ALERT), "alerts"
    )
    assert end.overtaken is None
    assert onset.overtaken is not None
    assert not onset.overtaken()
    desk.now_ns += LATE_NS + 1
    assert onset.overtaken()
    desk.active.add(ALARM.condition_id)
    assert not onset.overtaken()


def test_alerts_of_messages_are_left_to_their_own_message() -> None:
    found = record(alarms=[ALARM], lane=Lane.ALERT)
    other = Record(1, replace(found.append, account=Account.MESSAGE))
    assert Desk().write(other, "alerts") == ()


@pytest.mark.parametrize(
    ("state", "confirmed_by", "said"),
    [
        ("confirmed", "person:ana", ("198332", "F")),
        ("ended", "person:ana", ("198334", "F")),
        ("rejected", "person:ana", ("198332", "W")),
        ("rejected", None, None),
        ("proposed", None, None),
    ],
)
def test_associations_are_told_once_somebody_confirmed_them(
    state: str, confirmed_by: str | None, said: tuple[str, str] | None
) -> None:
    end_ns = NOW if state in ("ended", "rejected") else None
    association = replace(held(ADA, NOW - S), end_ns=end_ns, confirmed_by=confirmed_by)
    event = {
        "topic": f"association.{state}",
        "version": 1,
        "at_ns": NOW,
        "subject": DEVICE,
        "data": as_event(association),
        "id": 9,
    }
    append = replace(
        record().append,
        lane=Lane.EVENT,
        account=Account.EVENT,
        producer="hub:outbox",
        kind="event",
        body=msgspec.json.encode(event),
    )
    messages = parsed(Desk().write(Record(9, append), "associations"))
    assert [(m.get("OBX-5.1"), m.get("OBX-11")) for m in messages] == ([said] if said else [])
    for message in messages:
        assert read_association(message).patients == (ADA,)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"topic":"device.enrolled","subject":"x","data":{}}']
)
def test_other_events_are_nobodys_business(body: bytes) -> None:
    append = replace(record().append, lane=Lane.EVENT, kind="event", body=body)
    assert Desk().write(Record(1, append), "associations") == ()


def fed(
    desk: Desk,
    text: str,
    options: Options,
    records: Sequence[Record],
    *,
    kind: Kind = Kind.MLLP,
) -> list[Item]:
    destination = Destination(
        name="ehr", kind=kind, address="h:1", options=options, created_by="x", created_ns=1
    )
    feeder = Feeder(destination, gate=None, scribe=desk.scribe(), monotonic=lambda: 0)
    routes: Sequence[Route] = routes_of(read_routes(text.encode(), read_table=lambda _: b""))

    async def feed() -> list[Item]:
        ledgers = {lane: Ledger(0) for lane in destination.lanes}
        return [
            item
            for one in records
            for item in await feeder.feed(one, routes, ledgers[one.append.lane])
        ]

    return asyncio.run(feed())


def test_a_chart_gets_one_value_a_minute_and_nothing_of_nobody() -> None:
    text = (
        '[[routes]]\nname = "v"\nfrom = "observations"\nto = ["ehr"]\n'
        '[[routes.sampling]]\nto = "ehr"\nkeep = "median"\n'
    )
    values = [
        record(replace(HEART_RATE, value=60 + n % 7), at_ns=NOW + n * S, sequence=n + 1)
        for n in range(125)
    ]
    chart = Options(carries="observations", chart=True)
    assert fed(Desk(), text, chart, values) == []
    items = fed(Desk([held(ADA, 1)]), text, chart, values)
    assert [len(item.members) for item in items] == [60, 60]
    assert [Message.parse(item.body).get("OBX[2]-5") for item in items] == ["63", "63"]


def test_keys_name_their_lane_where_a_line_has_several() -> None:
    lanes = (Lane.ALERT, Lane.VITALS, Lane.LATE)
    assert key_of(12, Lane.MESSAGE, 0, 1) == "12.0.1"
    assert lane_of("12.0.1", (Lane.MESSAGE,)) is Lane.MESSAGE
    for lane in lanes:
        key = key_of(12, lane, 3, 4)
        assert (position_of(key), lane_of(key, lanes)) == (12, lane)


def test_a_fhir_server_gets_values_of_native_devices_as_observations() -> None:
    text = '[[routes]]\nname = "v"\nfrom = "observations"\nto = ["ehr"]\n'
    options = Options(carries="observations")
    (item,) = fed(Desk([held(ADA, 1)]), text, options, [record(HEART_RATE)], kind=Kind.FHIR)
    assert (item.kind, item.fault) == (ItemKind.FHIR, "")
    (entry,) = msgspec.json.decode(item.body)["entry"]
    assert entry["resource"]["subject"]["identifier"]["value"] == "1"
    assert entry["resource"]["valueQuantity"]["value"] == 60
    assert entry["resource"]["device"]["identifier"]["value"] == DEVICE
