"""Frames meet the digests that signed batches promise."""

import hashlib

from asepsis.core.wire.frames import WaveformFrame, WaveformMetric
from asepsis.hub.exchange.digests import DIGESTS_MAX, FRAMES_MAX, MEMORY_NS, DigestMemory

DEVICE = "urn:dev:mac:0000000000000001"
METRIC = WaveformMetric(
    handle=1,
    mdc_code=2 << 16 | 256,
    unit_code=4 << 16 | 4_274,
    period_ns=4_000_000,
    scale=1,
    offset=0,
)


def frame(number: int) -> WaveformFrame:
    return WaveformFrame(
        metric=METRIC,
        frame_sequence=number,
        wall_ns=0,
        sample_bytes=b"\0\1",
        digest=hashlib.sha256(str(number).encode()).digest(),
    )


def test_batch_and_packet_meet_in_either_order() -> None:
    memory = DigestMemory()
    first, second = frame(1), frame(2)
    assert memory.frames(DEVICE, [first], now_ns=0) == []
    assert memory.promise(
        DEVICE, [first.digest, second.digest], now_ns=1, until_ns=1 + MEMORY_NS
    ) == [first]
    assert memory.frames(DEVICE, [second], now_ns=2) == [second]


def test_a_frame_is_shown_once_and_only_for_its_device() -> None:
    memory = DigestMemory()
    memory.promise(DEVICE, [frame(1).digest], now_ns=0, until_ns=0 + MEMORY_NS)
    assert memory.frames("urn:dev:mac:0000000000000002", [frame(1)], now_ns=0) == []
    assert memory.frames(DEVICE, [frame(1)], now_ns=0) == [frame(1)]
    assert memory.frames(DEVICE, [frame(1)], now_ns=0) == []


def test_memory_ends_with_time() -> None:
    memory = DigestMemory()
    memory.promise(DEVICE, [frame(1).digest], now_ns=0, until_ns=0 + MEMORY_NS)
    assert memory.frames(DEVICE, [frame(1)], now_ns=MEMORY_NS + 1) == []
    assert (
        memory.promise(
            DEVICE, [frame(1).digest], now_ns=3 * MEMORY_NS, until_ns=3 * MEMORY_NS + MEMORY_NS
        )
        == ()
    )


def test_memory_is_bounded() -> None:
    memory = DigestMemory()
    memory.frames(DEVICE, [frame(n) for n in range(10 * FRAMES_MAX)], now_ns=0)
    proven = memory.promise(
        DEVICE, [frame(n).digest for n in range(10 * FRAMES_MAX)], now_ns=0, until_ns=0 + MEMORY_NS
    )
    assert len(proven) <= FRAMES_MAX
    memory.promise(
        DEVICE, [frame(n).digest for n in range(10 * DIGESTS_MAX)], now_ns=0, until_ns=0 + MEMORY_NS
    )
    shown = memory.frames(DEVICE, [frame(n) for n in range(10 * DIGESTS_MAX)], now_ns=0)
    assert len(shown) <= DIGESTS_MAX


def test_frames_of_a_batch_that_took_long_are_shown_for_less_time() -> None:
    """Goal: batch and packet together take no longer than what may be shown."""
    memory = DigestMemory()
    promised = [frame(1).digest, frame(2).digest]
    memory.promise(DEVICE, promised, now_ns=0, until_ns=MEMORY_NS // 2)
    assert memory.frames(DEVICE, [frame(1)], now_ns=MEMORY_NS // 2 - 1) == [frame(1)]
    assert memory.frames(DEVICE, [frame(2)], now_ns=MEMORY_NS // 2) == []
