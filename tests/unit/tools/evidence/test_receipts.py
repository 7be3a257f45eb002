"""What devices measured stands in the pack as they signed it, in the file and on paper."""

import base64
from typing import Any

from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult, UpdateReport
from asepsis.core.trust import libcrypto
from asepsis.core.trust.origin_chain import key_id
from asepsis.core.wire.update_report import encode
from asepsis.hub.audit.rules import Entry, encode_detail, leaf
from asepsis.tools.evidence import printing
from asepsis.tools.evidence.verify_evidence import PACK_FORMAT, REPORT, Pack, check_receipts

KEY = libcrypto.generate_key()
DEVICE = "urn:dev:mac:0011223344556677"


def pack(receipt: bytes) -> dict[str, Any]:
    entry = Entry(
        index=0,
        at_ns=1,
        actor=f"device:{DEVICE}",
        action=REPORT,
        subject=DEVICE,
        outcome="done",
        detail=encode_detail({"receipt": base64.b64encode(receipt).decode()}).decode(),
        salt="00" * 16,
    )
    return {
        "format": PACK_FORMAT,
        "hospital": "",
        "about": ["x"],
        "size": 1,
        "made_at_ns": 1,
        "leaves": base64.b64encode(leaf(entry)).decode(),
        "cosignatures": [],
        "entries": [{name: getattr(entry, name) for name in Entry.__struct_fields__}],
        "documents": [],
        "witnesses": [],
    }


def report() -> bytes:
    said = UpdateReport(
        device=DeviceId.parse(DEVICE),
        epoch=1,
        sequence=1,
        at=Instant(bytes(16), 0, 1, 1),
        release="ab" * 32,
        component="vitals",
        counter=3,
        outcome=Outcome.VERIFIED,
        tests=(TestResult(name="spo2", measured=98.0, low=97.0, high=99.0, unit="%"),),
    )
    signed = encode(said, key_id=key_id(KEY.spki_der))
    return signed + KEY.sign(signed)


def test_a_report_is_the_devices_own() -> None:
    trust = {"devices": [{"name": DEVICE, "key": KEY.spki_der.hex()}]}
    good = report()
    assert list(check_receipts(Pack(pack(good)), trust)) == []
    forged = good[:-1] + bytes([good[-1] ^ 1])
    [(index, what)] = check_receipts(Pack(pack(forged)), trust)
    assert (index, what) == (0, f"the report is not signed by {DEVICE}")
    assert list(check_receipts(Pack(pack(forged)), {})) == []  # Nobody named the key.


def test_what_was_measured_is_printed() -> None:
    assert printing.to_pdf(pack(report())).startswith(b"%PDF-")
    assert printing.to_pdf(pack(b"nonsense")).startswith(b"%PDF-")
