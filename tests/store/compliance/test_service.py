"""Profiles, decisions and lapses on both databases, and what the gate says of stored records."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from asepsis.core.compliance.profile import Interface
from asepsis.core.errors import Conflict, InputError, NotFound
from asepsis.core.journal.ports import Append, LaneStatus, Record
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.patient import PatientId
from asepsis.core.model.time import Instant
from asepsis.core.wire.fhir import EUI64_SYSTEM
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import (
    KIND_GROUP,
    MessageFindings,
    MessagePeer,
    encode_group,
)
from asepsis.core.wire.origin import BatchHeader, encode_batch
from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.audit import log as audit_log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.compliance.book import ComplianceBook
from asepsis.hub.registry.compliance.judge import HubJudge
from asepsis.hub.registry.compliance.service import LAPSED, ComplianceService
from asepsis.hub.store.outbox import EventReader
from asepsis.hub.store.store import Store
from asepsis.hub.store.tables import outbox

T = TypeVar("T")
DEVICE = "urn:dev:mac:0000000000000001"
MODEL = "Acme M3"
JANE = PatientId("4711", "HOSP")
NOW_NS = 1_800_000_000_000_000_000
WRITTEN = b"20270115080000+0000"
PROFILE = b"""
format = 1
name = "acme-m3"
version = 1
interface = "hl7v2"
[[metrics]]
code = 147842
unit = "{beat}/min"
low = 0
high = 350
"""


def oru(value: bytes = b"60", *, pid: bytes = b"4711^^^HOSP", at: bytes = WRITTEN) -> bytes:
    return (
        b"MSH|^~\\&|MON|ICU|||" + at + b"||ORU^R01^ORU_R01|1|P|2.6\rPID|||" + pid + b"\rOBR|1|||1\r"
        b"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1|"
        + value
        + b"|264864^^MDC|||||R|||"
        + at
        + b"||||MON-1\r"
    )


def record(body: bytes, *, position: int = 1, devices: bool = True) -> Record:
    words = ((b"MON-1", DEVICE),) if devices else ()
    findings = MessageFindings(MessagePeer("monitor", "UTC", words), 0, NOW_NS)
    return Record(
        position,
        Append(
            lane=Lane.MESSAGE,
            account=Account.MESSAGE,
            producer="urn:uuid:00000000-0000-4000-8000-000000000001",
            epoch=1,
            sequence=position,
            kind=KIND_GROUP,
            body=encode_group([(findings, body)]),
            received_at_ns=NOW_NS,
        ),
    )


def association(patient: PatientId, *, start_ns: int = 0, end_ns: int | None = None) -> Association:
    return Association(
        id=f"{patient.value}-{start_ns}",
        device=DEVICE,
        patient=patient,
        place=None,
        state=AssociationState.CONFIRMED if end_ns is None else AssociationState.ENDED,
        basis=Basis.PERSON,
        start_ns=start_ns,
        end_ns=end_ns,
        proposed_by="adt",
        confirmed_by="person:nurse",
        end_reason=None,
    )


class ExchangeReadings:
    """Reads bundles as the hub's composition root does."""

    def __call__(self, record: Record) -> list[tuple[str, int, Sequence[Numeric]]]:
        return [(m.device, m.start_ns, m.numerics) for m in make_readers().bundle(record)]


@dataclass
class Uses:
    """Whom the device is and was used for."""

    every: list[Association] = field(default_factory=list[Association])

    def now(self, device: str) -> Association | None:
        return next((a for a in self.every if a.device == device and a.end_ns is None), None)

    async def history(
        self, *, device: str | None = None, from_ns: int, to_ns: int
    ) -> Sequence[Association]:
        return [
            a
            for a in self.every
            if a.device == device
            and a.start_ns < to_ns
            and (a.end_ns is None or a.end_ns > from_ns)
        ]


