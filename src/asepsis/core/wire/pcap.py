"""Reads packet captures: pcap and pcapng to packets, and TCP packets to byte streams. Pure.

A capture is a stranger's file: every count and length has a limit, and what cannot be read is
counted, not guessed. A hole in a stream ends a piece; what follows is another piece, so that two
halves of two messages are never joined.

Source: draft-ietf-opsawg-pcap-04; draft-ietf-opsawg-pcapng-02; RFC 791, RFC 8200, RFC 9293.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from asepsis.core.errors import InputError, LimitExceeded

CAPTURE_BYTES_MAX: Final = 256 * 1024 * 1024
PACKET_BYTES_MAX: Final = 262_144
INTERFACES_MAX: Final = 256
FLOWS_MAX: Final = 4_096
PIECE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes kept of one piece of a stream."""
STREAMS_BYTES_MAX: Final = 128 * 1024 * 1024
"""Bytes kept of all streams together."""
WAITING_MAX: Final = 256
"""Packets of one stream that wait for one that is missing."""

_MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
_SECTION: Final = 0x0A0D0D0A
_ORDER: Final = b"\x1a\x2b\x3c\x4d"
_LINK_HEADS: Final = {0: 4, 1: 14, 12: 0, 101: 0, 113: 16, 276: 20}
"""Link type -> bytes before the network header: null, Ethernet, raw, raw, Linux cooked v1, v2."""
_ETHERNET: Final = 1
_VLAN: Final = frozenset((0x8100, 0x88A8))
_IP: Final = frozenset((0x0800, 0x86DD))
_TCP: Final = 6
_SYN: Final = 0x02
_HALF: Final = 1 << 31


class Flow(NamedTuple):
    """One direction of a connection; addresses in the bytes of the packet."""

    source: bytes
    source_port: int
    target: bytes
    target_port: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one direction of a connection without a hole.

    Attributes:
        flow: Which direction.
        data: The bytes in their order.
    """

    flow: Flow
    data: bytes


@dataclass(frozen=True, slots=True)
class Streams:
    """What a capture holds.

    Attributes:
        pieces: In the order in which they began.
        packets: Packets in the capture.
        unread: Packets that are no TCP over IP, or are cut short.
        holes: Places where bytes are missing.
    """

    pieces: tuple[Piece, ...]
    packets: int
    unread: int
    holes: int


@dataclass(slots=True)
class _Stream:
    flow: Flow
    following: int | None = None
    data: bytearray = field(default_factory=bytearray)
    waiting: dict[int, bytes] = field(default_factory=dict[int, bytes])


def packets_of(capture: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield link type and bytes of every packet.

    Args:
        capture: A whole file, at most `CAPTURE_BYTES_MAX` bytes.

    Raises:
        LimitExceeded: A larger file, or a packet that says it is larger than one can be.
        InputError: Neither pcap nor pcapng.

    Source: draft-ietf-opsawg-pcap-04 section 4; draft-ietf-opsawg-pcapng-02 section 4.
    """
    if len(capture) > CAPTURE_BYTES_MAX:
        raise LimitExceeded(f"a capture has at most {CAPTURE_BYTES_MAX} bytes")
    if len(capture) >= 24 and capture[:4] in _MAGICS:
        return _of_pcap(capture, _MAGICS[capture[:4]])
    if capture[:4] == _SECTION.to_bytes(4, "big"):
        return _of_pcapng(capture)
    raise InputError("neither pcap nor pcapng", hint="save it with tcpdump -w or Wireshark")


def tcp_streams(capture: bytes) -> Streams:
    """Return the byte streams of all TCP connections of a capture.

    Raises:
        LimitExceeded: More or larger streams than the limits of this module.
        InputError: Neither pcap nor pcapng.

    Source: RFC 9293 section 3.4 (sequence numbers).
    """
    assembly = _Assembly()
    for link, packet in packets_of(capture):
        assembly.take(link, packet)
    return assembly.finish()


