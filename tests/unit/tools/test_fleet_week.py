"""A simulated week of a fleet: every invariant is checked in every step, for several seeds."""

import pytest

from asepsis.core.errors import SafetyRefusal
from asepsis.hub.fleet.campaigns.model import Budget
from asepsis.tools.simulator import fleet_week
from asepsis.tools.simulator.fleet_week import AT_ONCE_MAX, simulate_week


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_week_breaks_no_invariant(seed: int) -> None:
    week = simulate_week(600, seed=seed)
    assert week.halted
    assert week.verified > 200
    assert week.most_away == AT_ONCE_MAX
    assert week.checks > 5_000


def test_the_checker_sees_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: budgets that are wider than what was promised are found."""
    wide = Budget(at_once_max=AT_ONCE_MAX + 2)
    monkeypatch.setattr(fleet_week, "Budget", lambda **_: wide)
    with pytest.raises(SafetyRefusal, match="too many away"):
        simulate_week(600, seed=1)
