# ruff: noqa: INP001 - a program of the standard, not part of a package.
"""Write the golden byte vectors of ADP/1: `python standard/vectors/generate.py`.

Everything is fixed: keys come from the hash of a sentence, signatures from RFC 6979, times from the
text below. A test runs this program and compares, so a change of the wire format cannot go unseen.
"""

import dataclasses
import hashlib
import json
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from message_vectors import message_document
from trust_vectors import merkle_document, trust_document
from vector_keys import START_NS, Vector, private_key, signature, spki

from asepsis.core.errors import InputError
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.core.trust.origin_chain import ChainHead, key_id
from asepsis.core.wire import float_type, frames, origin

HERE: Final = Path(__file__).parent
DEVICE: Final = DeviceId.from_eui64(0x0011223344556677)
UDI_DEVICE: Final = DeviceId.from_udi("09506000134352", "SN-0042")
BOOT_ID: Final = hashlib.sha256(b"ADP/1 test vector boot id").digest()[:16]
CONDITION_ID: Final = hashlib.sha256(b"ADP/1 test vector alarm condition").digest()[:16]


ORIGIN_KEY: Final = private_key("origin")
ORIGIN_KEY_ID: Final = key_id(spki(ORIGIN_KEY))


def numeric(handle: int, mdc: int, unit: int, text: str, **other: Any) -> Numeric:
    """Return a numeric with the decimals of its text."""
    fields = {"status": MeasurementStatus.VALID, "offset_ms": 0, **other}
    value = float_type.from_decimal(Decimal(text))
    return Numeric(handle=handle, mdc_code=mdc, unit_code=unit, value=value, **fields)


NUMERICS: Final = (
    numeric(1, 147_842, 264_864, "72"),
    numeric(2, 150_456, 262_688, "97.5", offset_ms=250),
    numeric(3, 150_344, 268_192, "36.60", offset_ms=999),
    numeric(4, 150_037, 266_016, "NaN", status=MeasurementStatus.NOT_AVAILABLE),
)
ALARM: Final = AlarmEvent(
    condition_id=CONDITION_ID,
    phase=AlarmPhase.ONSET,
    kind=AlarmKind.PHYSIOLOGICAL,
    priority=AlarmPriority.HIGH,
    latching=True,
    inactivation=Inactivation.NONE,
    mdc_code=196_672,
    source_handle=2,
    offset_ms=12,
    text="SpO₂ low",
)
ECG: Final = frames.WaveformMetric(
    handle=10,
    mdc_code=131_329,
    unit_code=266_418,
    period_ns=4_000_000,
    scale=float_type.from_decimal(Decimal("0.005")),
    offset=0,
)
PRESSURE: Final = frames.WaveformMetric(
    handle=11,
    mdc_code=150_016,
    unit_code=266_016,
    period_ns=8_000_000,
    scale=float_type.from_decimal(Decimal("0.1")),
    offset=float_type.from_decimal(Decimal("-10.0")),
)
ECG_FRAME: Final = frames.encode_frame(
    ECG, frame_sequence=1, wall_ns=START_NS, samples=[0, 1, -1, 200, -32_767, 32_767, -32_768]
)
PRESSURE_FRAME: Final = frames.encode_frame(
    PRESSURE, frame_sequence=1, wall_ns=START_NS, samples=[1_300, 1_301]
)
PROMISES: Final = (
    origin.WaveformDigest(10, 1, frames.frame_digest(ECG_FRAME)),
    origin.WaveformDigest(11, 1, frames.frame_digest(PRESSURE_FRAME)),
)


def header(head: ChainHead, **change: Any) -> origin.BatchHeader:
    """Return a header that follows `head`, with some fields changed."""
    fields: dict[str, Any] = {
        "device": DEVICE,
        "key_id": ORIGIN_KEY_ID,
        "epoch": head.epoch,
        "sequence": head.sequence + 1,
        "ring_first": 1,
        "ring_last": 0,
        "previous": head.digest,
        "clinical_state": ClinicalState.IN_USE,
        "instant": Instant(BOOT_ID, head.sequence * 10**9, START_NS + head.sequence * 10**9, 20),
        "interval_ms": 1_000,
    }
    return origin.BatchHeader(**{**fields, **change})


