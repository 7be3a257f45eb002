"""The supervisor's side of a ring: one writer after another, and what readers are handed."""

import os
import socket
from dataclasses import dataclass

from asepsis.core.errors import Unavailable
from asepsis.edge.sandbox import domains, ring
from asepsis.edge.sandbox.ring import RingReader
from asepsis.edge.sandbox.ring_layout import Geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A sealed ring that readers may have.

    Attributes:
        epoch: Epoch of its writer.
        readable: Read-only descriptor.
        wake: Receiving end of its wake-up line.
    """

    epoch: int
    readable: int
    wake: socket.socket

    def handed(self) -> dict[str, int]:
        """Return the descriptors that a reader gets; they stay ours."""
        return {"ring": self.readable, "wake": self.wake.fileno()}

    def close(self) -> None:
        """Let go; readers keep what they mapped."""
        os.close(self.readable)
        self.wake.close()


class RingOwner:
    """Makes a new ring for every start of its writer and keeps the last two.

    Args:
        name: Name of the memory file.
        geometry: Size.

    Resource handling: holds descriptors until `close`.
    """

    def __init__(self, name: str, *, geometry: Geometry) -> None:
        self._name = name
        self._geometry = geometry
        self._epoch = 0
        self._pending: tuple[int, socket.socket, socket.socket] | None = None
        self.feed: Feed | None = None
        self.previous: Feed | None = None

    @property
    def epoch(self) -> int:
        """Epoch of the newest writer."""
        return self._epoch

    def begin(self) -> tuple[dict[str, int], dict[str, int]]:
        """Make a ring for a new writer.

        Returns:
            Descriptors for it (`ring`, `wake`), which stay ours, and values (`epoch`, `first`).
            Numbers go on where the last writer stopped, so that they are unique on this boot.
        """
        self._drop_pending()
        self._epoch += 1
        descriptor = ring.create(self._name, geometry=self._geometry)
        domains.label(descriptor, "ring", self._name)
        with domains.sockets_as("wake", self._name):
            sender, receiver = ring.wake_pair()
        domains.label(receiver.fileno(), "woken", self._name)
        self._pending = (descriptor, sender, receiver)
        return {"ring": descriptor, "wake": sender.fileno()}, {
            "epoch": self._epoch,
            "first": self._head() + 1,
        }

    def mapped(self) -> Feed:
        """The writer has mapped it: seal it, and give it to readers."""
        if self._pending is None:
            raise AssertionError("a ring is mapped that was never made")
        descriptor, sender, receiver = self._pending
        self._pending = None
        readable = ring.seal(descriptor)
        os.close(descriptor)
        sender.close()
        if self.previous:
            self.previous.close()
        self.previous = self.feed
        self.feed = Feed(epoch=self._epoch, readable=readable, wake=receiver)
        return self.feed

    def oldest(self) -> Feed:
        """Return the ring that a new reader starts with: the one before the last, if there is one.

        Raises:
            Unavailable: No writer has mapped one yet.
        """
        feed = self.previous or self.feed
        if feed is None:
            raise Unavailable("the ring is not there yet")
        return feed

    @property
    def waiting(self) -> bool:
        """Whether a writer was given a ring that it has not mapped yet."""
        return self._pending is not None

    def close(self) -> None:
        """Let go of everything."""
        self._drop_pending()
        for feed in (self.feed, self.previous):
            if feed:
                feed.close()
        self.feed = self.previous = None

    def _head(self) -> int:
        if self.feed is None:
            return 0
        reader = RingReader(os.dup(self.feed.readable))
        try:
            return reader.head
        finally:
            reader.close()

    def _drop_pending(self) -> None:
        if self._pending:
            descriptor, sender, receiver = self._pending
            os.close(descriptor)
            sender.close()
            receiver.close()
            self._pending = None
