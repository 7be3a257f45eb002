"""The log of what a device changed since it started: each line was extended into one register.

A start measures kernel and root. What is replaced later (a compartment, a live patch, a policy) is
measured by whoever replaces it, before it runs: a line is written and its hash is extended into
`PCR_RUNTIME`. Whoever replays the log must find the register's value; a line that is left out,
changed or added does not.

Source: TCG PC Client Platform Firmware Profile, clause 10 (event log and replay); UAPI TPM2 PCR
registry (13: extension images).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, cast

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.trust.tpm import DIGEST_BYTES, extend

PCR_RUNTIME: Final = 13
"""Register that lines are extended into; no reset but a restart of the machine empties it."""
LINES_MAX: Final = 1_024
"""Changes of one start; a device is restarted long before."""
WORD_CHARS_MAX: Final = 120
ZERO: Final = bytes(DIGEST_BYTES)
_DOMAIN: Final = b"asepsis-measured-1\0"


class Change(StrEnum):
    """What was measured."""

    START = "start"
    """From here on every change is measured; always the first line, by process 1."""
    SWAP = "swap"
    """A compartment runs another version."""
    PATCH = "patch"
    """A live patch of the kernel was loaded."""
    UNPATCH = "unpatch"
    """A live patch was withdrawn."""
    POLICY = "policy"
    """A policy of mandatory access control was loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measured change.

    Attributes:
        change: What was done.
        subject: To what: compartment, module or policy.
        version: Version that runs now.
        sha256: Hash of its content, 64 lower-case hexadecimal digits.
    """

    change: Change
    subject: str
    version: str
    sha256: str

    def __post_init__(self) -> None:
        """Check the words.

        Raises:
            InputError: A word is empty, too long or not printable; or the hash is none.
        """
        for word in (self.subject, self.version):
            if not (1 <= len(word) <= WORD_CHARS_MAX and word.isprintable()):
                raise InputError(f"a word of the log has 1 to {WORD_CHARS_MAX} characters")
        if not is_digest(self.sha256):
            raise InputError("a hash of the log has 64 lower-case hexadecimal digits")

    @property
    def digest(self) -> bytes:
        """What is extended: SHA-256 over the fields, each closed by a zero byte."""
        words = (self.change.value, self.subject, self.version, self.sha256)
        content = _DOMAIN + b"".join(word.encode() + b"\0" for word in words)
        return hashlib.sha256(content).digest()


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 as it is written here."""
    return len(text) == 2 * DIGEST_BYTES and not set(text) - set("0123456789abcdef")


def replay(lines: Iterable[Line]) -> bytes:
    """Return the value that the register must have."""
    value = ZERO
    for line in lines:
        value = extend(value, line.digest)
    return value


def write_line(line: Line) -> bytes:
    """Return a line as it is kept and sent: one JSON object."""
    return json.dumps(asdict(line), sort_keys=True, separators=(",", ":")).encode()


def read_lines(documents: Sequence[object]) -> tuple[Line, ...]:
    """Read lines from what JSON held.

    Raises:
        InputError: A line with other fields or words.
        LimitExceeded: More than `LINES_MAX` lines.
    """
    if len(documents) > LINES_MAX:
        raise LimitExceeded(f"a log has at most {LINES_MAX} lines")
    return tuple(_line(document) for document in documents)


def _line(document: object) -> Line:
    if not isinstance(document, dict):
        raise InputError("a line of the log is an object")
    fields = cast("dict[str, Any]", document)
    if set(fields) != {"change", "subject", "version", "sha256"}:
        raise InputError("a line of the log has change, subject, version and sha256")
    if not all(isinstance(value, str) for value in fields.values()):
        raise InputError("a line of the log holds words")
    try:
        change = Change(fields["change"])
    except ValueError as error:
        raise InputError("the log names a change that is not known") from error
    return Line(
        change=change,
        subject=fields["subject"],
        version=fields["version"],
        sha256=fields["sha256"],
    )