def good_batches() -> list[Vector]:
    """Return a chain of three batches, and three that stand alone."""
    head = ChainHead.start(7)
    vectors: list[Vector] = []
    first = origin.encode_batch(header(head, ring_last=6), numerics=NUMERICS, digests=PROMISES)
    head = head.after(first)
    second = origin.encode_batch(
        header(head, ring_first=7, ring_last=7, clinical_state=ClinicalState.ALARMING,
               interval_ms=12),
        alarms=[ALARM],
    )  # fmt: skip
    head = head.after(second)
    third = origin.encode_batch(header(head, ring_first=8, ring_last=7))
    alone = origin.encode_batch(
        header(
            ChainHead.start(1),
            device=UDI_DEVICE,
            instant=Instant(BOOT_ID, 0, 0, UNSYNCHRONISED_MS),
            clinical_state=ClinicalState.STANDBY,
        )
    )
    edge = origin.encode_batch(
        header(
            ChainHead(2**63 - 1, 2**63 - 2, b"\xff" * 32),
            ring_first=2**63 - 1,
            ring_last=2**63 - 1,
            instant=Instant(b"\xff" * 16, 2**63 - 1, 2**63 - 1, 2**32 - 1),
        )
    )
    listed = origin.encode_batch(
        header(ChainHead.start(2), clinical_state=ClinicalState.ALARMING, lists_active=True),
        alarms=[dataclasses.replace(ALARM, phase=AlarmPhase.CHANGE)],
    )
    for name, explanation, part in (
        ("first", "first batch of boot epoch 7: four numerics, two waveform digests", first),
        ("alarm", "its successor, sent at once: one alarm event, text not ASCII", second),
        ("empty", "nothing was measured: an empty ring range, the lease is renewed", third),
        ("udi", "device named by UDI, clock never synchronised, standby", alone),
        ("largest-counters", "every counter at its largest value", edge),
        ("active-conditions", "flag bit 0: the one active alarm condition, no event", listed),
    ):
        vectors.append(batch_vector(name, explanation, part))
    return vectors


def batch_vector(name: str, explanation: str, part: bytes) -> Vector:
    """Return one good vector with its fields spelt out."""
    whole = origin.attach_signature(part, signature(ORIGIN_KEY, part))
    batch = origin.decode_batch(whole)
    head = batch.header
    return {
        "name": name,
        "explanation": explanation,
        "hex": whole.hex(),
        "digest": batch.digest.hex(),
        "fields": {
            "device": head.device.uri,
            "key_id": head.key_id.hex(),
            "epoch": head.epoch,
            "boot_id": head.instant.boot_id.hex(),
            "sequence": head.sequence,
            "ring_first": head.ring_first,
            "ring_last": head.ring_last,
            "previous": head.previous.hex(),
            "clinical_state": int(head.clinical_state),
            "lists_active": head.lists_active,
            "wall_ns": head.instant.wall_ns,
            "uncertainty_ms": head.instant.uncertainty_ms,
            "monotonic_ns": head.instant.monotonic_ns,
            "interval_ms": head.interval_ms,
            "numerics": [list(row) for row in batch.numeric_rows()],
            "alarms": [alarm_fields(event) for event in batch.alarms()],
            "digests": [
                [d.handle, d.frame_sequence, d.sha256.hex()] for d in batch.waveform_digests()
            ],
        },
    }


def alarm_fields(event: AlarmEvent) -> Vector:
    """Return an alarm event as JSON."""
    return {
        "condition_id": event.condition_id.hex(),
        "phase": int(event.phase),
        "kind": int(event.kind),
        "priority": int(event.priority),
        "latching": event.latching,
        "inactivation": int(event.inactivation),
        "mdc_code": event.mdc_code,
        "source_handle": event.source_handle,
        "offset_ms": event.offset_ms,
        "text": event.text,
    }


