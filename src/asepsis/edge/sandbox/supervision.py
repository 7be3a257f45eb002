"""What a supervisor does with one compartment, as a table. Pure.

One process serves; at most one more of the same compartment stands by beside it: a *spare* of the
same version, ready to take over when the serving one falls, or another version that has to prove
itself first. Nothing takes over before its self-tests are reported, and nothing that
serves is ended before there is something to take over.

Source: IEC 62304:2006+A1:2015, 5.3.5 (segregation); design of the device, "Compartment swap".
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Phase(Enum):
    """Where one compartment stands."""

    DOWN = "down"
    """Nothing runs; it waits for its time."""
    STARTING = "starting"
    """One was started and has not proved itself yet."""
    SERVING = "serving"
    """One serves alone."""
    WARMING = "warming"
    """One serves, another gets ready beside it."""
    READY = "ready"
    """One serves, another stands by."""
    HANDING_OVER = "handing over"
    """The serving one was told to let go; another stands by."""
    TAKING_OVER = "taking over"
    """The one that stood by was told to serve and has not proved it yet."""
    ENDING = "ending"
    """The serving one was told to let go; nothing stands by, a start follows at once."""


class Happened(Enum):
    """What happened to it."""

    DUE = "due"
    """Its time to start has come, and what it reads is there."""
    PROVED = "proved"
    """The serving one has reported every self-test."""
    STEADY = "steady"
    """The serving one has served for the time of its trial."""
    FAILED = "failed"
    """The serving one ended, hung or talked nonsense."""
    RELEASED = "released"
    """The serving one, told to let go, has; or its time for that is over."""
    WANTED = "wanted"
    """Another one shall stand by: a spare is due, or a new version was asked for."""
    STANDBY_PROVED = "standby proved"
    """The one beside it has reported every self-test that needs no service."""
    STANDBY_FAILED = "standby failed"
    """The one beside it ended, hung or talked nonsense."""
    SWAP = "swap"
    """The one that stands by shall take over."""
    REPLACE = "replace"
    """A new version shall start in the place of the serving one, with a gap."""


class Act(Enum):
    """What the supervisor does then, in this order."""

    START = "start"
    WARM = "warm"
    DROP_STANDBY = "drop standby"
    REFUSE = "refuse"
    """Tell that the one beside it failed; the serving one goes on."""
    RELEASE = "release"
    """Tell the serving one to let go."""
    PROMOTE = "promote"
    """End what is left of the serving one, and let the other serve."""
    BACK_OFF = "back off"
    """End what is left, back to the confirmed version, wait, longer after every failure."""
    AT_ONCE = "at once"
    """End what is left and start without a wait."""
    CONFIRM = "confirm"
    """The version that serves is the confirmed one from now on; failures are forgiven."""


_P, _H, _A = Phase, Happened, Act
TABLE: Final[Mapping[tuple[Phase, Happened], tuple[Phase, tuple[Act, ...]]]] = {
    (_P.DOWN, _H.DUE): (_P.STARTING, (_A.START,)),
    (_P.STARTING, _H.PROVED): (_P.SERVING, ()),
    (_P.STARTING, _H.FAILED): (_P.DOWN, (_A.BACK_OFF,)),
    (_P.SERVING, _H.STEADY): (_P.SERVING, (_A.CONFIRM,)),
    (_P.SERVING, _H.FAILED): (_P.DOWN, (_A.BACK_OFF,)),
    (_P.SERVING, _H.WANTED): (_P.WARMING, (_A.WARM,)),
    (_P.SERVING, _H.REPLACE): (_P.ENDING, (_A.RELEASE,)),
    (_P.WARMING, _H.STEADY): (_P.WARMING, (_A.CONFIRM,)),
    (_P.WARMING, _H.WANTED): (_P.WARMING, (_A.DROP_STANDBY, _A.WARM)),
    (_P.WARMING, _H.STANDBY_PROVED): (_P.READY, ()),
    (_P.WARMING, _H.STANDBY_FAILED): (_P.SERVING, (_A.REFUSE,)),
    # It is not known to work yet: what is known to work starts anew.
    (_P.WARMING, _H.FAILED): (_P.DOWN, (_A.DROP_STANDBY, _A.BACK_OFF)),
    (_P.READY, _H.STEADY): (_P.READY, (_A.CONFIRM,)),
    (_P.READY, _H.WANTED): (_P.WARMING, (_A.DROP_STANDBY, _A.WARM)),
    (_P.READY, _H.STANDBY_FAILED): (_P.SERVING, (_A.REFUSE,)),
    (_P.READY, _H.SWAP): (_P.HANDING_OVER, (_A.RELEASE,)),
    (_P.READY, _H.FAILED): (_P.TAKING_OVER, (_A.PROMOTE,)),
    (_P.HANDING_OVER, _H.RELEASED): (_P.TAKING_OVER, (_A.PROMOTE,)),
    (_P.HANDING_OVER, _H.FAILED): (_P.TAKING_OVER, (_A.PROMOTE,)),
    (_P.HANDING_OVER, _H.STANDBY_FAILED): (_P.ENDING, (_A.REFUSE,)),
    (_P.TAKING_OVER, _H.PROVED): (_P.SERVING, ()),
    (_P.TAKING_OVER, _H.FAILED): (_P.DOWN, (_A.BACK_OFF,)),
    (_P.ENDING, _H.RELEASED): (_P.DOWN, (_A.AT_ONCE,)),
    (_P.ENDING, _H.FAILED): (_P.DOWN, (_A.AT_ONCE,)),
}
"""What the table does not name changes nothing."""
SERVED: Final = frozenset({Phase.SERVING, Phase.WARMING, Phase.READY})
"""Phases in which one serves that has proved itself."""
RUNNING: Final = frozenset(Phase) - {Phase.DOWN}
"""Phases in which a process has the compartment's place."""
STANDING_BY: Final = frozenset({Phase.WARMING, Phase.READY, Phase.HANDING_OVER})
"""Phases in which another process is beside it."""


def step(phase: Phase, happened: Happened) -> tuple[Phase, tuple[Act, ...]]:
    """Return the next phase and what to do."""
    return TABLE.get((phase, happened), (phase, ()))
