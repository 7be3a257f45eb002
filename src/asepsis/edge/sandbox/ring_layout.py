"""Layout of a shared-memory ring: one writer, any number of readers that can only look. Pure.

A ring is one page of header and `slots` slots of equal size. Record `n` stands in slot
`(n - 1) % slots`, framed by its own number twice:

    slot:  before u64 | after u64 | length u32 | crc u32 | payload

The writer stores `before = n`, then length, CRC and payload, then `after = n`, then `head = n`. A
reader loads `after`, copies the payload, then loads `before`; both must be `n`.

*Why no torn record can be read.* If the reader sees `after == n`, every store of record n was
visible before it (stores are not reordered with stores). If it then still sees `before == n`, no
store of record `n + slots` to this slot was visible while it copied (loads are not reordered with
loads, and `before` is the first store of the next record). x86-64 guarantees both orders (Intel SDM
volume 3A section 8.2.2), and each of our accesses is an aligned 8-byte load or store of its own,
made by one interpreter call that no compiler can move. On processors with weaker order (AArch64)
the CRC-32 over number and payload stands in: a torn copy passes with a chance of 2**-32, on top of
a race that is itself rare.

Nothing here waits for anybody: the writer never looks at a reader, because a reader cannot write.
"""

import zlib
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import FramingError, InputError, LimitExceeded

MAGIC: Final = int.from_bytes(b"ASPRING1", "little")
HEADER_BYTES: Final = 4_096
SLOT_HEAD_BYTES: Final = 24
SLOT_BYTES_MAX: Final = 1 << 20
SLOTS_MAX: Final = 1 << 16
RING_BYTES_MAX: Final = 64 << 20
SEQUENCE_MAX: Final = 2**63 - 1

_WORD: Final = 8
_MAGIC_AT, _SLOT_BYTES_AT, _SLOTS_AT, _EPOCH_AT, _FIRST_AT = 0, 1, 2, 3, 4
_HEAD_AT: Final = 8
"""Index of the newest record's number, in words: a cache line of its own."""
_LENGTH_MASK: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Size of a ring.

    Attributes:
        slot_bytes: Bytes of a slot with its head, a multiple of 64, at most `SLOT_BYTES_MAX`.
        slots: Number of slots, 2 to `SLOTS_MAX`.
    """

    slot_bytes: int
    slots: int

    def __post_init__(self) -> None:
        sound = (
            64 <= self.slot_bytes <= SLOT_BYTES_MAX
            and self.slot_bytes % 64 == 0
            and 2 <= self.slots <= SLOTS_MAX
            and self.total_bytes <= RING_BYTES_MAX
        )
        if not sound:
            raise InputError(f"no ring has {self.slots} slots of {self.slot_bytes} bytes")

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole ring."""
        return HEADER_BYTES + self.slots * self.slot_bytes

    @property
    def payload_bytes_max(self) -> int:
        """Largest record, bytes."""
        return self.slot_bytes - SLOT_HEAD_BYTES

    def slot_at(self, sequence: int) -> int:
        """Return the offset of the slot of a record, bytes."""
        return HEADER_BYTES + (sequence - 1) % self.slots * self.slot_bytes


class RingView:
    """A ring over a buffer; the buffer's owner decides whether it can be written.

    Args:
        buffer: The ring's bytes, 8-byte aligned (any mapping or bytearray is).
        geometry: Its size.

    Resource handling: holds two views of the buffer until `release`.
    """

    __slots__ = ("_bytes", "_words", "geometry")

    def __init__(self, buffer: memoryview, *, geometry: Geometry) -> None:
        if len(buffer) < geometry.total_bytes:
            raise FramingError("the ring is shorter than its header says")
        self.geometry = geometry
        self._bytes = buffer[: geometry.total_bytes]
        self._words = self._bytes.cast("Q")

    @classmethod
    def format(
        cls, buffer: memoryview, *, geometry: Geometry, epoch: int, first: int
    ) -> "RingView":
        """Write the header of an empty ring whose first record will have number `first`."""
        view = cls(buffer, geometry=geometry)
        words = view._words
        words[_SLOT_BYTES_AT], words[_SLOTS_AT] = geometry.slot_bytes, geometry.slots
        words[_EPOCH_AT], words[_FIRST_AT], words[_HEAD_AT] = epoch, first, first - 1
        words[_MAGIC_AT] = MAGIC
        return view

    @classmethod
    def attach(cls, buffer: memoryview) -> "RingView":
        """Read the header of a ring made by `format`.

        Raises:
            FramingError: Not a ring.
            InputError: Sizes that no ring has.
        """
        if len(buffer) < HEADER_BYTES:
            raise FramingError("too short for a ring")
        words = buffer[:HEADER_BYTES].cast("Q")
        if words[_MAGIC_AT] != MAGIC:
            raise FramingError("not a ring")
        return cls(
            buffer, geometry=Geometry(slot_bytes=words[_SLOT_BYTES_AT], slots=words[_SLOTS_AT])
        )

    @property
    def epoch(self) -> int:
        """Epoch of the writer."""
        return self._words[_EPOCH_AT]

    @property
    def head(self) -> int:
        """Number of the newest record; `first - 1` before the first."""
        return self._words[_HEAD_AT]

    @property
    def first(self) -> int:
        """Number of the first record that was ever in this ring."""
        return self._words[_FIRST_AT]

    def publish(self, sequence: int, payload: bytes) -> None:
        """Store record `sequence`, which must be `head + 1`; the writer's side.

        Raises:
            LimitExceeded: The payload does not fit a slot.
        """
        size = len(payload)
        if size > self.geometry.payload_bytes_max:
            raise LimitExceeded(f"record of {size} bytes for slots of {self.geometry.slot_bytes}")
        at = self.geometry.slot_at(sequence)
        word = at // _WORD
        self._words[word] = sequence
        self._words[word + 2] = size | _crc(sequence, payload) << 32
        self._bytes[at + SLOT_HEAD_BYTES : at + SLOT_HEAD_BYTES + size] = payload
        self._words[word + 1] = sequence
        self._words[_HEAD_AT] = sequence

    def read(self, sequence: int) -> bytes | None:
        """Return record `sequence`, or None if it is not (any more) whole in its slot."""
        at = self.geometry.slot_at(sequence)
        word = at // _WORD
        if self._words[word + 1] != sequence:
            return None
        meta = self._words[word + 2]
        size = meta & _LENGTH_MASK
        if size > self.geometry.payload_bytes_max:
            return None
        payload = bytes(self._bytes[at + SLOT_HEAD_BYTES : at + SLOT_HEAD_BYTES + size])
        if self._words[word] != sequence or meta >> 32 != _crc(sequence, payload):
            return None
        return payload

    def release(self) -> None:
        """Let go of the buffer."""
        self._words.release()
        self._bytes.release()


def _crc(sequence: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(sequence.to_bytes(8, "little")))
