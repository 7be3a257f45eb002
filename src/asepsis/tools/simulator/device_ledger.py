"""The ledger of a device in compartments: what it signed, and what the hub answered.

What was signed is read from the sealed ring of the origin compartment, as one more reader beside
the network compartment. So a network compartment that is broken into cannot write this ledger: it
can only claim that something was acknowledged, and only of a record that was really signed.
"""

import os
from typing import Final

from asepsis.core.wire import frames, origin_peek
from asepsis.edge.device.rings import Feed
from asepsis.edge.device.signing import Signed
from asepsis.edge.sandbox.ring import RingReader
from asepsis.edge.uplink.outgoing import Fate
from asepsis.tools.simulator import ledger

_MARKS: Final = {
    Fate.ACKNOWLEDGED: ledger.ACKED,
    Fate.ACKNOWLEDGED_LATE: ledger.ACKED_LATE,
    Fate.REFUSED: ledger.REFUSED,
}
ORIGIN: Final = "origin"
WAVEFORM: Final = "waveform"


class DeviceLedger:
    """Keeps the ledger of one device.

    Args:
        writer: The ledger.
        name: The device's name.

    Resource handling: maps a ring until `close`, which also closes the writer.
    """

    def __init__(self, writer: ledger.LedgerWriter, *, name: str) -> None:
        self._writer = writer
        self._name = name
        self._feed: Feed | None = None
        self._reader: RingReader | None = None
        self._open: dict[tuple[str, int, int], ledger.Key] = {}
        self._spooled: set[tuple[str, int, int]] = set()
        self.lost = 0

    @property
    def spooled(self) -> int:
        """How many records wait in the device's spool, as far as its network compartment says."""
        return len(self._spooled)

    def follow(self, feed: Feed | None) -> None:
        """Write down what was signed since the last call; `feed` is the newest signed ring."""
        if feed is not None and feed is not self._feed:
            self._read()  # The last words of the origin compartment before this one.
            self._let_go()
            self._reader = RingReader(os.dup(feed.readable))
            self._feed = feed
        self._read()

    def note(self, account: str, epoch: int, sequence: int, fate: str) -> None:
        """Write down what became of a record; what was never signed is not believed."""
        found = (account, epoch, sequence)
        key = self._open.get(found)
        if key is None:
            return
        if fate == Fate.SPOOLED.value:
            self._spooled.add(found)
            return
        self._spooled.discard(found)
        mark = _MARKS.get(Fate(fate))
        if mark:
            self._writer.write(mark, key)
        del self._open[found]

    def close(self) -> None:
        """Read what is left and let go."""
        self._read()
        self._let_go()
        self._writer.close()

    def _let_go(self) -> None:
        if self._reader:
            self._reader.close()
        self._reader = None

    def _read(self) -> None:
        while self._reader:
            chunk = self._reader.read()
            self.lost += chunk.lost
            if not chunk.records:
                return
            for _, payload in chunk.records:
                # What was denied goes to the hub's audit log, not to those who subscribe.
                if payload[0] != Signed.SECURITY:
                    self._made(payload[0] == Signed.PACKET, payload[1:])

    def _made(self, packet: bool, body: bytes) -> None:  # noqa: FBT001 - one of two kinds
        account = WAVEFORM if packet else ORIGIN
        header = (frames if packet else origin_peek).peek_header(body)
        key = ledger.key_of(account, self._name, header.epoch, header.sequence, body)
        self._open[account, header.epoch, header.sequence] = key
        self._writer.write(ledger.MADE, key)
