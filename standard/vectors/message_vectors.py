# ruff: noqa: INP001 - a program of the standard, not part of a package.
"""Vectors of groups and batches of HL7 v2 messages (frames.md section 10), for `generate.py`."""

from typing import Final

from vector_keys import START_NS, Vector

from asepsis.core.wire.message_record import (
    AGE_UNKNOWN_MS,
    BatchGroup,
    Found,
    MessageFindings,
    MessagePeer,
    encode_batch,
    encode_group,
)

DEVICE: Final = "urn:dev:mac:0011223344556677"
WORD: Final = b"0011223344556677^^0011223344556677^EUI-64"
MONITOR: Final = MessagePeer("monitor-12", "Europe/Berlin", ((WORD, DEVICE),))
ADMISSIONS: Final = MessagePeer("adt", "UTC")
REPORT: Final = b"MSH|^~\\&|MON|ICU|||20261025023000||ORU^R01|1|P|2.6\rOBX|1|NM\r"
ADMISSION: Final = b"MSH|^~\\&|HIS|H|||20261025003000+0000||ADT^A01|1|P|2.5\rPID|1\r"
MESSAGES: Final = (
    (
        MessageFindings(MONITOR, 60, START_NS, Found.AMBIGUOUS_TIME | Found.CLEARTEXT),
        REPORT,
    ),
    (MessageFindings(ADMISSIONS, 0, START_NS + 1_000_000), ADMISSION),
    (MessageFindings(MONITOR, 60, START_NS + 2_000_000, Found.ID_REUSED), REPORT[:-1]),
)


def message_document() -> Vector:
    """Return what is accepted, spelt out, and what is refused."""
    group, empty = encode_group(MESSAGES), encode_group(())
    batch = encode_batch((BatchGroup(7, 12, group), BatchGroup(8, AGE_UNKNOWN_MS, group)))
    at = group.index(REPORT) - 16
    return {
        "source": "frames.md section 10",
        "good": {
            "group": group.hex(),
            "messages": [
                {
                    "peer": findings.peer.name,
                    "zone": findings.peer.zone,
                    "devices": [[w.decode(), device] for w, device in findings.peer.devices],
                    "offset_min": findings.offset_min,
                    "arrived_at_ns": findings.arrived_at_ns,
                    "found": int(findings.found),
                    "message": body.decode(),
                }
                for findings, body in MESSAGES
            ],
            "empty_group": empty.hex(),
            "batch": batch.hex(),
            "groups": [{"sequence": 7, "age_ms": 12}, {"sequence": 8, "age_ms": AGE_UNKNOWN_MS}],
        },
        "bad_groups": [
            _bad("another magic", b"AMG2" + group[4:]),
            _bad("cut short", group[:-1]),
            _bad("a byte too many", group + b"\0"),
            _bad("a peer that is not listed", _patched(group, at, b"\x02")),
            _bad("a finding that is not defined", _patched(group, at + 1, b"\x40")),
            _bad("an offset of more than a day", _patched(group, at + 2, b"\x7f\xff")),
            _bad("a time of arrival over 2^63 - 1", _patched(group, at + 4, b"\xff")),
            _bad("an empty message", _patched(group, at + 12, bytes(4))),
            _bad("a zone that is none", group.replace(b"Europe/Berlin", b"Europe Berlin")),
            _bad("a device that is none", group.replace(DEVICE.encode(), b"x" * len(DEVICE))),
        ],
        "bad_batches": [
            _bad("no group", batch[:4]),
            _bad("cut short", batch[:-1]),
            _bad("sequences that do not ascend", _patched(batch, 4, (8).to_bytes(8, "big"))),
            _bad("sequence 0", _patched(batch, 4, bytes(8))),
        ],
    }


def _bad(explanation: str, raw: bytes) -> Vector:
    return {"explanation": explanation, "hex": raw.hex()}


def _patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]
