"""DICOMweb's multipart bodies: bytes in, parts out, in any chunking. No socket, clock or file.

Source: DICOM PS3.18 section 8.7 (media types), 10.5 (store); RFC 2387 (multipart/related);
RFC 2046 section 5.1.1 (delimiters).
"""

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asepsis.core.errors import FramingError, LimitExceeded, UnsupportedMedia

DICOM: Final = "application/dicom"
RELATED: Final = "multipart/related"
BOUNDARY_CHARS_MAX: Final = 70
PADDING_BYTES_MAX: Final = 64
"""Blanks that may stand between a delimiter and the end of its line."""
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER: Final = re.compile(
    r'\s*;\s*([A-Za-z0-9!#$%&\'*+\-.^_`|~]+)\s*=\s*(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))\s*'
)
_PARAMETERS_MAX: Final = 8
_TOKEN: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartLimits:
    """What a reader takes before it refuses.

    Attributes:
        parts_max: Parts of one body.
        part_bytes_max: Bytes of one part.
        header_bytes_max: Header block of one part.
        headers_max: Header fields of one part.
        around_bytes_max: Preamble, and epilogue, which nobody reads.
    """

    parts_max: int = 100_000
    part_bytes_max: int = 1 << 34
    header_bytes_max: int = 4_096
    headers_max: int = 16
    around_bytes_max: int = 4_096


