"""Goal: a value comes out only where device, metric, unit, number and time are without doubt."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from asepsis.core.errors import InputError
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.pcd01 import DeviceNumerics, numerics_of_message
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.core.wire.message_record import (
    KIND_GROUP,
    KIND_MESSAGE,
    MessageFindings,
    MessagePeer,
    encode_group,
)

ONE, TWO = "urn:dev:mac:0123456789abcdef", "urn:dev:mac:0123456789abcdee"
HEART_RATE = b"147842^MDC_ECG_HEART_RATE^MDC"
BPM = b"264864^MDC_DIM_BEAT_PER_MIN^MDC"
ARRIVED_NS = 1_800_000_000 * 10**9
AT = b"20261103120000.250+0100"


def obx(
    *,
    kind: bytes = b"NM",
    code: bytes = HEART_RATE,
    path: bytes = b"1.7.4.147842",
    value: bytes = b"61",
    unit: bytes = BPM,
    flags: bytes = b"",
    status: bytes = b"R",
    at: bytes = AT,
    word: bytes = b"ONE",
) -> bytes:
    head = b"|".join((b"OBX", b"1", kind, code, path, value, unit, b"", flags, b"", b"", status))
    return b"|".join((head, b"", b"", at, b"", b"", b"", word)) + b"\r"


def mapped(
    *segments: bytes, zone: str = "Europe/Berlin", kind: bytes = b"ORU^R01^ORU_R01"
) -> Mapped[tuple[DeviceNumerics, ...]]:
    peer = MessagePeer("monitor", zone, ((b"ONE", ONE), (b"TWO", TWO)))
    head = b"MSH|^~\\&|MON|ICU|||20261103120000||%b|1|P|2.6\rPID|||1\r" % kind
    message = head + b"".join(segments)
    group = encode_group([(MessageFindings(peer, 60, ARRIVED_NS), message)])
    found = numerics_of_message(KIND_GROUP, group, sequence=9)
    return Mapped(tuple(found.value), found.losses)


def one(*segments: bytes, zone: str = "Europe/Berlin") -> DeviceNumerics:
    found = mapped(*segments, zone=zone)
    (numerics,) = found.value
    return numerics


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000) * 10**6


def test_a_heart_rate_is_the_devices() -> None:
    found = one(obx())
    assert found.device.uri == ONE
    assert (found.sequence, found.index) == (9, 0)
    assert found.start_ns == ns("2026-11-03T11:00:00.250")
    assert found.certainty is Certainty.OFFSET
    (numeric,) = found.numerics
    assert (numeric.mdc_code, numeric.unit_code) == (147842, 264864)
    assert float_type.to_decimal(numeric.value) == Decimal(61)
    assert numeric.status is MeasurementStatus.VALID


def test_rows_below_a_device_row_belong_to_its_device() -> None:
    found = mapped(
        b"OBR|1|||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|||20261103115959+0100\r",
        obx(kind=b"", code=b"69965^MDC_DEV_MON^MDC", path=b"1.0.0.0", value=b"", word=b"ONE"),
        obx(word=b"", at=b""),
        obx(kind=b"", code=b"69965^MDC_DEV_MON^MDC", path=b"2.0.0.0", value=b"", word=b"TWO"),
        obx(word=b"", path=b"2.7.4.147842", value=b"72", at=b""),
    )
    assert not found.losses
    assert [(n.device.uri, len(n.numerics)) for n in found.value] == [(ONE, 1), (TWO, 1)]
    assert found.value[0].start_ns == ns("2026-11-03T10:59:59")


def test_a_participation_names_the_device_of_its_row_or_order() -> None:
    part = b"PRT|1|AD||EQUIP|||||0|%b\r"
    assert one(obx(word=b""), part % b"TWO").device.uri == TWO
    assert one(b"OBR|1\r", part % b"TWO", obx(word=b"")).device.uri == TWO


@pytest.mark.parametrize(
    ("segments", "loss"),
    [
        ((obx(word=b"OTHER"),), "device: unverified"),
        ((obx(word=b""),), "device: unverified"),
        ((obx(word=b"ONE~TWO"),), "device: unverified"),
        ((obx(), b"PRT|1|AD||EQUIP|||||0|TWO\r"), "device: unverified"),
        ((obx(code=b"1^HR^LOCAL"),), "metric: no MDC code"),
        ((obx(code=b"18434^MDC_ECG_HEART_RATE^MDC"),), "metric: its MDC code is not in the tables"),
        (
            (obx(code=b"147842^MDC_PRESS_BLD_ART_SYS^MDC"),),
            "metric: number and name of its code contradict each other",
        ),
        ((obx(value=b"<60"),), "value: not a number"),
        ((obx(value=b"Infinity"),), "value: not a number"),
        ((obx(value=b""),), "value: empty, and no reason given"),
        ((obx(kind=b"ST"),), "value: type ST is no number"),
        ((obx(status=b"W"),), "status: OBX-11 says that it is no measurement"),
        ((obx(unit=b""),), "unit: neither MDC nor UCUM"),
        ((obx(unit=b"266016^MDC_DIM_MMHG^MDC"),), "unit: of the wrong dimension for its metric"),
        ((obx(unit=b"furlong^^UCUM"),), "unit: not UCUM"),
    ],
)
def test_what_is_not_said_without_doubt_is_a_loss(segments: tuple[bytes, ...], loss: str) -> None:
    found = mapped(*segments)
    assert found.value == ()
    assert found.losses == (loss,)


def test_a_unit_in_ucum_and_a_code_in_the_second_triplet() -> None:
    (numeric,) = one(obx(code=b"8867-4^Heart rate^LN^" + HEART_RATE, unit=b"/min^^UCUM")).numerics
    assert (numeric.mdc_code, numeric.unit_code) == (147842, 264864)


@pytest.mark.parametrize(
    ("flags", "status", "expected"),
    [
        (b"QUES", b"R", MeasurementStatus.QUESTIONABLE),
        (b"L~TEST", b"R", MeasurementStatus.TEST),
        (b"", b"X", MeasurementStatus.NOT_AVAILABLE),
    ],
)
def test_statuses(flags: bytes, status: bytes, expected: MeasurementStatus) -> None:
    (numeric,) = one(obx(flags=flags, status=status)).numerics
    assert numeric.status is expected


def test_a_repeated_hour_is_marked_and_both_instants_are_said() -> None:
    found = one(obx(at=b"20261025023000"))
    assert found.certainty is Certainty.AMBIGUOUS
    assert found.start_ns == ns("2026-10-25T00:30:00")
    assert found.later_by_ns == 3_600 * 10**9


@pytest.mark.parametrize("at", [b"20260329023000", b"20261103", b"yesterday"])
def test_without_a_readable_time_the_arrival_stands(at: bytes) -> None:
    found = mapped(obx(at=at))
    assert found.value[0].start_ns == ARRIVED_NS
    assert len(found.losses) == 1


def test_the_zone_of_the_sender_counts_and_an_unknown_one_has_its_offset() -> None:
    assert one(obx(at=b"20261103120000")).start_ns == ns("2026-11-03T11:00:00")
    assert one(obx(at=b"20261103120000"), zone="Mars/Olympus").start_ns == ns("2026-11-03T11:00")


def test_values_far_apart_become_intervals() -> None:
    found = mapped(obx(at=b"20261103120200+0100"), obx(at=b"20261103120000+0100"))
    assert [len(n.numerics) for n in found.value] == [1, 1]


def test_other_messages_have_no_numerics_and_raw_ones_are_unverified() -> None:
    assert mapped(obx(), kind=b"ADT^A01") == Mapped(())
    found = numerics_of_message(KIND_MESSAGE, b"MSH|^~\\&|M|I|||||ORU^R01|1|P|2.6\r" + obx())
    assert (found.value, len(found.losses)) == ((), 1)
    with pytest.raises(InputError):
        numerics_of_message("waveform", b"")


def test_an_unreadable_message_is_a_loss() -> None:
    group = encode_group([(MessageFindings(MessagePeer("p", "UTC"), 0, 0), b"nonsense")])
    assert numerics_of_message(KIND_GROUP, group) == Mapped((), ("message: not readable",))
