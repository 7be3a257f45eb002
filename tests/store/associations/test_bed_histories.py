"""200 seeded histories of a ward: no value is charted to a patient who was not at the device.

What is counted is in `world.py`: reads in the middle of a history and one at its end. A monitor
that signs its state is never charted wrongly at any of these; one that says nothing (legacy, behind
a gateway) is judged at the end, when all ADT has come - until then it is as late as ADT.
"""

from collections.abc import Callable
from typing import Any

import pytest

from asepsis.hub.registry.associations import merges, movements, settle, sightings

from .conftest import Ward
from .hubs import SceneHub, StoreHub
from .ward_life import WardLife
from .world import SECOND_NS, HubFace, Tally, World

START_S = 1_800_000_000


def play(
    seed: int, hub: HubFace, ward: str = "ICU", *, names: bool = False
) -> tuple[Tally, list[str]]:
    world = World(hub, seed, ward=ward, start_s=START_S)
    return WardLife(world, names=names).play(), world.findings


def play_all(seeds: range, *, names: bool = False) -> tuple[Tally, list[str]]:
    tally, findings = Tally(), list[str]()
    for seed in seeds:
        one, found = play(seed, SceneHub("ICU"), names=names)
        tally.add(one)
        findings += found
    return tally, findings


@pytest.mark.slow
def test_no_value_is_charted_to_the_wrong_patient(
    record_property: Callable[[str, object], None],
) -> None:
    tally, findings = play_all(range(200))
    record_property("right, unassigned, wrong, wrong for now", str(tally))
    assert tally.wrong == 0, findings[:3]
    # The rules must not be safe by charting nothing.
    assert tally.right > 2 * tally.unassigned
    assert tally.right + tally.unassigned > 100_000
    assert tally.wrong_for_now < tally.right / 500


@pytest.mark.slow
def test_merges_new_numbers_and_moved_visits_chart_no_value_to_the_wrong_patient(
    record_property: Callable[[str, object], None],
) -> None:
    tally, findings = play_all(range(200), names=True)
    record_property("right, unassigned, wrong, wrong for now", str(tally))
    assert tally.wrong == 0, findings[:3]
    assert tally.right > 2 * tally.unassigned
    assert tally.right + tally.unassigned > 100_000


BROKEN: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a patient who is taken off keeps the device": (sightings, "_cut", lambda *_: None),
    "who leaves keeps the device": (movements, "_leave", lambda *_, **__: None),
    "another patient in the bed ends nothing": (settle, "_cut_contradicted", lambda *_: None),
    "the device is not asked": (settle, "_speaks_against", lambda *_: False),
    "a cancelled admission stays": (movements, "_void", lambda *_: None),
}
BROKEN_NAMES: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a moved visit stays where it was": (merges, "move_visit", lambda *_, **__: None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BROKEN, *BROKEN_NAMES])
def test_the_histories_find_a_broken_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a count of 0 that a broken rule would also give proves nothing."""
    names = name in BROKEN_NAMES
    module, function, broken = (BROKEN_NAMES if names else BROKEN)[name]
    monkeypatch.setattr(module, function, broken)
    for seed in range(200):
        try:
            tally, _ = play(seed, SceneHub("ICU"), names=names)
        except AssertionError:
            return  # Two patients on one device at one time.
        if tally.wrong:
            return
    pytest.fail("no history noticed")


@pytest.mark.slow
def test_histories_on_the_database_with_a_restart_in_the_middle(ward: Ward) -> None:
    total = Tally()
    for seed, names in [*((seed, False) for seed in range(4)), (4, True), (5, True)]:
        ward.clock.now_ns = START_S * SECOND_NS
        hub = StoreHub(ward, f"W{seed}")
        tally, findings = play(seed, hub, f"W{seed}", names=names)
        assert tally.wrong == 0, findings[:3]
        same, _ = play(seed, SceneHub("ICU"), names=names)
        assert tally == same, "the database decides as the rules do"
        total.add(tally)
    assert total.right > 0
