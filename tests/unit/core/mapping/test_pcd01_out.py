"""Goal: observations written as PCD-01 come back as the same values, times and units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.hl7_envelope import Envelope, Subject, device_word, written_time
from asepsis.core.mapping.nomenclature import METRICS_BY_CODE
from asepsis.core.mapping.pcd01 import NS_PER_MS, numerics_of_entry
from asepsis.core.mapping.pcd01_out import observations_to_message
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric, Observation
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.float_type import FloatSpecial, is_number
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry, MessageFindings, MessagePeer

DEVICE = DeviceId("urn:dev:mac:0123456789abcdef")
AT_NS = 1_800_000_000 * 10**9
ENVELOPE = Envelope(control_id="77", made_ns=AT_NS)
WORD = b"^".join(part.encode() for part in device_word(DEVICE.uri))
METRICS = sorted(code for code, one in METRICS_BY_CODE.items() if one.is_numeric and one.units)


def observation(numeric: Numeric, *, at_ns: int, device: DeviceId = DEVICE) -> Observation:
    return Observation(
        device=device,
        assurance=Assurance.DEVICE_ORIGIN,
        numeric=numeric,
        epoch=1,
        sequence=1,
        device_time_ns=at_ns,
        received_at_ns=at_ns,
        late=False,
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    code = draw(st.sampled_from(METRICS))
    mantissa = draw(st.integers(-0x7FFFFD, 0x7FFFFD))
    exponent = draw(st.integers(-4, 0))
    raw = (exponent & 0xFF) << 24 | mantissa & 0xFFFFFF
    assert is_number(raw)
    status = draw(st.sampled_from(MeasurementStatus))
    if status is not MeasurementStatus.VALID and draw(st.booleans()):
        raw = int(FloatSpecial.NAN)
    numeric = Numeric(
        handle=draw(st.integers(1, 65_535)),
        mdc_code=code,
        unit_code=METRICS_BY_CODE[code].units[0],
        value=raw,
        status=status,
        offset_ms=0,
    )
    return observation(numeric, at_ns=AT_NS + draw(st.integers(0, 60_000)) * NS_PER_MS)


@given(st.lists(observations(), min_size=1, max_size=20))
def test_what_is_written_is_read_back(given_: list[Observation]) -> None:
    written = observations_to_message(given_, ENVELOPE)
    assert not written.losses
    findings = MessageFindings(MessagePeer("ehr", "UTC", ((WORD, DEVICE.uri),)), 0, AT_NS)
    entry = MessageEntry(1, 0, written.value, findings)
    found = numerics_of_entry(entry, Message.parse(written.value))
    assert not found.losses

    def without_units(raw: int) -> bool:
        return raw == int(FloatSpecial.NAN)

    back = sorted(
        (group.start_ns + n.offset_ms * NS_PER_MS, n.mdc_code, n.value, n.status, n.unit_code)
        for group in found.value
        for n in group.numerics
    )
    told = sorted(
        (
            one.device_time_ns,
            one.numeric.mdc_code,
            one.numeric.value,
            one.numeric.status,
            262_656 if without_units(one.numeric.value) else one.numeric.unit_code,
        )
        for one in given_
    )
    assert [row[:4] for row in back] == [row[:4] for row in told]
    assert all(b[4] == t[4] for b, t in zip(back, told, strict=True) if not without_units(t[2]))


def test_a_value_that_is_none_is_written_as_none() -> None:
    numeric = Numeric(
        handle=1, mdc_code=147842, unit_code=264864, value=int(FloatSpecial.POSITIVE_INFINITY),
        status=MeasurementStatus.VALID, offset_ms=0,
    )  # fmt: skip
    written = observations_to_message([observation(numeric, at_ns=AT_NS + 1)], ENVELOPE)
    message = Message.parse(written.value)
    assert (message.get("OBX[2]-5"), message.get("OBX[2]-11")) == ("", "X")
    assert len(written.losses) == 3


def test_the_patient_stands_in_it_only_if_given() -> None:
    numeric = Numeric(
        handle=1, mdc_code=147842, unit_code=264864, value=61,
        status=MeasurementStatus.VALID, offset_ms=0,
    )  # fmt: skip
    one = observation(numeric, at_ns=AT_NS)
    nobody = Message.parse(observations_to_message([one], ENVELOPE).value)
    assert nobody.get("PID-3") == ""
    subject = Subject(patient=PatientId("4711", "MRN"))
    whole = Message.parse(observations_to_message([one], ENVELOPE, subject=subject).value)
    assert (whole.get("PID-3.1"), whole.get("PID-3.4")) == ("4711", "MRN")
    assert whole.get("OBX[2]-6.4") == "/min"
    assert whole.get("OBR-7") == written_time(AT_NS)
    assert whole.get("OBX[2]-14").endswith("+0000")


def test_two_devices_are_never_in_one_message() -> None:
    numeric = Numeric(
        handle=1, mdc_code=147842, unit_code=264864, value=61,
        status=MeasurementStatus.VALID, offset_ms=0,
    )  # fmt: skip
    other = DeviceId("urn:dev:mac:0123456789abcdee")
    with pytest.raises(InputError):
        observations_to_message(
            [observation(numeric, at_ns=0), observation(numeric, at_ns=0, device=other)], ENVELOPE
        )
    with pytest.raises(InputError):
        observations_to_message([], ENVELOPE)
