"""Whose a value is. Pure: the one place that says so, for every read.

A value is a patient's only if the whole stretch of time in which it can have been measured lies in
one confirmed interval of that patient and touches none of another. Doubt counts against inclusion:
what is left out stays under the device and a person can assign it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.hub.records.entries import NS_PER_MS, Mark, Value

FOREVER_NS: Final = (1 << 63) - 1
ANY_TIME: Final = (0, FOREVER_NS)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Claim:
    """A confirmed interval in which a device was used for a patient.

    Attributes:
        patient: `authority|value`.
        start_ns: First moment, nanoseconds since 1970.
        end_ns: First moment after it, `FOREVER_NS` while it goes on.
    """

    patient: str
    start_ns: int
    end_ns: int


def span_of_value(value: Value) -> tuple[int, int]:
    """Return the first and the last moment at which a value can have been measured.

    A clock that was set from an authenticated source knows its own error. Of any other clock only
    its word and the time of arrival are known: the truth is taken to be anywhere between. Where
    even the word is missing or cannot be true, it may have been at any time. What named another
    patient at arrival is treated alike: no interval holds it for certain, so it is nobody's.
    """
    origin = value.origin
    if origin.marks & (Mark.CLOCK | Mark.OTHER_PATIENT):
        return ANY_TIME
    if origin.uncertainty_ms != UNSYNCHRONISED_MS:
        error_ns = origin.uncertainty_ms * NS_PER_MS
        return value.t_ns - error_ns, value.t_ns + error_ns
    first_ns = value.t_ns
    if origin.marks & Mark.AMBIGUOUS:
        first_ns = min(first_ns, origin.device_start_ns)
    return span_of_arrival(first_ns, max(value.t_ns, origin.received_at_ns))


def span_of_arrival(t_ns: int, received_at_ns: int) -> tuple[int, int]:
    """Return the span of something whose clock's error is not known: its word to its arrival."""
    return min(t_ns, received_at_ns), max(t_ns, received_at_ns)


def patient_of(claims: Sequence[Claim], span: tuple[int, int]) -> str | None:
    """Return whose a value is, or None: nobody's, or not certain whose.

    Args:
        claims: All confirmed intervals of the device that touch the span, in any order.
        span: First and last moment at which it can have been measured.

    Returns:
        `authority|value`. A value at the very start of an interval is in it, one at its end not.
    """
    first, last = span
    touching = {c.patient for c in claims if c.start_ns <= last and first < c.end_ns}
    if len(touching) != 1:
        return None
    whole = any(c.start_ns <= first and last < c.end_ns for c in claims)
    return next(iter(touching)) if whole else None


def stretches_of(claims: Sequence[Claim], patient: str) -> list[tuple[int, int]]:
    """Return the stretches of time in which a device was one patient's and nobody else's.

    A span that lies in one of them is one that `patient_of` gives to the patient.

    Returns:
        First moment and first moment after it, ascending.
    """
    found = [(c.start_ns, c.end_ns) for c in claims if c.patient == patient]
    for other in claims:
        if other.patient != patient:
            found = [part for stretch in found for part in _without(stretch, other)]
    return sorted(found)


def _without(stretch: tuple[int, int], other: Claim) -> list[tuple[int, int]]:
    first, end = stretch
    parts = [(first, min(end, other.start_ns)), (max(first, other.end_ns), end)]
    return [part for part in parts if part[0] < part[1]]