# (name, what is wrong, offset from the end of the device name, bytes put there)
FIRST_PATCHES: Final = (
    ("epoch-0", "boot epochs start at 1", 8, bytes(8)),
    ("epoch-64-bits", "counters have 63 bits", 8, b"\x80"),
    ("sequence-0", "batches are numbered from 1", 32, bytes(8)),
    ("second-without-previous", "only the first batch has no previous hash", 39, b"\2"),
    ("ring-from-0", "ring sequences start at 1", 40, bytes(8)),
    ("first-with-previous", "the first batch of an epoch has no previous hash", 87, b"\1"),
    ("clinical-state-0", "unknown clinical state", 88, b"\0"),
    ("clinical-state-7", "unknown clinical state", 88, b"\7"),
    ("flags", "reserved flags are zero", 89, b"\x80"),
    ("wall-64-bits", "times have 63 bits", 90, b"\xff"),
    ("interval", "a batch covers at most one second", 110, (1_001).to_bytes(2, "big")),
    ("numerics-too-many", "more numerics announced than there are bytes", 112, b"\0\xff"),
    ("numerics-over-limit", "513 numerics", 112, (513).to_bytes(2, "big")),
    ("alarm-missing", "an alarm event is announced and not there", 115, b"\1"),
    ("digest-left-over", "bytes that no count announces", 117, b"\1"),
    ("numeric-handle-0", "handles start at 1", 118, b"\0\0"),
    ("numeric-reserved-float", "reserved FLOAT-Type 0x00800001", 128, bytes.fromhex("00800001")),
    ("numeric-status", "unknown measurement status", 132, b"\6"),
    ("numeric-reserved", "reserved byte of a numeric is zero", 133, b"\1"),
    ("numeric-pad", "padding of a numeric is zero", 137, b"\1"),
    ("digest-handle-0", "handles start at 1", 198, b"\0\0"),
    ("digest-frame-0", "frames are numbered from 1", 200, bytes(8)),
    ("digest-twice", "two digests for one frame", 241, b"\x0a"),
)
ALARM_PATCHES: Final = (
    ("alarm-short", "alarm event shorter than its fixed part", 118, b"\0\x1d"),
    ("alarm-long", "alarm event longer than its batch", 118, b"\0\xff"),
    ("alarm-phase", "unknown phase", 136, b"\4"),
    ("alarm-kind", "unknown kind", 137, b"\0"),
    ("alarm-priority", "unknown priority", 138, b"\4"),
    ("alarm-latching", "latching is 0 or 1", 139, b"\2"),
    ("alarm-inactivation", "unknown inactivation state", 140, b"\6"),
    ("alarm-reserved", "reserved byte of an alarm event is zero", 141, b"\1"),
    ("alarm-utf8", "text is UTF-8", 150, b"\xff"),
    ("alarm-control", "text has no control characters", 150, b"\x1b"),
    ("listed-onset", "a list of active alarm conditions holds no onset", 89, b"\1"),
)


def bad_batches(good: list[Vector]) -> list[Vector]:
    """Return batches to refuse; but for the last ones their signatures are right."""
    parts = [bytes.fromhex(vector["hex"])[: -origin.SIGNATURE_BYTES] for vector in good]
    vectors = [
        refused(name, explanation, resigned(patched(part, 5 + part[4] + at, value)))
        for part, patches in ((parts[0], FIRST_PATCHES), (parts[1], ALARM_PATCHES))
        for name, explanation, at, value in patches
    ]
    first = parts[0]
    for name, explanation, part in (
        ("magic", "unknown magic", patched(first, 0, b"AOB2")),
        ("name-empty", "no device name", first[:4] + b"\0" + first[5 + first[4] :]),
        ("name-upper-case", "device name not in canonical form", patched(first, 5, b"URN")),
        ("trailing", "a byte too many", first + b"\0"),
        ("cut", "a byte too few", first[:-1]),
    ):
        vectors.append(refused(name, explanation, resigned(part)))
    whole = bytes.fromhex(good[0]["hex"])
    other = signature(private_key("another device"), first)
    for name, explanation, raw in (
        ("signature-flipped", "one bit of s is wrong", patched(whole, len(whole) - 1,
                                                              bytes([whole[-1] ^ 1]))),
        ("signature-zero", "r and s are zero", first + bytes(64)),
        ("signature-other-key", "signed with another key", first + other),
        ("content-flipped", "one displayed digit was changed on the way",
         patched(whole, 5 + whole[4] + 131, b"\x73")),
        ("key-id", "names another key",
         resigned(patched(first, 5 + first[4], bytes(8)))),
    ):  # fmt: skip
        vectors.append(
            {"name": name, "explanation": explanation, "hex": raw.hex(), "well_formed": True}
        )
    return vectors


def patched(data: bytes, at: int, value: bytes) -> bytes:
    """Return `data` with some bytes replaced."""
    return data[:at] + value + data[at + len(value) :]


def resigned(part: bytes) -> bytes:
    """Return a batch whose signature is right, whatever its content."""
    return part + signature(ORIGIN_KEY, part)


def refused(name: str, explanation: str, raw: bytes) -> Vector:
    """Return a vector of bytes that do not decode."""
    return {"name": name, "explanation": explanation, "hex": raw.hex(), "well_formed": False}


def origin_document() -> Vector:
    """Return the vectors of frames.md section 3."""
    good = good_batches()
    return {
        "source": "frames.md section 3",
        "key": {
            "explanation": "d = SHA-256 of the sentence, modulo the order of P-256; never use it",
            "sentence": "ADP/1 test vector key: origin",
            "spki": spki(ORIGIN_KEY).hex(),
            "key_id": ORIGIN_KEY_ID.hex(),
        },
        "good": good,
        "bad": bad_batches(good),
    }


FRAME_PATCHES: Final = (
    ("frame-handle-0", "handles start at 1", 0, b"\0\0"),
    ("frame-sequence-0", "frames are numbered from 1", 2, bytes(8)),
    ("frame-period-0", "a period is at least 1 ns", 26, bytes(4)),
    ("frame-scale-0", "a scale of zero carries no value", 30, bytes(4)),
    ("frame-scale-nan", "a scale is a number", 30, bytes.fromhex("007fffff")),
    ("frame-offset-infinite", "an offset is a number", 34, bytes.fromhex("007ffffe")),
    ("frame-count", "number of samples and length disagree", 38, b"\0\6"),
)


