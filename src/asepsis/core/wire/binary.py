"""What the binary formats of the standard share: names, ranges and the cheap look at a header.

All integers are big-endian. Only the standard library: devices encode with it.

Source: standard/frames.md section 1.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.model.identity import NAME_CHARS_MAX, DeviceId

U16_MAX: Final = 0xFFFF
U32_MAX: Final = 0xFFFFFFFF
COUNTER_MAX: Final = (1 << 63) - 1
"""Largest epoch, sequence or time: databases and Java have signed 64-bit integers."""

_NAMES_CACHED: Final = 4096  # Devices of a large hospital; names beyond it are parsed again.


class PeekedHeader(NamedTuple):
    """Whom a message claims to come from, read before anything is verified."""

    device: DeviceId
    epoch: int
    sequence: int


@lru_cache(maxsize=_NAMES_CACHED)
def device_from_bytes(raw: bytes) -> DeviceId:
    """Read the canonical device name of a binary header.

    Args:
        raw: 1 to 120 bytes of ASCII.

    Raises:
        FramingError: Not ASCII, or not a device name in canonical form.

    Source: standard/frames.md section 1.2; RFC 9039 section 4.1.
    """
    try:
        return DeviceId.parse(raw.decode("ascii"))
    except (UnicodeDecodeError, InputError) as error:
        raise FramingError("header does not carry a device name in canonical form") from error


def device_to_bytes(device: DeviceId) -> bytes:
    """Write a device name with its length byte in front.

    Raises:
        InputError: Not a device name in canonical form.

    Source: standard/frames.md section 1.2.
    """
    raw = DeviceId.parse(device.uri).uri.encode("ascii")
    return bytes((len(raw),)) + raw


def name_end(data: bytes, magic: bytes, *, rest_bytes: int) -> int:
    """Check magic and name length and return the offset behind the name.

    Args:
        data: The whole message.
        magic: The four bytes it must start with.
        rest_bytes: Bytes that must at least follow the name.

    Raises:
        FramingError: Other magic, empty or overlong name, or too short a message.

    Source: standard/frames.md section 1.2.
    """
    if data[:4] != magic or len(data) < 5:
        raise FramingError(f"message does not start with {magic.decode('ascii')}")
    length = data[4]
    if not 1 <= length <= NAME_CHARS_MAX:
        raise FramingError(f"device name of {length} bytes")
    if len(data) < 5 + length + rest_bytes:
        raise FramingError("message ends inside its header")
    return 5 + length


def sized(value: bytes, size: int, what: str) -> bytes:
    """Return `value` if it has exactly `size` bytes.

    Raises:
        InputError: Another length.
    """
    if len(value) != size:
        raise InputError(f"{what} of {len(value)} bytes, must be {size}")
    return value


def check_counter(value: int, what: str, *, least: int = 0) -> None:
    """Check that an epoch, sequence or time has 63 bits.

    Raises:
        FramingError: Below `least` or above `COUNTER_MAX`.

    Source: standard/frames.md section 1.1.
    """
    if not least <= value <= COUNTER_MAX:
        raise FramingError(f"{what} must be between {least} and 2**63 - 1")


def check_count(value: int, what: str, *, most: int) -> None:
    """Check a number of items or bytes against its named limit.

    Raises:
        LimitExceeded: Above `most`.
    """
    if value > most:
        raise LimitExceeded(f"{value} {what}, the limit is {most}")
