"""Waveforms of the record: frames, and which of them are proven to be the device's own.

A signed batch promises its frames by their SHA-256. Frame and promise come on different lanes, in
any order and perhaps hours apart, so both are kept and meet when somebody reads.

Source: REQ-ORG-009, REQ-ORG-010.
"""

from typing import Final

from asepsis.hub.records import entries_frames
from asepsis.hub.records.kinds import Kind, slot_of
from asepsis.hub.records.queries import Scope
from asepsis.hub.records.search import Found, Judge, Key, Search, Slice

SPAN_NS_MAX: Final = 600_000_000_000
"""Longest stretch of waveforms in one search: ten minutes."""
AROUND_SLOTS: Final = 1
"""A promise may stand in the row before or after that of its frame."""


def page(search: Search, scope: Scope, *, after: Key, count: int) -> Slice:
    """Return the next frames after a key, at most `count`.

    As in a live view, only proven frames are given, but of devices that the registry knows to sign
    nothing: theirs are given as what they are.

    Args:
        search: Reads rows.
        scope: At most `SPAN_NS_MAX` long.
        after: Key of the last frame of the page before; empty for the first.
        count: At least 1.

    Raises:
        SignatureInvalid: A block was changed.
        TransientError: The disk failed.
    """
    judge = Judge(scope)
    found = [
        result
        for device in scope.devices
        for key, frame in _frames(search, device, scope)
        if key > after and (result := judge(key, device, frame)) is not None
    ]
    found.sort(key=lambda f: f.key)
    return Slice(found[:count], found[count - 1].key if len(found) > count else None)


def proven(found: Found) -> bool:
    """Whether a frame's promise was found; the last part of its key says so."""
    return found.key[-1] == 1


def _frames(
    search: Search, device: str, scope: Scope
) -> list[tuple[Key, entries_frames.StoredFrame]]:
    first = max(0, slot_of(Kind.WAVEFORMS, scope.from_ns) - AROUND_SLOTS)
    last = slot_of(Kind.WAVEFORMS, scope.to_ns - 1) + AROUND_SLOTS
    promised: set[bytes] = set()
    frames: list[entries_frames.StoredFrame] = []
    for _, stored in search.rows(Kind.WAVEFORMS, device, first=first, last=last):
        for entry in stored:
            promise = entries_frames.promise_of(entry)
            if promise is not None:
                promised.add(promise)
            elif scope.from_ns <= entries_frames.frame_start_ns(entry) < scope.to_ns:
                frames.append(entries_frames.frame_of(entry))
    own: list[tuple[Key, entries_frames.StoredFrame]] = []
    for stored_frame in frames:
        frame = stored_frame.frame
        is_proven = frame.digest[: entries_frames.PROMISE_BYTES] in promised
        if is_proven or device in scope.unsigned:
            key = (
                frame.wall_ns,
                device,
                frame.handle,
                stored_frame.epoch,
                frame.frame_sequence,
                frame.digest,
                int(is_proven),
            )
            own.append((key, stored_frame))
    return own
