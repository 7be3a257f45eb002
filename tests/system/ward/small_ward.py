"""A ward of one new and one legacy monitor, with a live view and a subscriber, to be tormented."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from asepsis.tools.simulator import cast, ledger
from asepsis.tools.simulator.acts import ledgers
from asepsis.tools.simulator.stage import Setting, Stage
from asepsis.tools.simulator.summary import UNRENEWED_S_MAX

NEW = cast.PLAYERS[0]
LEGACY = next(player for player in cast.PLAYERS if player.legacy)
PLAYERS = (NEW, LEGACY)
LIVE_S = 110.0
BLANK_S = 10.0
"""A bed shows that it has no data at most so long after the last value."""


class SmallWard(Stage):
    """A stage with two devices."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        super().__init__(folder, tell=lambda _headline, _sentence: None, setting=setting)

    def until_live(self, *, timeout_s: float = LIVE_S) -> float:
        """Wait until both devices are live; return how long it took."""
        return self.view.until(
            lambda: all(self.view.live(name) for name in self.watched), "live", timeout_s=timeout_s
        )

    def until_blank(self, *names: str, timeout_s: float = BLANK_S) -> float:
        """Wait until no value of these devices, or of any, is on the screen."""
        return self.view.until(
            lambda: not any(self.view.live(name) for name in names or self.watched),
            "blank",
            timeout_s=timeout_s,
        )

    def acknowledged(self, player: cast.Player) -> int:
        """Return how many records of a device were acknowledged so far."""
        book = self.folder / f"{player.key}.ledger"
        return len(ledger.read([book], ledger.ACKED, ledger.ACKED_LATE))

    def until_acknowledged(self, player: cast.Player, more: int, *, timeout_s: float = 30) -> None:
        """Wait until so many more records of a device are acknowledged."""
        wanted = self.acknowledged(player) + more
        deadline = time.monotonic() + timeout_s
        while self.acknowledged(player) < wanted:
            assert time.monotonic() < deadline, f"{player.key} is not acknowledged"
            time.sleep(0.2)

    def conclude(self) -> None:
        """Stop everybody and hold the ledgers and the witness to their promises."""
        ledgers.play(self)
        summary, witness = self.summary, self.view.witness
        assert summary.failures == []
        assert (summary.lost, summary.duplicated, summary.foreign) == (0, 0, 0)
        assert summary.messages > 0
        assert summary.acknowledged > summary.messages
        assert witness.unrenewed_s_max < UNRENEWED_S_MAX, "a stale value stood as live"


@contextlib.contextmanager
def running(folder: Path, setting: Setting | None = None) -> Iterator[SmallWard]:
    """Run a ward whose two devices are live."""
    ward = SmallWard(folder, setting or Setting(players=PLAYERS))
    with contextlib.closing(ward):
        ward.open_hub()
        ward.open_ward()
        ward.until_live()
        yield ward
