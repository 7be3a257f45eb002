"""What an unsigned source says of its own time, held against the clocks of the hub."""

from dataclasses import dataclass

import pytest

from asepsis.core.errors import Conflict
from asepsis.core.model.lanes import Account
from asepsis.hub.exchange.claimed import CLOCK_NS_MAX, Claim, ClaimedTimes
from asepsis.hub.exchange.window import LAG_NS_MAX, Clocks

S = 1_000_000_000
NOON_NS = 1_790_000_000 * S


@dataclass
class House:
    """A hub whose clocks a test moves, and one source."""

    monotonic_ns: int = 500 * S
    ahead_ns: int = NOON_NS

    def __post_init__(self) -> None:
        clocks = Clocks(lambda: self.monotonic_ns + self.ahead_ns, lambda: self.monotonic_ns)
        self.times = ClaimedTimes(clocks)

    def claim(
        self, *, ago_ns: int = 0, off_ns: int = 0, epoch: int = 1, device: str = "a"
    ) -> Claim:
        """Return what a source says whose clock is off and whose data was made before."""
        made_ns = self.monotonic_ns + NOON_NS - ago_ns + off_ns
        return Claim(
            account=Account.FHIR, producer="p", device=device, epoch=epoch, made_ns=made_ns
        )


def test_what_took_longer_than_usual_is_not_current() -> None:
    """Goal: 4 s more than the quickest, though the clock of the source is off."""
    house = House()
    off_ns = -3 * S
    assert house.times.is_current(house.claim(off_ns=off_ns))
    assert house.times.is_current(house.claim(off_ns=off_ns, ago_ns=LAG_NS_MAX))
    assert not house.times.is_current(house.claim(off_ns=off_ns, ago_ns=LAG_NS_MAX + S))
    assert house.times.is_current(house.claim(off_ns=off_ns))


@pytest.mark.parametrize("off_ns", [CLOCK_NS_MAX + S, -CLOCK_NS_MAX - S])
def test_a_time_that_is_not_of_now_is_not_current(off_ns: int) -> None:
    """Goal: a sender that drains what it kept is found by its first record already."""
    house = House()
    assert not house.times.is_current(house.claim(off_ns=off_ns))
    with pytest.raises(Conflict):
        house.times.require_current(house.claim(off_ns=off_ns))
    assert house.times.is_prompt(house.claim(off_ns=off_ns))


def test_a_clock_that_was_set_is_believed_where_it_agrees() -> None:
    """Goal: nothing looks late for ever because its source's clock was set back to be right."""
    house = House()
    assert house.times.is_prompt(house.claim(off_ns=8 * S))
    assert not house.times.is_prompt(house.claim(ago_ns=5 * S))
    assert house.times.is_prompt(house.claim())
    assert not house.times.is_prompt(house.claim(ago_ns=LAG_NS_MAX + 1))


def test_each_device_and_epoch_is_measured_alone() -> None:
    house = House()
    assert house.times.is_prompt(house.claim(off_ns=9 * S))
    assert house.times.is_prompt(house.claim(device="b", off_ns=-9 * S))
    assert house.times.is_prompt(house.claim(epoch=2, off_ns=-9 * S))
    assert not house.times.is_prompt(house.claim(epoch=1))
    house.times.forget("a")
    assert house.times.is_prompt(house.claim(epoch=1))
