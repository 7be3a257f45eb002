"""Prepares what reads need, while the hub does not run: people, associations, a day of a record."""

import time
import uuid
from collections.abc import Iterable, Sequence

from asepsis.core.journal.ports import Append, Link, Record
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.patient import PatientId
from asepsis.core.model.time import Instant
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.wire.origin import BatchHeader, encode_batch
from asepsis.hub.access.principal import Role
from asepsis.hub.access.service import PeopleService
from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.app.records_rebuild import retention_of
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.records.keeper import Keeper
from asepsis.hub.records.process import FOLDER, KEYS
from asepsis.hub.registry.associations.records import Rows, Touched
from asepsis.hub.registry.associations.scene import KnownPatient
from asepsis.hub.settings import read_settings
from asepsis.hub.store.store import Store
from hospital import Hospital

HEART_RATE = 2 << 16 | 0x4182
BEATS_PER_MINUTE = 4 << 16 | 0x0AA0


def _store(hospital: Hospital) -> Store:
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    return open_store(settings, kek, clock=time.time_ns)


def give_token(hospital: Hospital, role: Role) -> str:
    """Add a person with a role and return a token."""
    store = _store(hospital)
    people = PeopleService(store, AuditLog(time.time_ns))
    people.add_person(f"test {role.value}", [role], actor="test")
    token = people.issue_token(f"test {role.value}", actor="test")
    store.close()
    return token


def chart(hospital: Hospital, intervals: Iterable[tuple[str, PatientId, int, int | None]]) -> None:
    """Confirm associations: device, patient, first moment, first moment after or None."""
    store = _store(hospital)
    rows = Rows(store.sealer)
    with store.unit_of_work() as connection:
        for device, patient, start_ns, end_ns in intervals:
            touched = Touched(patients=[patient], devices=[device])
            loaded = rows.load(
                connection, touched, now_ns=time.time_ns(), fresh_id=lambda: str(uuid.uuid4())
            )
            loaded.scene.patients[patient] = KnownPatient(id=patient, name="TEST^PATIENT")
            made = Association(
                id=str(uuid.uuid4()),
                device=device,
                patient=patient,
                place=None,
                state=AssociationState.ENDED if end_ns else AssociationState.CONFIRMED,
                basis=Basis.PERSON,
                start_ns=start_ns,
                end_ns=end_ns,
                proposed_by="person:test",
                confirmed_by="person:test",
                end_reason="person: moved" if end_ns else None,
            )
            loaded.scene.associations[made.id] = made
            rows.save(connection, loaded)
    store.close()


def batch(device: str, sequence: int, at_ns: int, values: Sequence[int]) -> Append:
    """Return a batch as the journal keeps it; nobody verifies it a second time."""
    header = BatchHeader(
        device=DeviceId(device),
        key_id=bytes(8),
        epoch=1,
        sequence=sequence,
        ring_first=1,
        ring_last=1,
        previous=bytes(32) if sequence == 1 else b"p" * 32,
        clinical_state=ClinicalState.IN_USE,
        instant=Instant(bytes(16), at_ns % 10**15, at_ns, 10),
        interval_ms=1_000,
    )
    numerics = [
        Numeric(
            handle=index + 1,
            mdc_code=HEART_RATE + index,
            unit_code=BEATS_PER_MINUTE,
            value=value,
            status=MeasurementStatus.VALID,
            offset_ms=0,
        )
        for index, value in enumerate(values)
    ]
    body = encode_batch(header, numerics=numerics) + bytes(64)
    return Append(
        lane=Lane.VITALS,
        account=Account.ORIGIN,
        producer=device,
        epoch=1,
        sequence=sequence,
        kind="origin-batch",
        body=body,
        received_at_ns=at_ns + 40_000_000,
        link=Link.of(body),
    )


def fill_record(hospital: Hospital, appends: Iterable[Append]) -> None:
    """Put records into the record that the journal never held, as after their expiry there."""
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    folder = hospital.data / "hub" / FOLDER
    now_ns = [0]
    keeper = Keeper(
        folder,
        cipher=DayKeys(folder / KEYS, kek=kek, aead=CryptographyAead()),
        readers=make_readers(),
        retention=retention_of(settings),
        clock=lambda: now_ns[0],
    )
    for number, append in enumerate(appends):
        now_ns[0] = append.received_at_ns
        # No position: the journal starts at 1, and what is put here comes before it.
        keeper.take(append.lane, [Record(0, append)])
        if number % 600 == 0:
            keeper.flush()
    keeper.flush(everything=True)
    keeper.close()
