"""Captures: both formats, any order of packets, and hostile files."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.pcap import PACKET_BYTES_MAX, packets_of, tcp_streams

CAPTURES = Path(__file__).parents[4].parent / "shared" / "data" / "captures"
SYN, ACK = 2, 16


def tcp(sequence: int, payload: bytes = b"", *, flags: int = ACK, ipv6: bool = False) -> bytes:
    """Return an Ethernet frame from 10.0.0.1:5000 to 10.0.0.2:2575."""
    segment = struct.pack(">HHIIBBHHH", 5000, 2575, sequence, 0, 5 << 4, flags, 1024, 0, 0)
    segment += payload
    if ipv6:
        head = struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) + b"\x01" * 16 + b"\x02" * 16
        return b"\x00" * 12 + b"\x81\x00\x00\x05\x86\xdd" + head + segment
    total = 20 + len(segment)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 6, 0, b"\n\0\0\1", b"\n\0\0\2")
    return b"\x00" * 12 + b"\x08\x00" + head + segment + b"\x00" * 4


def pcap(frames: list[bytes], order: str = "<") -> bytes:
    head = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(
        struct.pack(order + "IIII", 1, 2, len(frame), len(frame)) + frame for frame in frames
    )


def pcapng(frames: list[bytes], order: str = "<") -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += b"\0" * (-len(body) % 4)
        length = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + length + body + length

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack(order + "HHI", 1, 0, 65535))
    return (
        section
        + interface
        + b"".join(
            block(6, struct.pack(order + "IIIII", 0, 0, 0, len(frame), len(frame)) + frame)
            for frame in frames
        )
    )


def data_of(capture: bytes) -> list[bytes]:
    return [piece.data for piece in tcp_streams(capture).pieces]


@pytest.mark.parametrize("write", [pcap, pcapng])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stream_is_read_from_either_format(
    write: Callable[[list[bytes], str], bytes], order: str
) -> None:
    frames = [tcp(9, flags=SYN), tcp(10, b"ab"), tcp(12, b"cd")]
    assert data_of(write(frames, order)) == [b"abcd"]


def test_ipv6_behind_a_vlan_tag_is_read() -> None:
    assert data_of(pcap([tcp(1, b"ab", ipv6=True), tcp(3, b"c", ipv6=True)])) == [b"abc"]


def test_sequence_numbers_wrap() -> None:
    first = (1 << 32) - 2
    assert data_of(pcap([tcp(first, b"ab"), tcp(0, b"cd")])) == [b"abcd"]


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=20), st.integers(0, 99))
def test_any_order_and_repetition_gives_the_same_stream(parts: list[bytes], seed: int) -> None:
    rng, at = random.Random(seed), 1_000
    frames = []
    for part in parts:
        frames.append(tcp(at, part))
        at += len(part)
    frames += rng.sample(frames, len(frames) // 2)
    rng.shuffle(frames)
    assert b"".join(data_of(pcap([tcp(999, flags=SYN), *frames]))) == b"".join(parts)


def test_a_hole_is_counted_and_never_closed_over() -> None:
    streams = tcp_streams(pcap([tcp(10, b"half"), tcp(99, b"other")]))
    assert [piece.data for piece in streams.pieces] == [b"half", b"other"]
    assert streams.holes == 1


def test_what_lies_about_its_length_is_refused() -> None:
    capture = pcap([tcp(1, b"x")])
    lying = capture[:24] + struct.pack("<IIII", 1, 2, PACKET_BYTES_MAX + 1, 9)
    with pytest.raises(LimitExceeded):
        list(packets_of(lying))
    with pytest.raises(InputError):
        list(packets_of(b"PK\x03\x04"))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_break_the_reader(noise: bytes, at: int) -> None:
    for whole in (pcap([tcp(1, b"abc")]), pcapng([tcp(1, b"abc")])):
        try:
            tcp_streams(whole[:at] + noise + whole[at:])
        except InputError:
            continue


@pytest.mark.data
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="public data folder is absent")
def test_every_public_capture_is_read() -> None:
    counts = {
        file.name: tcp_streams(file.read_bytes()).packets
        for file in sorted(CAPTURES.iterdir())
        if file.suffix in {".pcap", ".pcapng"}
    }
    assert all(counts.values()), counts
    assert len(counts) == 8
