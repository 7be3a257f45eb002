"""The cipher that a journal asks for; `core.trust` has the real ones.

Every body is sealed under a key of its scope and day, and bound to everything in its row but the
position. A scope is a lane, or the part of the late lane that lies in the waveform file.
"""

from typing import Final, Protocol

from asepsis.core.journal.ports import Append

DAY_NS: Final = 86_400 * 10**9


class RecordCipher(Protocol):
    """Authenticated encryption with one key per scope and day; thread-safe."""

    def seal(self, scope: str, day: int, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt; the day's key is made, and durable, before this returns.

        Raises:
            BackPressure: No space for a new key.
        """
        ...

    def open(self, scope: str, day: int, aad: bytes, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            SignatureInvalid: The text or what it is bound to was changed.
            NotFound: The day's key does not exist, or no longer.
        """
        ...

    def destroy(self, scope: str, day: int) -> None:
        """Forget a day's key for ever; absent keys are no error."""
        ...


def day_of(received_at_ns: int) -> int:
    """Return the UTC day of a moment, days since 1970."""
    return received_at_ns // DAY_NS


def record_aad(record: Append) -> bytes:
    """Return what a sealed body is bound to: the whole row, position and body aside.

    Producer and kind hold printable characters only, so NUL separates without doubt.
    """
    text = (
        f"asepsis journal 1\0{record.lane}\0{record.account}\0{record.producer}\0"
        f"{record.kind}\0{record.epoch}\0{record.sequence}\0{record.received_at_ns}\0"
    ).encode()
    link = record.link
    return text if link is None else text + link.digest + (link.previous or b"")
