"""A block: everything of one kind, device and stretch of time, as one compact text. Pure.

A block is a *set* of entries, each a few bytes that stand for themselves (`entries.py`). Merging is
union, so that a record projected twice changes nothing, and what comes late merges into its own
stretch whatever the order. Entries are sorted, those of one length are written column by column
(what stays the same from second to second then costs next to nothing), and the whole is deflated.

Layout, version 1: one byte version, one byte `Order`; then, deflated (RFC 1950), for each length:
number of entries, length in bytes (both big-endian, four bytes), and the entries in that order.
`docs/explanation/records.md` says what it costs.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from asepsis.core.errors import FramingError

VERSION: Final = 1
BLOCK_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest block, unpacked; what is larger was not written by us."""
_GROUP: Final = struct.Struct(">II")
_ORDERS: Final = (b"\x01", b"\x02")
_LEVEL: Final = 1  # Level 6 takes five times the time for a tenth of the bytes.


class Order(IntEnum):
    """How entries of one length stand in a block."""

    COLUMNS = 1
    """The first byte of each, the second byte of each...: for what repeats from entry to entry."""
    ROWS = 2
    """One after the other: for samples, which repeat inside of an entry."""


def encode_block(entries: Iterable[bytes], order: Order = Order.COLUMNS) -> bytes:
    """Write a block; the same set of entries always gives the same bytes.

    Args:
        entries: Any order, each of at least one byte; what stands there twice is written once.
        order: How those of one length are written; a matter of size only.
    """
    groups: dict[int, list[bytes]] = {}
    for entry in sorted(set(entries)):
        groups.setdefault(len(entry), []).append(entry)
    parts: list[bytes] = []
    for length, group in sorted(groups.items()):
        parts.append(_GROUP.pack(len(group), length))
        joined = b"".join(group)
        if order is Order.COLUMNS:
            parts += [joined[column::length] for column in range(length)]
        else:
            parts.append(joined)
    return bytes((VERSION, order)) + zlib.compress(b"".join(parts), _LEVEL)


class Group(NamedTuple):
    """The entries of one length in a block.

    Attributes:
        rows: How many.
        length: Bytes of each.
        order: How `content` holds them.
        content: `rows * length` bytes.
    """

    rows: int
    length: int
    order: Order
    content: bytes

    def column(self, at: int) -> bytes:
        """Return byte `at` of every entry; of a group that stands in columns."""
        return self.content[at * self.rows : (at + 1) * self.rows]

    def entries(self) -> list[bytes]:
        """Return the entries, sorted."""
        content, count, length = self.content, self.rows, self.length
        if self.order is Order.COLUMNS:  # Rows of the transposed matrix, by the same stride.
            return [content[row::count] for row in range(count)]
        return [content[row : row + length] for row in range(0, len(content), length)]


def decode_block(block: bytes) -> list[bytes]:
    """Return the entries of a block, those of one length together and sorted.

    Raises:
        FramingError: Another version, cut short, or larger than `BLOCK_BYTES_MAX`.
    """
    return [entry for group in decode_groups(block) for entry in group.entries()]


def decode_groups(block: bytes) -> list[Group]:
    """Return the entries of a block as they stand there; raises as `decode_block`."""
    if block[:1] != bytes([VERSION]) or block[1:2] not in _ORDERS:
        raise FramingError("a block of another version")
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(block[2:], BLOCK_BYTES_MAX)
    except zlib.error as error:
        raise FramingError("a block that does not unpack") from error
    if not unpacker.eof or unpacker.unused_data:
        raise FramingError("a block is cut short, too long or followed by something else")
    groups: list[Group] = []
    at = 0
    while at < len(plain):
        groups.append(_read_group(plain, at, Order(block[1])))
        at += _GROUP.size + len(groups[-1].content)
    return groups


def content_hash(entries: Iterable[bytes]) -> bytes:
    """Return a SHA-256 over the set of entries, however they came to be stored."""
    digest = hashlib.sha256()
    for entry in sorted(set(entries)):
        digest.update(len(entry).to_bytes(4, "big") + entry)
    return digest.digest()


def _read_group(plain: bytes, at: int, order: Order) -> Group:
    if at + _GROUP.size > len(plain):
        raise FramingError("a block ends inside a group")
    count, length = _GROUP.unpack_from(plain, at)
    at += _GROUP.size
    end = at + count * length
    if not count or not length or end > len(plain):
        raise FramingError("a group of a block does not fit")
    return Group(count, length, order, plain[at:end])
