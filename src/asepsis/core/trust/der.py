"""Distinguished encoding rules, as much as a device needs: a small writer and a strict reader.

Only definite, minimal lengths and one-byte tags; everything is bounded by the bytes given.

Source: ITU-T X.690 clauses 8 and 10.
"""

from typing import Final

from asepsis.core.errors import FramingError, InputError, LimitExceeded

DER_BYTES_MAX: Final = 65_536
"""Largest element read: a chain of certificates is far smaller."""

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31


def context(number: int, *, constructed: bool = True) -> int:
    """Return the tag byte of a context-specific element, number 0 to 30.

    Raises:
        InputError: Another number.

    Source: ITU-T X.690 clause 8.1.2.
    """
    if not 0 <= number <= 30:
        raise InputError("multi-byte tags are not used here")
    return (0xA0 if constructed else 0x80) | number


def element(tag: int, *contents: bytes) -> bytes:
    """Write one element around its contents (X.690 clauses 8.1 and 10.1)."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def integer(value: int) -> bytes:
    """Write an integer of at least 0.

    Raises:
        InputError: A negative value.

    Source: ITU-T X.690 clause 8.3.
    """
    if value < 0:
        raise InputError("only counts, serials and signature parts are written")
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def object_identifier(dotted: str) -> bytes:
    """Write an object identifier such as `2.5.4.3` (X.690 clause 8.19)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return element(OBJECT_IDENTIFIER, *(_base128(arc) for arc in (first * 40 + second, *rest)))


def dotted(content: bytes) -> str:
    """Read the content of an object identifier into dotted form (X.690 clause 8.19).

    Raises:
        FramingError: Empty, unfinished or not minimal.
    """
    arcs: list[int] = []
    value, fresh = 0, True
    for byte in content:
        if fresh and byte == 0x80:
            raise FramingError("object identifier is not minimal")
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    if not arcs or not fresh:
        raise FramingError("object identifier is cut off")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


class DerReader:
    """A cursor over the elements of one DER value.

    Args:
        data: The bytes, at most `DER_BYTES_MAX`.

    Raises:
        LimitExceeded: More bytes than that.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) > DER_BYTES_MAX:
            raise LimitExceeded(f"DER of {len(data)} bytes, the limit is {DER_BYTES_MAX}")
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether elements are left."""
        return self._at < len(self._data)

    def next_is(self, tag: int) -> bool:
        """Return whether the next element has this tag."""
        return self.more and self._data[self._at] == tag

    def content(self, tag: int) -> bytes:
        """Return the content of the next element and step over it.

        Raises:
            FramingError: Another tag, a length that is not minimal, or too few bytes.
        """
        start, end = self._bounds(tag)
        self._at = end
        return self._data[start:end]

    def raw(self, tag: int) -> bytes:
        """Return the next element with tag and length, and step over it.

        Raises:
            FramingError: As `content`.
        """
        first = self._at
        _, self._at = self._bounds(tag)
        return self._data[first : self._at]

    def inner(self, tag: int) -> "DerReader":
        """Return a reader of the next element's content and step over it.

        Raises:
            FramingError: As `content`.
        """
        return DerReader(self.content(tag))

    def any(self) -> tuple[int, bytes]:
        """Return tag and content of the next element, whatever it is, and step over it.

        Raises:
            FramingError: A tag of several bytes, or as `content`.
        """
        tag = self._data[self._at] if self.more else 0
        if tag & 0x1F == 0x1F:
            raise FramingError("DER tag of several bytes")
        return tag, self.content(tag)

    def unsigned(self) -> int:
        """Return the next element, an integer of at least 0, and step over it.

        Raises:
            FramingError: Negative, empty or not minimal.
        """
        content = self.content(INTEGER)
        if not content or content[0] & 0x80:
            raise FramingError("integer is empty or negative")
        if len(content) > 1 and content[0] == 0 and not content[1] & 0x80:
            raise FramingError("integer is not minimal")
        return int.from_bytes(content, "big")

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            FramingError: Trailing bytes.
        """
        if self.more:
            raise FramingError("bytes after the end of a DER value")

    def _bounds(self, tag: int) -> tuple[int, int]:
        data, at = self._data, self._at
        if at + 2 > len(data) or data[at] != tag:
            raise FramingError(f"DER element {tag:#04x} is missing")
        length = data[at + 1]
        start = at + 2
        if length >= 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[start : start + size], "big")
            start += size
            # X.690 clause 10.1: the fewest octets; 0x80 alone would be the indefinite form.
            if not 1 <= size <= 3 or length < 0x80 or length >> 8 * (size - 1) == 0:
                raise FramingError("DER length is not minimal")
        if start + length > len(data):
            raise FramingError("DER element is cut off")
        return start, start + length


def _base128(arc: int) -> bytes:
    if arc < 0:
        raise InputError("object identifier arcs are not negative")
    out = [arc & 0x7F]
    while arc := arc >> 7:
        out.append(arc & 0x7F | 0x80)
    return bytes(reversed(out))