@dataclass
class Journal:
    """Records of the message lane in memory."""

    records: list[Record] = field(default_factory=list[Record])

    async def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        found = self.records if lane is Lane.MESSAGE else []
        return [r for r in found if r.position > after][:records_max]

    async def status(self) -> Mapping[Lane, LaneStatus]:
        last = len(self.records)
        return {lane: LaneStatus(1, last if lane is Lane.MESSAGE else 0, 0, 0, 0) for lane in Lane}


@dataclass
class Hub:
    """One hub's compliance."""

    store: Store
    uses: Uses = field(default_factory=Uses)
    journal: Journal = field(default_factory=Journal)
    service: ComplianceService = field(init=False)

    def __post_init__(self) -> None:
        book = ComplianceBook(lambda _: MODEL)
        judge = HubJudge(book, self.uses, self.uses, ExchangeReadings())
        self.service = ComplianceService(
            store=self.store,
            audit=AuditLog(self.store.clock),
            book=judge.book,
            judge=judge,
            journal=self.journal,
        )
        self.run(self.service.load())

    @property
    def judge(self) -> HubJudge:
        return self.service.judge

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def held(self, body: bytes, **more: Any) -> str:
        found = self.run(self.judge.verdict(record(body, **more)))
        return found.reason if found else ""

    def admit(self, subject: str = MODEL, *, days: int | None = None) -> None:
        self.run(self.service.add_profile(PROFILE, person="eng"))
        self.run(
            self.service.admit(
                subject, profile="acme-m3", version=1, conformant_days=days, person="eng"
            )
        )


@pytest.fixture
def hub(store: Store) -> Hub:
    return Hub(store)


def test_a_version_of_a_profile_never_changes(hub: Hub) -> None:
    for _ in range(2):
        hub.run(hub.service.add_profile(PROFILE, person="eng"))
    with pytest.raises(Conflict):
        hub.run(hub.service.add_profile(PROFILE + b"# other\n", person="eng"))
    with pytest.raises(InputError):
        hub.run(hub.service.add_profile(b"nonsense", person="eng"))
    assert [s.profile.title for s in hub.service.book.stored] == ["acme-m3 v1"]
    assert hub.service.stored("acme-m3", 0).document == PROFILE
    with pytest.raises(NotFound):
        hub.service.stored("acme-m3", 2)


def test_what_is_decided_for_a_device_stands_above_its_model(hub: Hub) -> None:
    hub.admit()
    newer = PROFILE.replace(b"version = 1", b"version = 2")
    hub.run(hub.service.add_profile(newer, person="eng"))
    hub.run(
        hub.service.admit(DEVICE, profile="acme-m3", version=2, conformant_days=None, person="eng")
    )
    book = hub.service.book
    assert book.decided(DEVICE, Interface.HL7V2).profile.version == 2
    assert book.decided("urn:dev:mac:0000000000000009", Interface.HL7V2).profile.version == 1
    assert book.decided(DEVICE, Interface.FHIR).admission is None
    hub.run(hub.service.withdraw(DEVICE, Interface.HL7V2, person="eng"))
    assert book.decided(DEVICE, Interface.HL7V2).profile.version == 1
    with pytest.raises(NotFound):
        hub.run(hub.service.withdraw(DEVICE, Interface.HL7V2, person="eng"))


def test_another_hub_follows(hub: Hub, open_store: Callable[[], Store]) -> None:
    other = Hub(open_store())
    hub.admit()
    other.run(other.service.step())
    assert other.service.book.decided(DEVICE, Interface.HL7V2).profile.version == 1