def _of_pcap(capture: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    link = struct.unpack_from(order + "I", capture, 20)[0] & 0xFFFF
    head = struct.Struct(order + "IIII")
    at = 24
    while at + head.size <= len(capture):
        length: int = head.unpack_from(capture, at)[2]
        at += head.size
        _require_packet(length)
        yield link, capture[at : at + length]
        at += length


def _of_pcapng(capture: bytes) -> Iterator[tuple[int, bytes]]:
    order, links, at = "<", list[int](), 0
    while at + 12 <= len(capture):
        if capture[at : at + 4] == _SECTION.to_bytes(4, "big"):
            order, links = (">" if capture[at + 8 : at + 12] == _ORDER else "<"), []
        kind, length = struct.unpack_from(order + "II", capture, at)
        if length < 12 or length % 4 or at + length > len(capture):
            return  # Cut short: what was read before stands.
        block = capture[at + 8 : at + length - 4]
        if kind == 1 and len(block) >= 4:
            if len(links) == INTERFACES_MAX:
                raise LimitExceeded(f"a capture has at most {INTERFACES_MAX} interfaces")
            links.append(struct.unpack_from(order + "H", block)[0])
        elif kind in (3, 6):
            yield from _of_block(kind, block, order, links)
        at += length


def _of_block(kind: int, block: bytes, order: str, links: list[int]) -> Iterator[tuple[int, bytes]]:
    """Read an enhanced (6) or simple (3) packet block."""
    if kind == 3:
        interface, start, length = 0, 4, len(block) - 4
    elif len(block) >= 20:
        interface, length = struct.unpack_from(order + "I8xI", block)
        start = 20
    else:
        return
    _require_packet(length)
    if interface < len(links):
        yield links[interface], block[start : start + length]


def _require_packet(length: int) -> None:
    if length > PACKET_BYTES_MAX:
        raise LimitExceeded(f"a packet of more than {PACKET_BYTES_MAX} bytes")


class _Assembly:
    """Puts TCP packets in order."""

    def __init__(self) -> None:
        self._streams: dict[Flow, _Stream] = {}
        self._pieces: list[Piece] = []
        self._packets = self._unread = self._holes = self._bytes = 0

    def take(self, link: int, packet: bytes) -> None:
        """Take one packet."""
        self._packets += 1
        try:
            found = _tcp(_network(link, packet))
        except (struct.error, IndexError):
            found = None
        if found is None:
            self._unread += 1
            return
        flow, sequence, flags, payload = found
        stream = self._streams.get(flow)
        if stream is None:
            if len(self._streams) == FLOWS_MAX:
                raise LimitExceeded(f"a capture has at most {FLOWS_MAX} streams")
            stream = self._streams[flow] = _Stream(flow)
        if flags & _SYN:  # A new connection on the same ports begins.
            self._close(stream)
            stream.following = (sequence + 1) % (1 << 32)
        if payload:
            self._add(stream, sequence, payload)

    def finish(self) -> Streams:
        """Return everything."""
        for stream in self._streams.values():
            self._close(stream)
        return Streams(tuple(self._pieces), self._packets, self._unread, self._holes)

    def _add(self, stream: _Stream, sequence: int, payload: bytes) -> None:
        if stream.following is None:
            stream.following = sequence
        ahead = (sequence - stream.following) % (1 << 32)
        if ahead >= _HALF:  # Sent again, perhaps with more at its end.
            payload = payload[(1 << 32) - ahead :]
            if not payload:
                return
            sequence = stream.following
        stream.waiting.setdefault(sequence, payload)
        self._join(stream)
        if len(stream.waiting) > WAITING_MAX:
            self._skip_hole(stream)

    def _join(self, stream: _Stream) -> None:
        while (payload := stream.waiting.pop(stream.following or 0, None)) is not None:
            self._bytes += len(payload)
            full = len(stream.data) + len(payload) > PIECE_BYTES_MAX
            if full or self._bytes > STREAMS_BYTES_MAX:
                raise LimitExceeded("the streams of the capture are too large")
            stream.data += payload
            stream.following = ((stream.following or 0) + len(payload)) % (1 << 32)

    def _skip_hole(self, stream: _Stream) -> None:
        """End a piece at a hole and go on behind it."""
        self._end_piece(stream)
        self._holes += 1
        base = stream.following or 0
        stream.following = min(stream.waiting, key=lambda at: (at - base) % (1 << 32))
        self._join(stream)

    def _close(self, stream: _Stream) -> None:
        while stream.waiting:
            self._skip_hole(stream)
        self._end_piece(stream)

    def _end_piece(self, stream: _Stream) -> None:
        if stream.data:
            self._pieces.append(Piece(stream.flow, bytes(stream.data)))
            stream.data.clear()


def _network(link: int, packet: bytes) -> bytes:
    """Return the network header and what follows it; b"" where it is not IP."""
    head = _LINK_HEADS.get(link)
    if head is None:
        return b""
    if link == _ETHERNET:
        kind = struct.unpack_from(">H", packet, 12)[0]
        while kind in _VLAN and head <= 22:
            kind = struct.unpack_from(">H", packet, head + 2)[0]
            head += 4
        if kind not in _IP:
            return b""
    return packet[head:]


def _tcp(packet: bytes) -> tuple[Flow, int, int, bytes] | None:
    """Return flow, sequence number, flags and payload of a TCP packet; None for anything else."""
    if not packet:
        return None
    if packet[0] >> 4 == 4:
        head, length = (packet[0] & 0xF) * 4, struct.unpack_from(">H", packet, 2)[0]
        fragment = struct.unpack_from(">H", packet, 6)[0] & 0x3FFF
        if packet[9] != _TCP or fragment or head < 20:
            return None
        source, target = packet[12:16], packet[16:20]
        end = length or len(packet)
    elif packet[0] >> 4 == 6 and packet[6] == _TCP:
        head, end = 40, 40 + struct.unpack_from(">H", packet, 4)[0]
        source, target = packet[8:24], packet[24:40]
    else:
        return None
    ports = struct.unpack_from(">HHI", packet, head)
    body = head + (packet[head + 12] >> 4) * 4
    flow = Flow(source, ports[0], target, ports[1])
    return flow, ports[2], packet[head + 13], packet[body:end]
