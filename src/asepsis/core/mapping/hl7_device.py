"""Which devices an HL7 v2 message names, in OBX-18 and PRT-10. Pure.

Source: HL7 v2.8.2 chapters 7.4.2.18 (OBX-18), 7.4.4.10 (PRT-10) and 2A.2.21 (EI).
"""

from functools import lru_cache
from typing import Final

from asepsis.core.errors import LimitExceeded
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_parts import Delimiters
from asepsis.core.wire.message_record import WORD_BYTES_MAX, WORDS_MAX

EUI64: Final = b"EUI-64"
_PLACES: Final = ((b"OBX", 18), (b"PRT", 10))
_EUI64_CHARS: Final = 16
_HEX: Final = frozenset("0123456789abcdef")


def device_words(message: Message) -> dict[bytes, tuple[str, int]]:
    """Return every device identifier as it stands in the message, and segment and field of it.

    Raises:
        LimitExceeded: More than `WORDS_MAX` of them, or one longer than `WORD_BYTES_MAX`.
    """
    found: dict[bytes, tuple[str, int]] = {}
    repetition = message.delimiters.repetition
    for segment, field in _PLACES:
        if segment not in message.names:
            continue
        name = segment.decode()
        for raw in set(message.columns(name, field)[0]):
            for word in raw.split(repetition) if repetition in raw else (raw,):
                if word.strip(message.delimiters.component):
                    found.setdefault(word, (name, field))
    if len(found) > WORDS_MAX:
        raise LimitExceeded(f"the message names more than {WORDS_MAX} devices")
    if max(map(len, found), default=0) > WORD_BYTES_MAX:
        raise LimitExceeded(f"a device identifier has more than {WORD_BYTES_MAX} bytes")
    return found


@lru_cache(maxsize=4_096)  # Words have at most `WORD_BYTES_MAX` bytes, and come each second.
def eui64_device(word: bytes, delimiters: Delimiters) -> str | None:
    """Return the device that an identifier of type EUI-64 names: it alone decides, and as a number.

    Args:
        word: One repetition of OBX-18 or PRT-10.
        delimiters: Of its message.

    Returns:
        The device's name, "" if the type is EUI-64 and the identifier is none, None if the
        identifier has another type.

    Source: HL7 v2.8.2 section 2A.2.21 (EI.3 universal id, EI.4 its type).
    """
    parts = word.split(delimiters.component)
    if len(parts) <= 3 or parts[3].strip().upper() != EUI64:
        return None
    text = (parts[2] or parts[0]).decode("ascii", "replace").lower()
    text = text.replace("-", "").replace(":", "")
    if len(text) == _EUI64_CHARS and _HEX.issuperset(text):
        return f"urn:dev:mac:{text}"
    return ""
