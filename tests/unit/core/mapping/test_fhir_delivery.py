"""What a FHIR server gets of a PCD-01 message: valid, idempotent, never in doubt."""

import json

import fhirkit
import pytest

from asepsis.core.errors import ContentMismatch, UnsupportedMedia
from asepsis.core.mapping.fhir_delivery import transaction_of
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import (
    NOTHING,
    Found,
    MessageEntry,
    MessageFindings,
    MessagePeer,
)

DEVICE = "urn:dev:mac:0000000000000003"
WORD = b"0000000000000003^^0000000000000003^EUI-64"
PEER = MessagePeer("monitor", "Europe/Berlin", ((WORD, DEVICE),))


def oru(at: str = "20261103120000.000+0100", patient: str = "4711^^^HOSP&1.2.3&ISO^MR") -> bytes:
    return (
        f"MSH|^~\\&|MON|ICU|||{at}||ORU^R01^ORU_R01|1|P|2.6\rPID|||{patient}\rOBR|1||||||{at}\r"
        f"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|60|264864^MDC_DIM_BEAT_PER_MIN^MDC"
        f"|||||R|||{at}||||{WORD.decode()}\r"
    ).encode()


def made(body: bytes, *, found: Found = NOTHING, key: str = "7.0.0") -> bytes:
    entry = MessageEntry(1, 0, body, MessageFindings(PEER, 60, 1_793_703_600 * 10**9, found))
    return transaction_of(entry, Message.parse(body), key=key)


def test_a_transaction_that_another_program_finds_valid() -> None:
    data = made(oru())
    bundle = json.loads(data)
    assert [str(issue) for issue in fhirkit.validate(bundle) if "error" in str(issue).lower()] == []
    (entry,) = bundle["entry"]
    observation = entry["resource"]
    assert observation["valueQuantity"]["value"] == 60
    assert observation["subject"]["identifier"] == {"system": "urn:oid:1.2.3", "value": "4711"}
    assert observation["device"]["identifier"]["value"] == DEVICE
    assert "reference" not in observation["device"]
    assert entry["request"] == {"method": "PUT", "url": f"Observation/{observation['id']}"}


def test_sent_twice_it_stores_nothing_twice_and_another_message_is_another() -> None:
    assert made(oru()) == made(oru())
    assert made(oru(), key="7.1.0") != made(oru())


def test_without_patient_the_device_is_the_subject() -> None:
    (entry,) = json.loads(made(oru(patient="")))["entry"]
    assert entry["resource"]["subject"]["type"] == "Device"


def test_what_is_in_doubt_is_not_sent() -> None:
    with pytest.raises(ContentMismatch, match="patient"):
        made(oru(), found=Found.OTHER_PATIENT)
    with pytest.raises(ContentMismatch, match="time"):
        made(oru(at="20261025023000"))  # The hour that clocks in Berlin repeat.
    with pytest.raises(UnsupportedMedia):
        made(oru().replace(WORD, b"unknown"))
