"""A record without a hub: journal records made by hand, a keeper on a folder, a clock by hand."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asepsis.core.journal.ports import Append, Link, Record
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import Instant
from asepsis.core.trust.sealing import KeyEncryptionKey, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.wire import frames
from asepsis.core.wire.origin import BatchHeader, WaveformDigest, encode_batch
from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.records import queries
from asepsis.hub.records.keeper import Keeper
from asepsis.hub.records.kinds import Retention

MONITOR, PUMP = "urn:dev:mac:0250c2fffe000001", "urn:dev:mac:0250c2fffe000002"
S, MS = 1_000_000_000, 1_000_000
MINUTE, DAY = 60 * S, 86_400 * S
START = 20_000 * DAY + 11 * 3_600 * S
HEART_RATE, PER_MINUTE = 147842, 264864
SATURATION, PERCENT = 150456, 262688
ECG = frames.WaveformMetric(
    handle=101, mdc_code=131330, unit_code=266418, period_ns=4 * MS, scale=0xFD000001, offset=0
)
RETENTION = Retention(numerics_s=30 * 86_400, alarms_s=365 * 86_400, waveforms_s=3 * 86_400)


class Clock:
    """Wall time that moves when the test says so."""

    def __init__(self, now_ns: int = START) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def numeric(value: int, *, handle: int = 1, code: int = HEART_RATE, **changes: Any) -> Numeric:
    unit = PER_MINUTE if code == HEART_RATE else PERCENT
    fields = {"status": MeasurementStatus.VALID, "offset_ms": 0, **changes}
    return Numeric(handle=handle, mdc_code=code, unit_code=unit, value=value, **fields)


def frame(sequence: int, at_ns: int, samples: Sequence[int] = (1, -5, 900)) -> bytes:
    return frames.encode_frame(ECG, frame_sequence=sequence, wall_ns=at_ns, samples=samples)


def batch(
    sequence: int,
    at_ns: int,
    numerics: Sequence[Numeric],
    *,
    device: str = MONITOR,
    lane: Lane = Lane.VITALS,
    received_ns: int | None = None,
    uncertainty_ms: int = 10,
    promised: Sequence[bytes] = (),
) -> Append:
    """Return a batch as the journal keeps it; its signature is not looked at any more."""
    header = BatchHeader(
        device=DeviceId(device),
        key_id=bytes(8),
        epoch=3,
        sequence=sequence,
        ring_first=1,
        ring_last=1,
        previous=bytes(32) if sequence == 1 else b"p" * 32,
        clinical_state=ClinicalState.IN_USE,
        instant=Instant(bytes(16), at_ns % DAY, at_ns, uncertainty_ms),
        interval_ms=1_000,
    )
    digests = [
        WaveformDigest(ECG.handle, i + 1, hashlib.sha256(each).digest())
        for i, each in enumerate(promised)
    ]
    body = encode_batch(header, numerics=numerics, digests=digests) + bytes(64)
    return Append(
        lane=lane,
        account=Account.ORIGIN,
        producer=device,
        epoch=3,
        sequence=sequence,
        kind="origin-batch",
        body=body,
        received_at_ns=at_ns + 50 * MS if received_ns is None else received_ns,
        link=Link.of(body),
    )


def packet(
    sequence: int, made: Sequence[bytes], *, received_ns: int, device: str = MONITOR
) -> Append:
    body = frames.encode_packet(DeviceId(device), epoch=3, sequence=sequence, frames=made)
    return Append(
        lane=Lane.WAVEFORM,
        account=Account.WAVEFORM,
        producer=device,
        epoch=3,
        sequence=sequence,
        kind="waveform",
        body=body,
        received_at_ns=received_ns,
        link=Link.of(body),
    )


class House:
    """A keeper on a folder, fed by hand; positions count up lane by lane.

    Args:
        folder: Its own.
        kek: The key of an earlier house on the same folder, or a new one.
    """

    def __init__(self, folder: Path, *, kek: KeyEncryptionKey | None = None) -> None:
        self.folder = folder
        self.kek = kek or throw_away_kek()
        self.clock = Clock()
        self.positions: dict[Lane, int] = {}
        self.keeper = self.open()

    def open(self) -> Keeper:
        return Keeper(
            self.folder,
            cipher=DayKeys(self.folder / "keys", kek=self.kek, aead=CryptographyAead()),
            readers=make_readers(),
            retention=RETENTION,
            clock=self.clock,
        )

    def reopen(self) -> None:
        self.keeper.close()
        self.keeper = self.open()

    def take(self, *appends: Append) -> list[Record]:
        records: list[Record] = []
        for append in appends:
            position = self.positions[append.lane] = self.positions.get(append.lane, 0) + 1
            records.append(Record(position, append))
            self.clock.now_ns = max(self.clock.now_ns, append.received_at_ns)
        for record in records:
            self.keeper.take(record.append.lane, [record])
        return records

    def scope(self, **changes: Any) -> queries.Scope:
        fields = {"devices": (MONITOR,), "from_ns": 0, "to_ns": START + 9 * DAY, **changes}
        return queries.Scope(**fields)

    def find(
        self, kind: str = "numerics", *, count: int = 1_000, cursor: str = "", **changes: Any
    ) -> queries.Page:
        question = queries.Find(
            kind=kind,
            scope=self.scope(**changes),
            count=count,
            cursor=cursor,
            self_url="https://hub/fhir/Observation?x=1",
            next_url="https://hub/fhir/Observation?x=1&_cursor=",
        )
        reply = self.keeper.answer(question)
        assert isinstance(reply, queries.Page)
        return reply


def with_time(append: Append, received_ns: int) -> Append:
    return dataclasses.replace(append, received_at_ns=received_ns)
