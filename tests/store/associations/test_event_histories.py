"""200 seeded histories in which ADT uses every event that is handled, repeated and in disorder.

What is true is the world's (`world.py`): it knows no rule of the hub, only who was at which device.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from asepsis.hub.registry.associations import movements
from asepsis.hub.registry.associations.rules import EFFECTS, Effect

from .ward_events import CountingHub, FullWardLife
from .world import Tally, World

START_S = 1_800_000_000
HISTORIES = 200


def play(seed: int) -> tuple[Tally, CountingHub, list[str]]:
    hub = CountingHub("ICU")
    world = World(hub, seed, ward="ICU", start_s=START_S)
    return FullWardLife(world, names=True).play(), hub, world.findings


@pytest.mark.slow
def test_no_event_charts_a_value_to_the_wrong_patient(
    record_property: Callable[[str, object], None],
) -> None:
    tally, triggers, findings = Tally(), Counter[str](), list[str]()
    repeated = disordered = 0
    for seed in range(HISTORIES):
        one, hub, found = play(seed)
        tally.add(one)
        triggers.update(hub.triggers)
        repeated += hub.repeated
        disordered += hub.disordered
        findings += found
    record_property("right, unassigned, wrong, wrong for now", str(tally))
    record_property("messages, again, in disorder", f"{triggers.total()} {repeated} {disordered}")
    assert triggers.keys() == EFFECTS.keys()
    assert min(triggers.values()) >= 20, triggers
    assert repeated > triggers.total() // 10
    assert disordered > triggers.total() // 20
    assert tally.wrong == 0, findings[:3]
    assert tally.right > tally.unassigned
    assert tally.right + tally.unassigned > 100_000


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [("A17",), ("A02", "A06", "A07"), ("A45",)])
def test_the_histories_find_an_event_that_is_ignored(
    ignored: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: a count of 0 that a broken table would also give proves nothing.

    An ignored discharge is found by nothing: what the device signs, and who comes next, end it too.
    """
    monkeypatch.setattr(movements, "EFFECTS", {**EFFECTS, **dict.fromkeys(ignored, Effect.UPDATE)})
    for seed in range(HISTORIES):
        try:
            tally, _, _ = play(seed)
        except AssertionError:
            return  # Two patients on one device at one time.
        if tally.wrong:
            return
    pytest.fail("no history noticed")
