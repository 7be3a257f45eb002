"""What every kind of entry has in common. Pure."""

from asepsis.hub.records.entries import origin_of
from asepsis.hub.records.entries_alarms import alarm_of
from asepsis.hub.records.entries_frames import frame_of, frame_start_ns, promise_of


def received_ns(kind: str, entry: bytes) -> int:
    """Return when an entry arrived; of a promise, which does not keep it, when it was made.

    Raises:
        FramingError: Not an entry of that kind.
    """
    match kind:
        case "numerics":
            return origin_of(entry).received_at_ns
        case "alarms":
            return alarm_of(entry).received_at_ns
        case _:
            promise = promise_of(entry) is not None
            return frame_start_ns(entry) if promise else frame_of(entry).received_at_ns
