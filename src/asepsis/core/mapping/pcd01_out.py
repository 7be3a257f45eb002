"""Observations as IHE PCD-01 (ORU^R01), losses counted. Pure; `pcd01` reads them back.

Source: IHE PCD TF-2 revision 10.0 section 3.1 (PCD-01) and appendix B (OBR, OBX, containment).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.mapping.hl7_envelope import (
    NOBODY,
    OWN_NAMESPACE,
    Envelope,
    MessageWriter,
    Subject,
    device_word,
    mdc_triplet,
    time_is_cut,
    written_time,
)
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.nomenclature import UNITS_BY_CODE
from asepsis.core.model.observation import MeasurementStatus, Observation
from asepsis.core.wire.float_type import FloatSpecial, to_decimal
from asepsis.core.wire.hl7_build import Component, Writer
from asepsis.core.wire.hl7_parts import STANDARD

OBSERVATIONS_MAX: Final = 2_000
"""Observations of one message."""
PROFILE: Final = ("IHE_PCD_001", "IHE PCD", "1.3.6.1.4.1.19376.1.6.1.1.1", "ISO")
_MDS: Final = ("69965", "MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS", "MDC")
_FLAGS: Final = {
    MeasurementStatus.INVALID: "INV",
    MeasurementStatus.QUESTIONABLE: "QUES",
    MeasurementStatus.NOT_AVAILABLE: "NAV",
    MeasurementStatus.CALIBRATING: "CALI",
    MeasurementStatus.TEST: "TEST",
}
ROWS_MAX: Final = 20_000
"""Rows of metrics that are kept in memory, in the words of a message."""


def observations_to_message(
    observations: Sequence[Observation], envelope: Envelope, *, subject: Subject = NOBODY
) -> Mapped[bytes]:
    """Write the observations of one device as one message.

    Args:
        observations: Of one device, in any order; they are written in order of time.
        envelope: Sender, receiver and name of the message.
        subject: The patient that the device was confirmed for when all of them were measured.

    Returns:
        The message. A handle comes back as another number, the same for the same metric.

    Raises:
        InputError: None, or of two devices.
        LimitExceeded: More than `OBSERVATIONS_MAX`.
    """
    devices = {one.device.uri for one in observations}
    if len(devices) != 1:
        raise InputError("a message is of one device")
    if len(observations) > OBSERVATIONS_MAX:
        raise LimitExceeded(f"a message has at most {OBSERVATIONS_MAX} observations")
    ordered = sorted(observations, key=lambda one: one.device_time_ns)
    word = device_word(devices.pop())
    losses: list[str] = []
    writer = MessageWriter(envelope, kind=("ORU", "R01", "ORU_R01"), profile=PROFILE)
    writer.about(subject)
    first, last = (written_time(ordered[end].device_time_ns) for end in (0, -1))
    name = (envelope.control_id, OWN_NAMESPACE)
    writer.add("OBR", {1: "1", 2: name, 3: name, 4: _MDS, 7: first, 8: last})
    writer.add("OBX", {1: "1", 3: _MDS, 4: "1.0.0.0", 11: "X", 18: word})
    for number, one in enumerate(ordered, 2):
        writer.add_written(_row(one, number, word, losses))
    return Mapped(writer.whole(), tuple(losses))


def _row(one: Observation, number: int, word: tuple[str, ...], losses: list[str]) -> bytes:
    numeric = one.numeric
    if time_is_cut(one.device_time_ns):
        losses.append("time: finer than a tenth of a millisecond")
    value, status = _value(one, losses)
    if numeric.unit_code not in UNITS_BY_CODE:
        losses.append("unit: its MDC code is not in the tables")
    fields = list(
        _constant(numeric.mdc_code, numeric.handle, numeric.unit_code, numeric.status, status, word)
    )
    # Digits, sign and point: nothing of them is a delimiter.
    fields[1], fields[5] = b"%d" % number, value.encode("ascii")
    fields[14] = written_time(one.device_time_ns).encode("ascii")
    return STANDARD.field.join(fields)


@lru_cache(maxsize=ROWS_MAX)
def _constant(
    mdc_code: int,
    handle: int,
    unit_code: int,
    quality: MeasurementStatus,
    status: str,
    word: tuple[str, ...],
) -> tuple[bytes, ...]:
    """Return the fields of a row of a metric, which comes each second, without those that change.

    The last one, the device, is never empty, so all nineteen are there.
    """
    row = {
        2: "NM",
        3: mdc_triplet(mdc_code),
        4: f"1.0.0.{handle}",
        6: _unit(unit_code),
        8: _FLAGS.get(quality, ""),
        11: status,
        18: word,
    }
    return tuple(Writer().segment("OBX", row).split(STANDARD.field))


def _value(one: Observation, losses: list[str]) -> tuple[str, str]:
    """Return OBX-5 and OBX-11: what has no number says why, and is never written as one."""
    number = to_decimal(one.numeric.value)
    if not isinstance(number, FloatSpecial):
        return format(number, "f"), "R"
    if number is not FloatSpecial.NAN:
        losses.append(f"value: {number.name} is written as no value")
    if one.numeric.status is MeasurementStatus.VALID:
        losses.append("status: a value that is none cannot be valid")
        return "", "X"
    return "", "R"


def _unit(code: int) -> tuple[Component, ...]:
    known = UNITS_BY_CODE.get(code)
    return (*mdc_triplet(code), known.ucum, known.ucum, "UCUM") if known else mdc_triplet(code)