def test_a_lapse_opens_one_work_item_and_cuts_no_data(hub: Hub, clock: Any) -> None:
    hub.uses.every = [association(JANE)]
    hub.admit(days=30)
    hub.run(hub.service.step())
    assert not hub.service.work_items()
    clock.advance_s(31 * 86_400)
    for _ in range(3):
        hub.run(hub.service.step())
    (item,) = hub.service.work_items()
    assert item.subject == MODEL
    with hub.store.reading() as connection:
        events = [EventReader().read(row.body) for row in connection.execute(select(outbox))]
        actions = [e.action for e in audit_log.page(connection, after=-1, entries_max=50)]
    assert [e.subject for e in events if e.topic == LAPSED] == [MODEL]
    assert actions.count("conformance-lapsed") == 1
    assert "lapsed" in str(hub.run(hub.service.status()))  # type: ignore[arg-type]
    assert not hub.held(oru())
    assert not hub.judge.refusal(DEVICE, Message.parse(oru()))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (oru(), ""),
        (oru(b"0"), ""),
        (oru(b"350"), ""),
        (oru(b"351"), "range"),
        (oru(pid=b"9^^^HOSP"), "another patient"),
        (oru(pid=b""), ""),
        (oru(at=b"20270115070000+0000"), "behind"),
        (oru(at=b"20270115"), "coarse"),
        (oru().replace(b"264864^^MDC", b"266418^^MDC"), "unit"),
        (oru().replace(b"264864^^MDC", b"mm[Hg]^^UCUM"), "unit"),
        (b"MSH|^~\\&|HIS|H|||1||ADT^A01|1|P|2.5\rPID|||9\r", ""),
        (oru().replace(b"|NM|", b"||"), ""),
    ],
)
def test_the_gate_says_what_a_chart_may_not_have(hub: Hub, body: bytes, reason: str) -> None:
    hub.uses.every = [association(JANE)]
    hub.admit()
    found = hub.held(body)
    assert reason in found
    assert bool(found) is bool(reason)


def test_nobody_confirmed_and_nobody_declared_hold_back(hub: Hub) -> None:
    assert "no confirmed association" in hub.held(oru())
    assert "no declared device" in hub.held(oru(), devices=False)


def test_the_association_at_the_time_of_the_value_counts_not_that_of_now(hub: Hub) -> None:
    other = PatientId("9", "HOSP")
    hub.uses.every = [
        association(JANE, end_ns=NOW_NS + 1),
        association(other, start_ns=NOW_NS + 1),
    ]
    assert not hub.held(oru())
    assert "another patient" in hub.held(oru(pid=b"9^^^HOSP"))
    hub.uses.every = [association(other, start_ns=NOW_NS + 1)]
    assert "no confirmed association" in hub.held(oru())


def bundle(value: float, *, producer: str = DEVICE) -> Record:
    eui64 = DEVICE.removeprefix("urn:dev:mac:")
    body = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "resource": {
                    "resourceType": "Device",
                    "identifier": [{"system": EUI64_SYSTEM, "value": eui64}],
                }
            },
            {
                "resource": {
                    "resourceType": "Observation",
                    "status": "final",
                    "effectiveDateTime": "2027-01-15T08:00:00Z",
                    "code": {
                        "coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "147842"}]
                    },
                    "valueQuantity": {
                        "value": value,
                        "system": "http://unitsofmeasure.org",
                        "code": "/min",
                    },
                }
            },
        ],
    }
    return replace_append(kind="fhir-bundle", body=json.dumps(body).encode(), producer=producer)


def replace_append(*, kind: str, body: bytes, producer: str) -> Record:
    append = Append(
        lane=Lane.VITALS,
        account=Account.FHIR if kind == "fhir-bundle" else Account.ORIGIN,
        producer=producer,
        epoch=1,
        sequence=1,
        kind=kind,
        body=body,
        received_at_ns=NOW_NS,
    )
    return Record(1, append)


