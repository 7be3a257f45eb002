"""What the hub asks the process that keeps the record, and what it hears: frozen, bounded values.

They travel as MessagePack with a tag; unknown fields are refused, both sides are of one program.
"""

from decimal import Decimal
from typing import Final

import msgspec

CODES_MAX: Final = 32
DEVICES_MAX: Final = 64
"""Devices of one patient in one search."""
CLAIMS_MAX: Final = 4_096
COUNT_MAX: Final = 1_000
COUNT_DEFAULT: Final = 100
LASTN_MAX: Final = 10
POINTS_MAX: Final = 10_000


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of everything that travels."""


class ClaimMessage(_Message, frozen=True, kw_only=True, tag=False, array_like=True):
    """A confirmed interval of a device, see `rules.Claim`."""

    device: str
    patient: str
    start_ns: int
    end_ns: int


class DeclaredMetric(_Message, frozen=True, kw_only=True, tag=False, array_like=True):
    """What the profile of a device declares of one metric, see `compliance.profile.Metric`."""

    device: str
    code: int
    unit: str
    low: Decimal | None
    high: Decimal | None


class Scope(_Message, frozen=True, kw_only=True, tag=False):
    """Which part of the record a search is about.

    Attributes:
        devices: Names, at least one.
        claims: Every confirmed interval of these devices that matters.
        patient: `authority|value`: only what is certainly this patient's; None for everything.
        show_patients: Whether the reader may learn whose a value is.
        unsigned: Those of the devices that are known to sign nothing.
        codes: MDC codes; none for all.
        handles: Metric handles; none for all.
        from_ns: First moment.
        to_ns: First moment that is no longer wanted.
        received_from_ns: First time of arrival.
        received_to_ns: First time of arrival that is no longer wanted.
        declared: What the devices declare now; nothing for one without a profile.
    """

    devices: tuple[str, ...]
    claims: tuple[ClaimMessage, ...] = ()
    patient: str | None = None
    show_patients: bool = False
    unsigned: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    handles: tuple[int, ...] = ()
    from_ns: int
    to_ns: int
    received_from_ns: int = 0
    received_to_ns: int = (1 << 63) - 1
    declared: tuple[DeclaredMetric, ...] = ()


def replace(scope: Scope, *, received_to_ns: int) -> Scope:
    """Return a scope with another end of arrival."""
    return msgspec.structs.replace(scope, received_to_ns=received_to_ns)


class Find(_Message, frozen=True, kw_only=True):
    """A page of a search.

    Attributes:
        kind: Which kind of record: `numerics`, `waveforms` or `alarms`.
        scope: Which part of it.
        count: Resources on a page, 1 to `COUNT_MAX`.
        cursor: What the page before this one ended with; empty for the first.
        self_url: Address of this page.
        next_url: Address of the next page, up to its cursor.
    """

    kind: str
    scope: Scope
    count: int
    cursor: str = ""
    self_url: str
    next_url: str


class LastN(_Message, frozen=True, kw_only=True):
    """The newest values of each metric.

    Attributes:
        scope: Which part of the record.
        n: Of each metric, 1 to `LASTN_MAX`.
        self_url: Address of the answer.
    """

    scope: Scope
    n: int
    self_url: str


class Trend(_Message, frozen=True, kw_only=True):
    """One metric over time, see `ports.Trends`.

    With a patient, only what is certainly his by the claims.
    """

    device: str
    mdc_code: int | None
    handle: int | None
    from_ns: int
    to_ns: int
    points_max: int
    patient: str | None = None
    claims: tuple[ClaimMessage, ...] = ()


class Known(_Message, frozen=True, kw_only=True):
    """Which devices have a record, or which metrics one of them has.

    Attributes:
        device: Name; empty for the list of devices.
    """

    device: str = ""


class Condition(_Message, frozen=True, kw_only=True):
    """How the record is doing."""


Question = Find | LastN | Trend | Known | Condition


class Setup(_Message, frozen=True, kw_only=True):
    """First message to a process that keeps the record.

    Attributes:
        folder: The hub's folder, with `journal`, `keys` and `records` in it.
        kek_source: Where the top key came from.
        kek_secret: The top key.
        numerics_s: Retention.
        alarms_s: Retention.
        waveforms_s: Retention.
        log_level: As in the settings.
    """

    folder: str
    kek_source: str
    kek_secret: bytes
    numerics_s: int
    alarms_s: int
    waveforms_s: int
    log_level: str


class Ends(_Message, frozen=True, kw_only=True):
    """How far the lanes go now: lane -> last settled position."""

    ends: dict[str, int]


class Ask(_Message, frozen=True, kw_only=True):
    """A question; its answer carries the same number."""

    number: int
    question: Question


class Expire(_Message, frozen=True, kw_only=True):
    """Remove what is older than its retention."""

    now_ns: int


Incoming = Setup | Ends | Ask | Expire


class Page(_Message, frozen=True, kw_only=True):
    """An answer that goes out as it is.

    Attributes:
        body: JSON.
        patients: Whose values are in it, `authority|value`, for the audit log.
    """

    body: bytes
    patients: tuple[str, ...] = ()


class Points(_Message, frozen=True, kw_only=True):
    """A trend."""

    points: tuple[tuple[int, float | None], ...]


class KnownMetric(_Message, frozen=True, kw_only=True, tag=False, array_like=True):
    """A metric of a device: whether a waveform, handle, MDC code and unit."""

    wave: bool
    handle: int
    mdc_code: int
    unit_code: int


class KnownAnswer(_Message, frozen=True, kw_only=True):
    """Names of devices, or the metrics of one."""

    devices: tuple[str, ...] = ()
    metrics: tuple[KnownMetric, ...] = ()


class State(_Message, frozen=True, kw_only=True):
    """How the record is doing.

    Attributes:
        positions: Lane -> last position that is readable.
        durable: Lane -> last position whose blocks are on disk.
        lag_s: Age of the oldest record that is not readable yet.
        lag_p99_s: 99th percentile from arrival to readable.
        waiting: Records that are not readable yet.
        skipped: Records that could not be read since the process started.
        bytes_held: Kind -> bytes on disk.
    """

    positions: dict[str, int]
    durable: dict[str, int]
    lag_s: float
    lag_p99_s: float
    waiting: int
    skipped: int
    bytes_held: dict[str, int]


class Refused(_Message, frozen=True, kw_only=True):
    """A question that has no answer: class of the error, its message and hint."""

    error: str
    message: str
    hint: str = ""


Reply = Page | Points | KnownAnswer | State | Refused


class Answer(_Message, frozen=True, kw_only=True):
    """The answer to a question."""

    number: int
    reply: Reply


Outgoing = Answer | State