def crc_refitted(frame: bytes, at: int, value: bytes) -> bytes:
    """Return a frame with some bytes replaced and its CRC right again."""
    body = patched(frame[:-4], at, value)
    return body + zlib.crc32(body).to_bytes(4, "big")


def packet_of(*raw_frames: bytes) -> bytes:
    """Return a packet around frames, good or bad."""
    return frames.encode_packet(DEVICE, epoch=7, sequence=1, frames=raw_frames)


def waveform_document() -> Vector:
    """Return the vectors of frames.md section 4."""
    packet = packet_of(ECG_FRAME, PRESSURE_FRAME)
    bad = [
        refused(name, explanation, packet_of(crc_refitted(ECG_FRAME, at, value)))
        for name, explanation, at, value in FRAME_PATCHES
    ]
    for name, explanation, raw in (
        ("crc", "one sample was changed on the way", patched(packet, len(packet) - 6, b"\0\0")),
        ("cut", "a byte too few", packet[:-1]),
        ("trailing", "a byte too many", packet + b"\0"),
        ("no-frame", "a packet has at least one frame",
         packet[: 5 + packet[4] + 16] + bytes(2)),
    ):  # fmt: skip
        bad.append(refused(name, explanation, raw))
    decoded = frames.decode_packet(packet)
    good = {
        "name": "two-frames",
        "explanation": "the frames that batch `first` of origin-batches.json promises",
        "hex": packet.hex(),
        "fields": {
            "device": DEVICE.uri,
            "epoch": decoded.epoch,
            "sequence": decoded.sequence,
            "frames": [
                {
                    "handle": frame.handle,
                    "frame_sequence": frame.frame_sequence,
                    "mdc_code": frame.metric.mdc_code,
                    "unit_code": frame.metric.unit_code,
                    "wall_ns": frame.wall_ns,
                    "period_ns": frame.metric.period_ns,
                    "scale": frame.metric.scale,
                    "offset": frame.metric.offset,
                    "samples": frame.samples().tolist(),
                    "digest": frame.digest.hex(),
                }
                for frame in decoded.frames
            ],
        },
    }
    return {"source": "frames.md section 4", "good": [good], "bad": bad}


def float_document() -> Vector:
    """Return the vectors of frames.md section 2."""
    numbers = (
        "0", "0.0", "97", "36.4", "36.60", "-1", "1.0", "1.2E+3", "8388605", "-8388605",
        "8388605E+127", "1E-128", "0.005", "-10.0",
    )  # fmt: skip
    good: list[Vector] = [
        {"hex": f"{float_type.from_decimal(Decimal(text)):08x}", "value": text} for text in numbers
    ]
    good += [{"hex": f"{int(s):08x}", "value": s.name} for s in float_type.FloatSpecial]
    bad = [
        {"hex": "00800001", "explanation": "reserved for future use"},
        {"hex": "017fffff", "explanation": "special mantissa with an exponent"},
        {"hex": "ff800000", "explanation": "special mantissa with an exponent"},
    ]
    too_large = ["8388606", "1.2345678", "1E-129", "1E+134"]
    for text in too_large:
        try:
            float_type.from_decimal(Decimal(text))
        except InputError:
            continue
        raise AssertionError(text)
    return {"source": "frames.md section 2", "good": good, "bad": bad, "does_not_fit": too_large}


def flat_text(batches: Vector, packets: Vector) -> str:
    """Return the vectors one a line, for programs that do not read JSON."""
    lines = [
        "# kind verdict name hex; made by generate.py, see README.md",
        f"key use origin {batches['key']['spki']}",
    ]
    for kind, document in (("batch", batches), ("packet", packets)):
        lines += [f"{kind} accept {v['name']} {v['hex']}" for v in document["good"]]
        lines += [f"{kind} refuse {v['name']} {v['hex']}" for v in document["bad"]]
    return "\n".join(lines) + "\n"


def files() -> dict[str, str]:
    """Return every file of this folder that is made by this program."""
    batches, packets = origin_document(), waveform_document()
    documents = {
        "origin-batches.json": batches,
        "waveform-packets.json": packets,
        "float-type.json": float_document(),
        "trust.json": trust_document(),
        "merkle.json": merkle_document(),
        "message-batches.json": message_document(),
    }
    texts = {
        name: json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for name, document in documents.items()
    }
    return {**texts, "vectors.txt": flat_text(batches, packets)}


if __name__ == "__main__":
    for file_name, text in files().items():
        (HERE / file_name).write_text(text, encoding="utf-8")
