"""The story of `asepsis demo`: a small ward lives, is cut off, attacked, and loses nothing.

What was lost or came twice is a difference between the ledgers of separate processes, never a
counter of the hub; what was shown is what a live view client witnessed.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from asepsis.tools.simulator.acts import (
    alarm,
    attack,
    ledgers,
    legacy,
    move,
    opening,
    outage,
    revocation,
)
from asepsis.tools.simulator.stage import Setting, Show, Stage, Tell
from asepsis.tools.simulator.summary import Summary

Act = Callable[[Stage], None]
ACTS: Final[tuple[Act, ...]] = (
    move.play,
    alarm.play,
    alarm.end,
    legacy.play,
    outage.play,
    outage.crash,
    attack.play,
    revocation.play,
)


class Story:
    """Plays once.

    Args:
        folder: Empty folder for everything; the caller removes it.
        seconds: How long the ward lives in peace, spread before, between and after the acts.
        tell: Told each step.
        drop: Records that the subscriber leaves out of its ledger on purpose.
        acts: What happens between the opening and the comparison of the ledgers.
        linger: Ends the story when it is set, at the earliest after the act that is being played;
            None ends it after the last one.
        show: Shown tables; None where nobody looks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float,
        tell: Tell,
        drop: int = 0,
        acts: Sequence[Act] = ACTS,
        linger: threading.Event | None = None,
        show: Show | None = None,
    ) -> None:
        self._stage = Stage(folder, tell=tell, setting=Setting(drop=drop), show=show)
        self._peace_s = seconds / (len(acts) + 1)
        self._acts = acts
        self._linger = linger

    def play(self) -> Summary:
        """Play the story and compare the ledgers.

        Raises:
            AsepsisError: The ward did not come to life; logs are in the folder.
        """
        with closing(self._stage):
            opening.play(self._stage)
            self._play_acts()
            if self._linger:
                self._stage.tell("The story is told", "the ward goes on until Ctrl-C")
                self._linger.wait()
            ledgers.play(self._stage)
        return self._stage.summary

    def _play_acts(self) -> None:
        """Play until the last act, or until somebody wants it to end."""
        pause = self._linger or threading.Event()
        for act in self._acts:
            if pause.wait(self._peace_s):
                return
            act(self._stage)
        pause.wait(self._peace_s)
