"""What the record needs from outside, and what it gives; `hub/app/records.py` joins the two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from asepsis.core.compliance.profile import Metric
from asepsis.core.journal.ports import Record
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.association import Association
from asepsis.core.model.identity import Assurance
from asepsis.core.model.observation import Numeric
from asepsis.core.model.patient import PatientId


class Reach(StrEnum):
    """How much of the record a consumer may read; an operator says so for each by name."""

    NONE = "none"
    DEVICES = "devices"
    PATIENTS = "patients"


class TrendPoint(NamedTuple):
    """One point of a trend.

    Attributes:
        t_ns: When it was measured, nanoseconds since 1970.
        value: The number as measured; None where the metric has no good value.
    """

    t_ns: int
    value: float | None


class Trends(Protocol):
    """The record as pages read it."""

    async def trend(
        self,
        device: str,
        *,
        from_ns: int,
        to_ns: int,
        points_max: int,
        mdc_code: int | None = None,
        handle: int | None = None,
    ) -> Sequence[TrendPoint]:
        """Return one metric of a device over time, ascending, thinned to `points_max` points.

        Points are measured values, never averages: of each stretch the lowest and the highest are
        kept, so that no short fall of a value is hidden. The caller authorises and audits.

        Args:
            device: Name of the device.
            from_ns: First moment, nanoseconds since 1970.
            to_ns: First moment that is no longer wanted.
            points_max: 2 to 10 000.
            mdc_code: Which metric, by its MDC code; of several with one code, the lowest handle.
            handle: Which metric, by its handle; stands above `mdc_code`.

        Raises:
            InputError: Neither or an unknown metric, or a parameter outside its range.
            Unavailable: The record is not served now.
        """
        ...


class Histories(Protocol):
    """Associations as the record asks for them, at every read."""

    async def history(
        self,
        *,
        device: str | None = None,
        patient: PatientId | None = None,
        from_ns: int,
        to_ns: int,
    ) -> Sequence[Association]:
        """Return the confirmed associations of a device or patient that touch [from, to)."""
        ...


class Audit(Protocol):
    """The one audit log as reads use it."""

    async def read(self, *, actor: str, subject: str, detail: Mapping[str, object]) -> None:
        """Write that somebody read; `detail` may name patients and holds no value.

        Raises:
            TransientError: It could not be written, so nothing may be shown.
        """
        ...


class Declared(Protocol):
    """What devices declare that they measure, in memory."""

    def metrics(self, device: str) -> Sequence[Metric]:
        """Return what the profile of a device declares; nothing where none was decided."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDevice:
    """A machine of the registry.

    Attributes:
        name: SAN URI.
        model: What a person listed it as.
        signs: Whether it has an origin key, or must have one.
        active: Whether it is enrolled and not revoked.
    """

    name: str
    model: str
    signs: bool
    active: bool = True


class Devices(Protocol):
    """The registry as the record reads it."""

    def known(self) -> Sequence[KnownDevice]:
        """Return every device that may have a record and is enrolled now, by name."""
        ...

    def named(self, name: str) -> KnownDevice | None:
        """Return the device of a name; None if it is not enrolled now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Numerics of one device and moment, out of a bundle or message.

    Attributes:
        device: Name of the device.
        assurance: How far its origin is proven.
        start_ns: What the numerics' offsets count from, nanoseconds since 1970.
        numerics: The values.
        beside_batch: Whether it only repeats what a signed batch says.
        later_by_ns: How much later it may have been, where the sender's clocks repeat an hour.
        time_known: Whether the sender said when it was measured.
        other_patient: Whether it named another patient than its device was confirmed for.
    """

    device: str
    assurance: Assurance
    start_ns: int
    numerics: tuple[Numeric, ...]
    beside_batch: bool = False
    later_by_ns: int = 0
    time_known: bool = True
    other_patient: bool = False


class Readers(Protocol):
    """Reads records whose layout other features own; never raises for what was stored."""

    def alarms(self, record: Record) -> Sequence[AlarmNotice]:
        """Return the alarm events of a record, whatever its kind."""
        ...

    def bundle(self, record: Record) -> Sequence[Measured]:
        """Return the numerics of a FHIR bundle."""
        ...

    def message(self, record: Record) -> Sequence[Measured]:
        """Return the numerics of an HL7 v2 message."""
        ...
