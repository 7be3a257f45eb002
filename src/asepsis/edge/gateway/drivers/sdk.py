"""What a driver is: a sans-IO machine and a mapping table, in one file.

A machine gets bytes and ticks with the monotonic time beside them, and returns what is to be sent
and what it understood. It has no clock, no socket, no file and no randomness, so that the same
bytes always mean the same, and a recorded session can be replayed. Whose values they are is not
its business: the settings bind a cable or an address to a device, and nothing that the other side
says about itself changes that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Annotated, Final, Protocol

import msgspec

from asepsis.core.errors import LimitExceeded
from asepsis.core.model.alarm import AlarmKind, AlarmPriority, Inactivation
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type

NS_PER_S: Final = 1_000_000_000
TICK_NS: Final = 100_000_000
"""A machine gets a tick at least this often, nanoseconds."""
SEND_BYTES_MAX: Final = 1_500
VALUES_MAX: Final = 256
SAMPLES_MAX: Final = 4_096
CONDITIONS_MAX: Final = 64
OUTPUTS_MAX: Final = 64
"""Outputs of one call; a machine that makes more has a bug or an attacker."""
AGE_MS_MAX: Final = 60_000
"""An older value is not told: nobody knows what became of it meanwhile."""
KEY_CHARS_MAX: Final = 64
TEXT_CHARS_MAX: Final = 120
PRIVATE: Final = 1024 << 16
"""Partition of codes that ISO/IEEE 11073-10101 has no number for."""

Handle = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Code = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]
Bits = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]
Sample = Annotated[int, msgspec.Meta(ge=-32_768, le=32_767)]
Word = Annotated[str, msgspec.Meta(max_length=80)]


class Transport(Enum):
    """How bytes come and go."""

    UDP = "udp"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """A serial line as the manufacturer ships the device.

    Attributes:
        baud: Bits a second.
        parity: `none`, `even` or `odd`.
        stop_bits: 1 or 2.
    """

    baud: int = 9_600
    parity: str = "none"
    stop_bits: int = 1


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of a mapping table.

    Attributes:
        code: 32-bit MDC code of the metric.
        unit: 32-bit MDC code of the unit; of a protocol that names units itself, the usual one.
    """

    code: int
    unit: int


@dataclass(frozen=True, slots=True)
class Event:
    """One row of a table of alarm conditions.

    Attributes:
        code: 32-bit MDC code of the event.
        kind: Physiological or technical.
    """

    code: int
    kind: AlarmKind


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number, or that there is none.

    Attributes:
        handle: Metric instance on the device, 1 to 65 535.
        code: 32-bit MDC code.
        unit: 32-bit MDC code.
        value: FLOAT-Type, 32 bits.
        status: Quality.
        age_ms: How long ago it was measured, by the device itself; 0 for now.
    """

    handle: Handle
    code: Code
    unit: Code
    value: Bits
    status: MeasurementStatus = MeasurementStatus.VALID
    age_ms: Annotated[int, msgspec.Meta(ge=0, le=AGE_MS_MAX)] = 0


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm condition that is active at the device now.

    Attributes:
        key: What makes it the same condition from report to report, at most 64 characters.
        code: 32-bit MDC code of the event.
        kind: Physiological or technical.
        priority: High, medium or low.
        latching: Whether signals go on after the condition ended.
        inactivation: State of the alarm signals.
        handle: Metric that it is about, 0 for the whole device.
        text: What the device shows; untrusted.
    """

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=KEY_CHARS_MAX)]
    code: Code
    kind: AlarmKind
    priority: AlarmPriority
    latching: bool = False
    inactivation: Inactivation = Inactivation.NONE
    handle: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    text: Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)] = ""


class Send(msgspec.Struct, frozen=True, tag="send"):
    """Bytes for the device: one datagram, or bytes for the line."""

    data: bytes


class Linked(msgspec.Struct, frozen=True, tag="linked"):
    """The device answers as its protocol wants it.

    Attributes:
        about: What it says of itself, for people; untrusted and never a name.
    """

    about: Word = ""


