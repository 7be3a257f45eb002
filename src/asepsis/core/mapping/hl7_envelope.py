"""What every HL7 v2 message that we write ourselves begins with, and how it names things. Pure.

Source: HL7 v2.6 chapters 2.15 (MSH), 3.4.2 (PID), 3.4.3 (PV1); IHE PCD TF-2 appendix B.
"""

from dataclasses import dataclass
from typing import Final

from asepsis.core.mapping import nomenclature
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.wire.hl7_build import Component, Writer, join_segments
from asepsis.core.wire.hl7_time import DIGITS_MAX, written_dtm

MDC: Final = "MDC"
OWN_NAMESPACE: Final = "ASEPSIS"
"""EI.2 of the identifiers that we give ourselves."""
_EUI64_PREFIX: Final = "urn:dev:mac:"
_UDI_PREFIX: Final = "https://id.gs1.org/01/"
_UDI_ROOT: Final = "2.16.840.1.113883.3.3719"
_TENTH_MS_NS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Sender, receiver and name of one message.

    Attributes:
        control_id: MSH-10, 1 to 199 characters, unique among ours.
        made_ns: When it is written, nanoseconds since 1970.
        sender: MSH-3 and MSH-4, application and facility.
        receiver: MSH-5 and MSH-6.
        processing: MSH-11: P, T or D.
    """

    control_id: str
    made_ns: int
    sender: tuple[str, str] = ("ASEPSIS", "")
    receiver: tuple[str, str] = ("", "")
    processing: str = "P"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a message is about; only what a person or a device confirmed may stand here.

    Attributes:
        patient: The patient that the device is confirmed for; None writes an empty PID-3.
        place: Where; None leaves PV1 out.
    """

    patient: PatientId | None = None
    place: Place | None = None


NOBODY: Final = Subject()


class MessageWriter:
    """Collects the segments of one message.

    Args:
        envelope: Its sender, receiver and name.
        kind: MSH-9.
        profile: MSH-21.

    Source: HL7 v2.6 section 2.15.9.
    """

    def __init__(
        self, envelope: Envelope, *, kind: tuple[str, str, str], profile: tuple[str, str, str, str]
    ) -> None:
        self._writer = Writer()
        head = {
            3: envelope.sender[0],
            4: envelope.sender[1],
            5: envelope.receiver[0],
            6: envelope.receiver[1],
            7: written_time(envelope.made_ns),
            9: kind,
            10: envelope.control_id,
            11: envelope.processing,
            12: "2.6",
            15: "AL",
            16: "NE",
            18: "UNICODE UTF-8",
            21: profile,
        }
        self._segments = [self._writer.segment("MSH", head)]

    def add(self, name: str, fields: dict[int, "str | tuple[Component, ...]"]) -> None:
        """Add a segment.

        Raises:
            InputError: Text that cannot be written.
        """
        self._segments.append(self._writer.segment(name, fields))

    def add_written(self, segment: bytes) -> None:
        """Add a segment that is written already, without its carriage return."""
        self._segments.append(segment)

    def about(self, subject: Subject) -> None:
        """Add PID, and PV1 where the place is known."""
        patient, place = subject.patient, subject.place
        self.add("PID", {3: (patient.value, "", "", patient.authority) if patient else ""})
        if place is not None:
            where = (place.point_of_care, place.room, place.bed, place.facility)
            self.add("PV1", {2: "I", 3: where})

    def whole(self) -> bytes:
        """Return the message.

        Raises:
            LimitExceeded: It is longer than a message may be.
        """
        return join_segments(self._segments)


def written_time(at_ns: int) -> str:
    """Write a time in UTC with offset, to a tenth of a millisecond; finer parts are cut.

    Args:
        at_ns: Nanoseconds since 1970, up to the year 9999.

    Raises:
        InputError: Not a time of these years.

    Source: HL7 v2.8.2 chapter 2A.2.22 (DTM).
    """
    return written_dtm(at_ns, digits=DIGITS_MAX)


def time_is_cut(at_ns: int) -> bool:
    """Tell whether `written_time` leaves something of a time out."""
    return bool(at_ns % _TENTH_MS_NS)


def device_word(device: str) -> tuple[str, ...]:
    """Return a device as OBX-18 and PRT-10 name it.

    Args:
        device: Its name.

    Raises:
        InputError: Not a device name.

    Source: IHE PCD TF-2 appendix B.10 (EUI-64, or UDI in its human readable form).
    """
    uri = DeviceId.parse(device).uri
    if uri.startswith(_EUI64_PREFIX):
        eui64 = uri.removeprefix(_EUI64_PREFIX).upper()
        return (eui64, "", eui64, "EUI-64")
    gtin, _, serial = uri.removeprefix(_UDI_PREFIX).partition("/21/")
    return (f"(01){gtin}(21){serial}", "", _UDI_ROOT, "ISO")


def mdc_triplet(code: int) -> tuple[str, str, str]:
    """Return a code of MDC with its name, which is empty where the tables have none."""
    name = nomenclature.name_of(code)
    return (str(code), "" if name.startswith("MDC:") else name, MDC)
