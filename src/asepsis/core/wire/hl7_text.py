r"""HL7 v2 text: which character set a message is written in, and its escape sequences.

Escapes are handled on bytes, before decoding, so that one character may be written in several
``\X..\`` sequences, and a delimiter inside an escape never looks like a delimiter.

Source: HL7 v2.8.2 sections 2.7 (escape sequences), 2.14.9.18 (MSH-18) and table 0211.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from asepsis.core.errors import ContentMismatch, InputError, UnsupportedMedia
from asepsis.core.wire.hl7_parts import Delimiters

CODECS: Final = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    "UNICODE UTF-8": "utf-8",
    "KS X 1001": "euc_kr",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 16))},
}
"""MSH-18 (HL7 table 0211) to Python codec: the sets whose bytes below 0x80 are ASCII everywhere.

Left out on purpose: UTF-16 and UTF-32 (no ASCII bytes), GB 18030-2000 and BIG-5 (a second byte may
be ``|``, ``^`` or ``\\``), the JIS, CNS and other ISO 2022 sets (seven-bit bytes change meaning).
"""
ALIASES: Final = {
    "UTF-8": "UNICODE UTF-8",
    "UTF8": "UNICODE UTF-8",
    "UNICODE": "UNICODE UTF-8",
    "US-ASCII": "ASCII",
    "ISO-8859-1": "8859/1",
    "ISO8859-1": "8859/1",
    "ISO-8859-15": "8859/15",
}
"""Names outside table 0211 that senders really use."""
_SPACES_MAX_DIGITS: Final = 2


class CharsetSource(StrEnum):
    """Why a message is read in its character set."""

    DECLARED = "MSH-18"
    ALIAS = "MSH-18, a name outside table 0211"
    MARK = "byte order mark"
    UNDECLARED = "MSH-18 empty: ASCII, and UTF-8 above it"


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """The character set of one message.

    Attributes:
        codec: Name of the Python codec.
        source: What decided it.

    Source: HL7 v2.8.2 section 2.14.9.18 and table 0211.
    """

    codec: str
    source: CharsetSource


@lru_cache(maxsize=256)
def _declared(name: bytes) -> CharacterSet:
    """Look up one value of table 0211 or an alias."""
    text = name.decode("ascii", "replace").strip().upper()
    if not text:
        return CharacterSet("utf-8", CharsetSource.UNDECLARED)
    if text in CODECS:
        return CharacterSet(CODECS[text], CharsetSource.DECLARED)
    if text in ALIASES:
        return CharacterSet(CODECS[ALIASES[text]], CharsetSource.ALIAS)
    raise UnsupportedMedia(
        "MSH-18 names a character set that is not taken",
        hint=f"send one of: {', '.join(sorted(CODECS))}",
    )


def character_set(msh_18: bytes, delimiters: Delimiters, *, marked: bool) -> CharacterSet:
    r"""Return the character set of a message.

    The first repetition of MSH-18 is taken. Alternates (later repetitions) are reached by
    ``\C..\`` and ``\M..\`` only, and a text that uses one is refused when it is read. An empty
    MSH-18 means ASCII; bytes above 0x7F are then read as UTF-8 or not at all, never guessed.

    Args:
        msh_18: Raw MSH-18.
        delimiters: Of the message.
        marked: Whether the message began with the UTF-8 byte order mark.

    Raises:
        UnsupportedMedia: A set that is not taken, such as UTF-16 or BIG-5.
        ContentMismatch: The byte order mark says UTF-8 and MSH-18 says otherwise.

    Source: HL7 v2.8.2 section 2.14.9.18 and table 0211.
    """
    found = _declared(msh_18.split(delimiters.repetition, 1)[0])
    if not marked:
        return found
    if found.codec not in {"ascii", "utf-8"}:
        raise ContentMismatch("byte order mark of UTF-8, but MSH-18 names another character set")
    return CharacterSet("utf-8", CharsetSource.MARK)


@lru_cache(maxsize=64)
def _escape_pattern(escape: bytes) -> re.Pattern[bytes]:
    """Compile the escape sequences known for one escape character; linear on any input."""
    mark = re.escape(escape)
    body = (
        rb"([FSTREPHN]|X(?:[0-9A-Fa-f]{2})++|[CM][0-9A-Fa-f]{4,6}"
        rb"|\.(?:br|ce|fi|nf|(?:sp|sk|in|ti)[+-]?[0-9]{0,%d}))" % _SPACES_MAX_DIGITS
    )
    return re.compile(mark + body + mark)


def _layout(command: bytes) -> bytes:
    """Return plain text for a formatting command: line breaks and spaces, nothing else."""
    name, count = command[1:3], command[3:].lstrip(b"+-")
    times = int(count) if count else 1
    if name in {b"br", b"ce"}:
        return b"\n"
    if name == b"sp":
        return b"\n" * times
    return b" " * times if name == b"sk" else b""


@lru_cache(maxsize=64)
def _single_letters(delimiters: Delimiters) -> dict[bytes, bytes]:
    return {
        b"F": delimiters.field,
        b"S": delimiters.component,
        b"T": delimiters.subcomponent or b"&",
        b"R": delimiters.repetition,
        b"E": delimiters.escape,
        b"P": delimiters.truncation or b"#",
        b"H": b"",  # Highlighting on and off: no place in plain text.
        b"N": b"",
    }


def unescape(leaf: bytes, delimiters: Delimiters) -> bytes:
    r"""Replace the escape sequences of one leaf; unknown sequences stay as they stand.

    Real senders write unescaped paths such as ``C:\temp``; losing their text would be worse than
    keeping a backslash.

    Args:
        leaf: Raw bytes of one subcomponent.
        delimiters: Of the message.

    Returns:
        Bytes in the message's character set.

    Raises:
        UnsupportedMedia: ``\C..\`` or ``\M..\``: text in an alternate character set.

    Source: HL7 v2.8.2 section 2.7.
    """
    if not delimiters.escape or delimiters.escape not in leaf:
        return leaf
    letters = _single_letters(delimiters)

    def replace(match: re.Match[bytes]) -> bytes:
        body = match.group(1)
        if body in letters:
            return letters[body]
        if body[:1] == b"X":
            return bytes.fromhex(body[1:].decode("ascii"))
        if body[:1] == b".":
            return _layout(body)
        raise UnsupportedMedia("text in an alternate character set (escape C or M)")

    return _escape_pattern(delimiters.escape).sub(replace, leaf)


def text_of(leaf: bytes, delimiters: Delimiters, codec: str) -> str:
    """Return the text of one leaf: escapes replaced, bytes decoded strictly.

    Args:
        leaf: Raw bytes of one subcomponent.
        delimiters: Of the message.
        codec: Python codec of the message's character set.

    Raises:
        InputError: The bytes are not valid in that character set.
        UnsupportedMedia: Text in an alternate character set.

    Source: HL7 v2.8.2 sections 2.7 and 2.14.9.18.
    """
    if delimiters.escape and delimiters.escape in leaf:
        leaf = unescape(leaf, delimiters)
    try:
        return leaf.decode(codec)
    except UnicodeDecodeError as error:
        raise InputError(
            f"text is not valid {codec}", hint="the sender must declare its set in MSH-18"
        ) from error


@lru_cache(maxsize=64)
def _escape_table(delimiters: Delimiters) -> dict[int, str]:
    """Build the table for `str.translate`: delimiters and control characters to sequences."""
    mark = delimiters.escape.decode("ascii")
    letters = {
        delimiters.field: "F",
        delimiters.component: "S",
        delimiters.subcomponent: "T",
        delimiters.repetition: "R",
        delimiters.escape: "E",
        delimiters.truncation: "P",
    }
    table = {code: f"{mark}X{code:02X}{mark}" for code in (*range(0x20), 0x7F) if code != 0x09}
    table |= {key[0]: f"{mark}{letter}{mark}" for key, letter in letters.items() if key}
    return table


def escape(text: str, delimiters: Delimiters, codec: str) -> bytes:
    """Return the bytes of one leaf; `text_of` gives `text` back.

    Args:
        text: Any text that the character set can write.
        delimiters: Of the message to be written.
        codec: Python codec of its character set.

    Raises:
        InputError: The set cannot write the text, or the text needs an escape and the delimiters
            have no escape character.

    Source: HL7 v2.8.2 section 2.7.
    """
    if delimiters.escape:
        text = text.translate(_escape_table(delimiters))
    try:
        leaf = text.encode(codec)
    except UnicodeEncodeError as error:
        raise InputError(f"text cannot be written in {codec}") from error
    if not delimiters.escape and _needs_escape(leaf, delimiters):
        raise InputError("text needs an escape, and MSH-2 names no escape character")
    return leaf


def _needs_escape(leaf: bytes, delimiters: Delimiters) -> bool:
    every = (delimiters.field + delimiters.encoding).strip()
    return any(byte in every or (byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in leaf)