class Unlinked(msgspec.Struct, frozen=True, tag="unlinked"):
    """The device was lost: nothing it said is of the present any more.

    Attributes:
        why: One word of our own, for people.
    """

    why: Word


class Values(msgspec.Struct, frozen=True, tag="values"):
    """Numbers that were received just now."""

    values: Annotated[tuple[Value, ...], msgspec.Meta(max_length=VALUES_MAX)]


class Samples(msgspec.Struct, frozen=True, kw_only=True, tag="samples"):
    """A stretch of a waveform that ends now.

    Attributes:
        handle: Metric instance, 1 to 65 535.
        code: 32-bit MDC code.
        unit: 32-bit MDC code.
        period_ns: Between two samples.
        scale: FLOAT-Type; value = scale * sample + offset.
        offset: FLOAT-Type.
        samples: 16-bit; -32 768 where the device has none.
    """

    handle: Handle
    code: Code
    unit: Code
    period_ns: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF_FFFF)]
    scale: Bits
    offset: Bits
    samples: Annotated[tuple[Sample, ...], msgspec.Meta(min_length=1, max_length=SAMPLES_MAX)]


class Conditions(msgspec.Struct, frozen=True, tag="conditions"):
    """Every alarm condition that is active at the device now; an empty one says that none is."""

    active: Annotated[tuple[Condition, ...], msgspec.Meta(max_length=CONDITIONS_MAX)]


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """Something that does not fit the protocol was left out.

    Attributes:
        why: One word of our own, for people and counters.
    """

    why: Word


Output = Send | Linked | Unlinked | Values | Samples | Conditions | Fault


class Machine(Protocol):
    """The protocol with one device; every time is monotonic, in nanoseconds."""

    def start(self, now_ns: int) -> Sequence[Output]:
        """Begin; also called again after the line was opened anew."""
        ...

    def receive(self, data: bytes, now_ns: int) -> Sequence[Output]:
        """Take one datagram, or bytes of a line however they were cut; raises nothing."""
        ...

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Do what is due; called at least each `TICK_NS`."""
        ...

    def stop(self, now_ns: int) -> Sequence[Output]:
        """Say good-bye."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A driver: what its file offers under the name `DRIVER`.

    Attributes:
        name: Lower case, for settings.
        title: For people.
        document: Published document that it follows.
        edition: Edition, number or date of it.
        unverified: What was never seen with a real device.
        transport: Datagrams or a serial line.
        make: Makes a machine.
        metrics: Mapping table: the protocol's own id -> metric.
        waveforms: The same of waveforms.
        events: The same of alarm conditions; others are told as private codes.
        lists_alarms: Whether it tells `Conditions`.
        port: Usual UDP port of the device, 0 for none.
        announcements: UDP port to which devices announce themselves, 0 for none.
        line: Usual settings of the serial line.
        silence_s: After so much silence the machine says `Unlinked`, seconds.
    """

    name: str
    title: str
    document: str
    edition: str
    unverified: str
    transport: Transport
    make: Callable[[], Machine]
    metrics: Mapping[int, Metric]
    waveforms: Mapping[int, Metric] = field(default_factory=dict[int, Metric])
    events: Mapping[int, Event] = field(default_factory=dict[int, Event])
    lists_alarms: bool = False
    port: int = 0
    announcements: int = 0
    line: LineSettings = LineSettings()
    silence_s: float = 5.0


def float_of(number: Decimal | None) -> int:
    """Return a number as FLOAT-Type with the decimals that the device shows; None as NaN.

    Source: ISO/IEEE 11073-20101 (FLOAT-Type); REQ-OBS-002, REQ-OBS-003.
    """
    if number is None:
        return int(float_type.FloatSpecial.NAN)
    try:
        return float_type.from_decimal(number)
    except LimitExceeded:
        return int(float_type.FloatSpecial.NRES)
