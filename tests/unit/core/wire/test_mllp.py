"""MLLP frames: any chunking gives the same result, nothing is guessed, nothing is slow."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.core.wire.mllp import FrameReader, frame

PAYLOADS = st.lists(
    st.binary(min_size=1, max_size=40).filter(lambda data: not set(data) & {0x0B, 0x1C}), max_size=5
)
Result = tuple[list[bytes], type[Exception] | None, str, int]


def read(chunks: list[bytes], *, frame_bytes_max: int = 60) -> Result:
    """Return the frames, the error that ended the stream if any, and the bytes left over."""
    reader = FrameReader(frame_bytes_max=frame_bytes_max)
    frames: list[bytes] = []
    for chunk in chunks:
        reader.feed(chunk)
        try:
            while (payload := reader.next_frame()) is not None:
                frames.append(payload)
        except (FramingError, LimitExceeded) as error:
            return frames, type(error), str(error), reader.pending_bytes
    return frames, None, "", reader.pending_bytes


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@given(PAYLOADS, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_chunking_gives_the_frames_that_were_written(
    payloads: list[bytes], places: list[int]
) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    assert read(cut(stream, places)) == (payloads, None, "", 0)


BYTES = st.lists(
    st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\x1c\r", b"\x0bMSH", b"a", b"b" * 30]), max_size=12
).map(b"".join)


@given(BYTES, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_chunking_of_any_bytes_gives_the_same_result(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == read([stream[i : i + 1] for i in range(len(stream))])


@given(PAYLOADS, st.data())
def test_a_truncated_stream_gives_a_prefix_and_says_what_is_left(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    kept = stream[: data.draw(st.integers(0, len(stream)))]
    frames, error, _, pending = read([kept])
    assert error is None
    assert frames == payloads[: len(frames)]
    assert pending == len(kept) - sum(len(payload) + 3 for payload in frames)


@pytest.mark.parametrize(
    "stream",
    [
        b"M",
        b"\r",
        b"\x1c\r",
        b"\x0b\x1c\r",
        b"\x0bA\x1c\rjunk\x0bB\x1c\r",
        b"\x0bA\x1c\r\r\n\x0bB\x1c\r",
        b"\x0bA\x1c\n",
        b"\x0bA\x1c\x0bB\x1c\r",
        b"\x0bA\x1c\x1c\r",
        b"\x0b\x0bA\x1c\r",
        b"\x0bA\x0bB\x1c\r",
        b"\x0bA\rEVIL\x1c\x1c\r",
    ],
    ids=[
        "no-start",
        "return-first",
        "end-first",
        "empty",
        "junk-between",
        "line-end-between",
        "line-feed-for-return",
        "next-start-for-return",
        "end-twice",
        "start-twice",
        "frames-nested",
        "end-of-block-inside",
    ],
)
def test_what_is_no_frame_ends_the_stream(stream: bytes) -> None:
    _, error, _, pending = read([stream])
    assert error is FramingError
    assert pending == 0


def test_after_an_error_nothing_is_read_any_more() -> None:
    reader = FrameReader()
    reader.feed(b"x")
    for _ in range(2):
        with pytest.raises(FramingError, match="0x78"):
            reader.next_frame()
        reader.feed(frame(b"MSH|late"))
        assert reader.pending_bytes == 0


def test_the_limit_is_inclusive_and_needs_no_end() -> None:
    assert read([frame(b"x" * 60)])[0] == [b"x" * 60]
    for stream in (frame(b"x" * 61), b"\x0b" + b"x" * 61, b"\x0b" + b"x" * 61 + b"\x1c"):
        assert read([stream])[1] is LimitExceeded
    assert read([b"\x0b" + b"x" * 60 + b"\x1c"])[1] is None


@pytest.mark.parametrize("payload", [b"", b"a\x0bb", b"a\x1cb", b"a\x1c\r\x0bb"])
def test_a_payload_that_would_break_its_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(FramingError):
        frame(payload)


def test_a_payload_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        frame(b"xx", frame_bytes_max=1)


def _cpu_s(stream: bytes, step: int) -> float:
    reader = FrameReader(frame_bytes_max=10_000_000)
    start = time.process_time()
    for at in range(0, len(stream), step):
        reader.feed(stream[at : at + step])
        while reader.next_frame() is not None:
            pass
    return time.process_time() - start


@pytest.mark.parametrize(
    ("unit", "step"), [(b"x", 1), (b"\x1c\r\x0bx", 1), (b"\x1c\r\x0bx", 1 << 30)]
)
def test_time_grows_as_the_bytes_do(unit: bytes, step: int) -> None:
    """Goal: one-byte feeds and many frames in one chunk are linear."""
    small, large = (
        min(_cpu_s(b"\x0bx" + unit * n, step) for _ in range(3)) for n in (12_500, 100_000)
    )
    assert large < 20 * small + 0.02
