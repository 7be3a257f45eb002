"""What a device sends: one record, what became of it, and what is under way."""

import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

NUMBER: Final = struct.Struct(">QQ")
"""Epoch and sequence before a spooled body that does not say them."""


class Fate(Enum):
    """What became of a record."""

    ACKNOWLEDGED = "acknowledged"
    ACKNOWLEDGED_LATE = "acknowledged-late"
    SPOOLED = "spooled"
    REFUSED = "refused"
    LOST_SPOOL_FULL = "lost-spool-full"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record on its way.

    Attributes:
        media_type: Media type of the body.
        sequence: Sequence in its account; the account is named by the media type.
        epoch: Boot epoch.
        body: The bytes.
        numbered: Whether the number goes along in headers, because the body does not say it.
        source: Whom it is about, of a sender that speaks for several; else empty. That the hub does
            not take it from this sender says nothing about the others then.
    """

    media_type: str
    epoch: int
    sequence: int
    body: bytes
    numbered: bool = False
    source: str = ""

    @property
    def account(self) -> str:
        """What its sequence counts in; what headers number has one account (REQ-OBS-008)."""
        if self.numbered:
            return "numbered"
        return f"{self.media_type} {self.source}" if self.source else self.media_type

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of its request (REQ-OBS-008)."""
        headers = {"Content-Type": self.media_type}
        if self.numbered:
            headers |= {"Asepsis-Epoch": str(self.epoch), "Asepsis-Sequence": str(self.sequence)}
        return headers

    @property
    def kept(self) -> bytes:
        """The bytes as they wait in the spool: a number that the body does not say goes first."""
        return NUMBER.pack(self.epoch, self.sequence) + self.body if self.numbered else self.body


class InFlight:
    """Which records the live lanes still hold, so that the drain never overtakes one of them.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[tuple[str, int, int]] = set()

    def add(self, record: Outgoing) -> None:
        """A live lane took the record."""
        with self._lock:
            self._held.add((record.account, record.epoch, record.sequence))

    def remove(self, record: Outgoing) -> None:
        """The record is acknowledged, refused or in the spool."""
        with self._lock:
            self._held.discard((record.account, record.epoch, record.sequence))

    @property
    def holds(self) -> bool:
        """Whether there is any."""
        with self._lock:
            return bool(self._held)

    def oldest(self) -> dict[str, tuple[int, int]]:
        """Return the lowest epoch and sequence held of each account."""
        with self._lock:
            found: dict[str, tuple[int, int]] = {}
            for media, epoch, sequence in self._held:
                found[media] = min(found.get(media, (epoch, sequence)), (epoch, sequence))
            return found
