"""The list of messages that only one gateway's disk has, kept by the other gateway of the pair.

One line of JSON each, appended and durable before the sender of the message hears "accepted".
Names of senders, control ids and times stand in it, and a hash of the bytes by which the message is
known again when its sender repeats it; nothing else of a message.

Source: REQ-PAIR-006.
"""

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from asepsis.core.errors import BackPressure, Unavailable

BYTES_MAX: Final = 64 << 20
ENTRIES_MAX: Final = 4_096
"""Entries of one frame."""
HASH_BYTES: Final = 16
_Field = Annotated[str, msgspec.Meta(max_length=1_024)]
Gaps = Sequence[tuple[int, int]]


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One message.

    Attributes:
        application: MSH-3.
        facility: MSH-4.
        control: MSH-10.
        received_ns: Wall time of arrival, nanoseconds since 1970.
        epoch: Boot of the gateway that has it.
        sequence: Its group in that boot.
        digest: SHA-256 of the bytes, the first 16, hexadecimal.
    """

    application: _Field
    facility: _Field
    control: _Field
    received_ns: int
    epoch: int
    sequence: int
    digest: Annotated[str, msgspec.Meta(min_length=32, max_length=32)]


_DECODER: Final = msgspec.json.Decoder(Entry)


def digest_of(body: bytes) -> str:
    """Return the hash by which a message is known again."""
    return hashlib.sha256(body).digest()[:HASH_BYTES].hex()


class RiskList:
    """The list on disk; one process writes it.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entries: Sequence[Entry]) -> None:
        """Make entries durable.

        Raises:
            BackPressure: The list is full.
            Unavailable: The disk refuses.
        """
        body = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        try:
            with self._path.open("ab", buffering=0) as file:
                if file.tell() + len(body) > BYTES_MAX:
                    raise BackPressure("the list of messages at risk is full")
                file.write(body)
                os.fdatasync(file.fileno())
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error

    def read(self) -> list[Entry]:
        """Return every entry, in order, each once; half a line at the end was never promised."""
        return list({(e.epoch, e.sequence, e.digest): e for e in _lines(self._path)}.values())

    def keep(self, entries: Sequence[Entry]) -> None:
        """Replace the list by what is still at risk.

        Raises:
            Unavailable: The disk refuses; the longer list stays.
        """
        aside = self._path.with_suffix(".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                aside.unlink()
            RiskList(aside).add(entries)
            aside.replace(self._path)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error


def _lines(path: Path) -> Iterator[Entry]:
    try:
        with path.open("rb") as file:
            text = file.read(BYTES_MAX)
    except FileNotFoundError:
        return
    for line in text.splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            yield _DECODER.decode(line)


def at_risk(
    entries: Sequence[Entry],
    *,
    received: Mapping[int, tuple[int, Gaps]],
    again: Collection[str],
) -> list[Entry]:
    """Return what nobody but the other gateway has.

    Args:
        entries: The list.
        received: What the hub has: by boot the highest number and the gaps below it.
        again: Hashes of messages that their senders brought once more, to this gateway.
    """
    return [
        entry
        for entry in entries
        if entry.digest not in again and not _has(received, entry.epoch, entry.sequence)
    ]


def _has(received: Mapping[int, tuple[int, Gaps]], epoch: int, sequence: int) -> bool:
    highest, gaps = received.get(epoch, (0, ()))
    return sequence <= highest and not any(first <= sequence <= last for first, last in gaps)


def read_again(path: Path) -> frozenset[str]:
    """Return the hashes of what came again, as the keeper wrote them."""
    try:
        return frozenset(path.read_text("ascii").split())
    except FileNotFoundError:
        return frozenset()
