"""Why a device that delivers nothing is not idle, as its critical compartment says it."""

import pytest

from asepsis.edge.device import models
from asepsis.edge.device.occupied import EVERYTHING, Occupied, read_occupied
from asepsis.edge.device.source_pump import KEEP_OPEN_ML_PER_H, Infusion, SimulatedPump

EPISODES = [
    ("paused", Occupied.INFUSION_PAUSED, True),
    ("delayed", Occupied.INFUSION_DELAYED, False),
    ("keep-vein-open", Occupied.KEEP_VEIN_OPEN, True),
    ("channel-attached", Occupied.CHANNEL_ATTACHED, False),
]


@pytest.mark.parametrize(("key", "why", "attached"), EPISODES)
def test_a_pump_that_waits_or_rests_is_occupied(key: str, why: Occupied, *, attached: bool) -> None:
    pump = SimulatedPump(1)
    assert pump.occupied == frozenset()
    assert pump.stage(key)
    assert pump.occupied == {why}
    assert pump.attached is attached
    pump.stage(Infusion.DISCONNECTED.value)
    assert pump.occupied == frozenset()


def test_what_keeps_a_vein_open_flows_slowly_and_what_is_paused_not_at_all() -> None:
    pump = SimulatedPump(1)
    pump.stage("keep-vein-open")
    assert pump.values()[models.INFUSION_RATE.handle] == KEEP_OPEN_ML_PER_H
    pump.stage("paused")
    before = pump.values()[models.VOLUME_INFUSED.handle]
    pump.samples()
    assert pump.values()[models.INFUSION_RATE.handle] == 0.0
    assert pump.values()[models.VOLUME_INFUSED.handle] == before


@pytest.mark.parametrize("said", [None, "transport", {"transport": 1}, ["transport", "asleep"]])
def test_what_is_not_understood_is_not_idle(said: object) -> None:
    assert read_occupied(said) == EVERYTHING


def test_known_words_are_read() -> None:
    assert read_occupied([]) == frozenset()
    assert read_occupied(["transport"]) == {Occupied.TRANSPORT}