@pytest.mark.parametrize("producer", [DEVICE, "urn:uuid:00000000-0000-4000-8000-000000000001"])
def test_a_bundle_is_judged_for_the_device_that_it_describes(hub: Hub, producer: str) -> None:
    fhir = PROFILE.replace(b"hl7v2", b"fhir").replace(b"acme-m3", b"acme-fhir")
    hub.run(hub.service.add_profile(fhir, person="eng"))
    hub.run(
        hub.service.admit(
            DEVICE, profile="acme-fhir", version=1, conformant_days=None, person="eng"
        )
    )
    nobody = hub.run(hub.judge.verdict(bundle(60, producer=producer)))
    assert nobody is not None
    assert "no confirmed association" in nobody.reason
    hub.uses.every = [association(JANE)]
    assert hub.run(hub.judge.verdict(bundle(60, producer=producer))) is None
    held = hub.run(hub.judge.verdict(bundle(351, producer=producer)))
    assert held is not None
    assert held.rule == "range"


def signed(value: int, *, off_s: int = 0) -> Record:
    header = BatchHeader(
        device=DeviceId(DEVICE),
        key_id=bytes(8),
        epoch=1,
        sequence=1,
        ring_first=1,
        ring_last=1,
        previous=bytes(32),
        clinical_state=ClinicalState.IN_USE,
        instant=Instant(bytes(16), 1, NOW_NS - off_s * 10**9, 10),
        interval_ms=1_000,
    )
    numeric = Numeric(
        handle=1,
        mdc_code=147_842,
        unit_code=264_864,
        value=value,
        status=MeasurementStatus.VALID,
        offset_ms=0,
    )
    body = encode_batch(header, numerics=[numeric]) + bytes(64)
    return replace_append(kind="origin-batch", body=body, producer=DEVICE)


def test_a_signed_batch_is_judged_by_the_profile_of_its_own_interface(hub: Hub) -> None:
    own = PROFILE.replace(b"hl7v2", b"adp").replace(b"acme-m3", b"acme-adp")
    hub.run(hub.service.add_profile(own, person="eng"))
    hub.run(
        hub.service.admit(MODEL, profile="acme-adp", version=1, conformant_days=None, person="eng")
    )
    assert [m.code for m in hub.service.book.metrics(DEVICE)] == [147_842]
    hub.uses.every = [association(JANE)]
    assert hub.run(hub.judge.verdict(signed(0))) is None
    for found, rule in ((signed(351), "range"), (signed(60, off_s=3_600), "clock")):
        held = hub.run(hub.judge.verdict(found))
        assert held is not None
        assert held.rule == rule
    broken = replace_append(kind="origin-batch", body=b"noise", producer=DEVICE)
    assert hub.run(hub.judge.verdict(broken)) is not None


def test_live_marks_say_why_and_never_hold_back_what_nobody_contradicts(hub: Hub) -> None:
    other = Message.parse(oru(pid=b"9^^^HOSP"))
    assert not hub.judge.message(DEVICE, other)
    hub.uses.every = [association(JANE)]
    assert "another patient" in hub.judge.message(DEVICE, other)
    assert hub.judge.names_another(DEVICE, other)
    assert not hub.judge.message(DEVICE, Message.parse(oru()))
    hub.uses.every = [association(PatientId("9", "HOSP"), start_ns=1)]
    assert not hub.judge.names_another(DEVICE, other)


def test_a_sample_says_how_devices_stand(hub: Hub) -> None:
    hub.uses.every = [association(JANE)]
    hub.admit()
    hub.run(hub.service.step())
    hub.journal.records = [record(oru(), position=1), record(oru(b"999"), position=2)]
    hub.run(hub.service.step())
    (state,) = hub.service.states()
    assert (state.device, state.profile, state.findings) == (DEVICE, "acme-m3 v1", {"range": 1})
    assert "range" in state.unverified
    hub.service.forget(DEVICE)
    assert not hub.service.states()


def test_a_profile_is_proposed_from_what_the_device_sent(hub: Hub) -> None:
    hub.journal.records = [record(oru(), position=n) for n in range(1, 6)]
    text = hub.run(hub.service.propose(device=DEVICE, name="learned", messages_max=100))
    assert "from 5 messages" in text
    assert f'models = ["{MODEL}"]' in text
    with pytest.raises(InputError):
        hub.run(hub.service.propose(device="nobody", name="learned", messages_max=100))
