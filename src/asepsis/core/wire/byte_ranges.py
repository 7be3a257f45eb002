"""Ranges of bytes of a representation that is served over HTTP. Pure.

Source: RFC 9110 sections 8.8.3 (ETag), 13 (preconditions), 14 (ranges), 15.5.17 (416).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RANGES_MAX: Final = 256
"""Ranges of one request; delta downloads ask for about 150 at once."""
DIGITS_MAX: Final = 18


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `first` to `last`, both inclusive, counted from 0."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


def read_ranges(value: str, *, length: int) -> tuple[Span, ...] | None:
    """Read a Range field.

    Args:
        value: The field's value.
        length: Bytes of the representation, at least 0.

    Returns:
        What is asked for and there, in the order asked; empty if nothing of it is there (416). None
        if the field does not count: another unit, malformed, too many ranges, or more bytes in all
        than the representation has, which is what an attack on the sender looks like.
    """
    unit, _, given = value.partition("=")
    specs = given.split(",") if given else []
    if unit.strip().lower() != "bytes" or not 0 < len(specs) <= RANGES_MAX:
        return None
    found: list[Span] = []
    for spec in specs:
        read = _read_spec(spec.strip(), length)
        if read is None:
            return None
        found += read
    return None if sum(len(span) for span in found) > length else tuple(found)


def _read_spec(spec: str, length: int) -> list[Span] | None:
    first, dash, last = spec.partition("-")
    if not dash or not _is_number(first or "0") or not _is_number(last or "0"):
        return None
    if not first:
        if not last:
            return None
        size = min(int(last), length)
        return [Span(length - size, length - 1)] if size else []
    start, end = int(first), int(last) if last else length - 1
    if last and end < start:
        return None
    return [Span(start, min(end, length - 1))] if start < length else []


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


def matches(value: str, etag: str, *, weak: bool = False) -> bool:
    """Say whether an If-Match, If-None-Match or If-Range field names a representation.

    Args:
        value: The field's value: `*`, or entity tags.
        etag: Our strong entity tag with its quotes.
        weak: Whether weak tags compare equal too, as for If-None-Match.
    """
    tags = [tag.strip() for tag in value.split(",")]
    if weak:
        tags = [tag.removeprefix("W/") for tag in tags]
    return "*" in tags or etag in tags


@dataclass(frozen=True, slots=True)
class Parts:
    """The framing of a `multipart/byteranges` body.

    Attributes:
        spans: What is sent.
        heads: What stands before each of them.
        tail: What stands after the last.
    """

    spans: tuple[Span, ...]
    heads: tuple[bytes, ...]
    tail: bytes

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        framing = sum(len(head) for head in self.heads) + len(self.tail)
        return framing + sum(len(span) for span in self.spans)


def multipart(spans: Sequence[Span], *, length: int, boundary: str, media: str) -> Parts:
    """Frame several ranges.

    Args:
        spans: At least two.
        length: Bytes of the representation.
        boundary: Does not occur in it; random.
        media: Media type of the representation.

    Source: RFC 9110 section 14.6.
    """
    heads = [
        f"\r\n--{boundary}\r\ncontent-type: {media}\r\n"
        f"content-range: {content_range(span, length=length)}\r\n\r\n".encode("ascii")
        for span in spans
    ]
    return Parts(tuple(spans), tuple(heads), f"\r\n--{boundary}--\r\n".encode("ascii"))


def content_range(span: Span | None, *, length: int) -> str:
    """Return the value of Content-Range; None is that of a 416."""
    return f"bytes */{length}" if span is None else f"bytes {span.first}-{span.last}/{length}"