@dataclass(frozen=True, slots=True)
class PartBegun:
    """A part whose header block is complete.

    Attributes:
        headers: Field name in lower case -> value without blanks around it.
    """

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """The next bytes of the part that has begun; never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnded:
    """The part is complete."""


PartEvent = PartBegun | PartData | PartEnded


class _State(Enum):
    PREAMBLE = "preamble"
    DELIMITER = "delimiter"
    HEADERS = "headers"
    BODY = "body"
    EPILOGUE = "epilogue"


class MultipartReader:
    """Incremental reader; any chunking of the same bytes gives the same parts.

    Holds at most one header block or one delimiter beyond the chunk it was given.

    Args:
        boundary: As `related_boundary` returned it.
        limits: What is refused.
    """

    def __init__(self, boundary: bytes, *, limits: MultipartLimits | None = None) -> None:
        self._delimiter: Final = b"\r\n--" + boundary
        self._limits = limits or MultipartLimits()
        # The first delimiter may stand at the very start: as if a line had ended before it.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._parts = 0
        self._bytes = 0

    def feed(self, chunk: bytes) -> Iterator[PartEvent]:
        """Take the next bytes and give what they complete; read the iterator to its end.

        Raises:
            FramingError: No multipart body with this boundary.
            LimitExceeded: A limit was passed; the body cannot go on.
        """
        if self._state is _State.BODY and len(chunk) > len(self._delimiter):
            chunk = yield from self._pass_on(chunk)
        self._buffer += chunk
        while True:
            before = (self._state, len(self._buffer))
            yield from self._step()
            if before == (self._state, len(self._buffer)):
                return

    def finish(self) -> None:
        """Say that no more bytes come.

        Raises:
            FramingError: The closing delimiter did not come.
        """
        if self._state is not _State.EPILOGUE:
            raise FramingError("the multipart body ends before its closing delimiter")

    def _step(self) -> Iterator[PartEvent]:
        if self._state is _State.BODY:
            yield from self._body()
        elif self._state is _State.HEADERS:
            yield from self._headers()
        elif self._state is _State.DELIMITER:
            self._delimiter_line()
        elif self._state is _State.PREAMBLE:
            self._preamble()
        else:
            self._around(len(self._buffer))
            self._buffer.clear()

    def _preamble(self) -> None:
        found = self._buffer.find(self._delimiter)
        if found >= 0:
            self._around(found)
            del self._buffer[: found + len(self._delimiter)]
            self._state = _State.DELIMITER
            return
        passed = max(0, len(self._buffer) - len(self._delimiter) + 1)
        self._around(passed)
        del self._buffer[:passed]

    def _around(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.around_bytes_max:
            raise LimitExceeded("too many bytes stand outside the parts of the body")

    def _delimiter_line(self) -> None:
        buffer = self._buffer
        if buffer.startswith(b"--"):
            del buffer[:2]
            self._state, self._bytes = _State.EPILOGUE, 0
            return
        end = buffer.find(b"\r\n", 0, PADDING_BYTES_MAX + 2)
        if end < 0:
            if len(buffer) > PADDING_BYTES_MAX + 2 or buffer.strip(b" \t\r-"):
                raise FramingError("a delimiter is followed by something else than its line's end")
            return
        if buffer[:end].strip(b" \t"):
            raise FramingError("a delimiter is followed by something else than its line's end")
        self._parts += 1
        if self._parts > self._limits.parts_max:
            raise LimitExceeded(f"more than {self._limits.parts_max} parts")
        # The line's end stays: a part without headers begins with an empty line.
        del buffer[:end]
        self._state = _State.HEADERS

    def _headers(self) -> Iterator[PartEvent]:
        limit = self._limits.header_bytes_max
        end = self._buffer.find(b"\r\n\r\n", 0, limit + 4)
        if end < 0:
            if len(self._buffer) >= limit + 4:
                raise LimitExceeded(f"the header block of a part is over {limit} bytes")
            return
        block = bytes(self._buffer[2:end]) if end else b""
        del self._buffer[: end + 4]
        self._state, self._bytes = _State.BODY, 0
        yield PartBegun(_parse_headers(block, headers_max=self._limits.headers_max))

    def _pass_on(self, chunk: bytes) -> Generator[PartEvent, None, bytes]:
        """Give what is surely of the part as it came, uncopied; return the rest of the chunk."""
        delimiter, held = self._delimiter, bytes(self._buffer)
        if held and delimiter in held + chunk[: len(delimiter) - 1]:
            return chunk
        found = chunk.find(delimiter)
        count = found if found >= 0 else len(chunk) - self._begun_delimiter(chunk)
        self._take(len(held) + count)
        self._buffer.clear()
        if held:
            yield PartData(held)
        if count:
            yield PartData(chunk[:count])  # All of a chunk is the chunk itself.
        return chunk[count:]

    def _begun_delimiter(self, chunk: bytes) -> int:
        """Return how many bytes at the end of a chunk may be the beginning of a delimiter.

        A delimiter has one carriage return, its first byte: only the last one can begin it.
        """
        at = chunk.rfind(b"\r", len(chunk) - len(self._delimiter) + 1)
        return len(chunk) - at if at >= 0 and self._delimiter.startswith(chunk[at:]) else 0

    def _take(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.part_bytes_max:
            raise LimitExceeded(f"a part is over {self._limits.part_bytes_max} bytes")

    def _body(self) -> Iterator[PartEvent]:
        buffer, delimiter = self._buffer, self._delimiter
        found = buffer.find(delimiter)
        count = found if found >= 0 else max(0, len(buffer) - len(delimiter) + 1)
        self._take(count)
        if count:
            yield PartData(bytes(memoryview(buffer)[:count]))
        if found < 0:
            del buffer[:count]
            return
        del buffer[: count + len(delimiter)]
        self._state = _State.DELIMITER
        yield PartEnded()


def related_boundary(content_type: str) -> bytes:
    """Return the boundary of a `multipart/related` body of DICOM files.

    Args:
        content_type: Value of Content-Type.

    Raises:
        UnsupportedMedia: Another media type, or one whose root is not `application/dicom`.
        FramingError: No boundary, or one that RFC 2046 does not allow.

    Source: DICOM PS3.18 table 8.7.3-2; RFC 2387 section 3.
    """
    media, parameters = parse_media(content_type)
    if media != RELATED:
        raise UnsupportedMedia("media type not accepted here", hint=f"send {RELATED}")
    if parameters.get("type", DICOM).lower() != DICOM:
        raise UnsupportedMedia("only DICOM files are stored", hint=f'type="{DICOM}"')
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise FramingError("the multipart body names no boundary that RFC 2046 allows")
    return boundary.encode("ascii")


def parse_media(value: str) -> tuple[str, Mapping[str, str]]:
    """Split a media type into its name in lower case and its parameters.

    Raises:
        FramingError: Not a media type, or one with more than eight parameters.

    Source: RFC 9110 section 8.3.1.
    """
    media, separator, _ = value.partition(";")
    parameters: dict[str, str] = {}
    at = len(media) if separator else len(value)
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if match is None or len(parameters) == _PARAMETERS_MAX:
            raise FramingError("a media type cannot be read")
        name, quoted, token = match.groups()
        parameters[name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = match.end()
    return media.strip().lower(), parameters


def _parse_headers(block: bytes, *, headers_max: int) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in block.split(b"\r\n") if block else ():
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise FramingError("a header of a part cannot be read")
        if len(found) == headers_max:
            raise LimitExceeded(f"a part has more than {headers_max} headers")
        found[name.decode("ascii").lower()] = value.strip(b" \t").decode("latin-1")
    return found
