"""Calendars of the hospital reach a device as windows that the director signs for it."""

from typing import Any

from asepsis.core.trust.director import WINDOWS_MAX
from asepsis.hub.fleet.campaigns.opening import NEVER, signed_windows

ALWAYS_OPEN = """
name = "mornings"
zone = "Europe/Berlin"
[[windows]]
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
start = 00:00:00
end = 00:00:00
"""
BLACKED_OUT = (
    ALWAYS_OPEN
    + """
[[blackouts]]
start = 2000-01-01T00:00:00
end = 2100-01-01T00:00:00
reason = "winter"
"""
)


def windows(house: Any) -> dict[Any, Any]:
    names = [house.name_of(number) for number in range(4)]
    with house.store.reading() as connection:
        return signed_windows(connection, names, now_ns=house.store.clock())


def test_only_who_holds_a_slot_and_has_calendars_gets_windows(house: Any) -> None:
    """Goal: of ward and campaign, worked out for real time, for the artefact of the campaign."""
    house.run(house.fleet.put_calendar(ALWAYS_OPEN, person="olga"))
    house.began()
    house.step()
    assert house.slots() == {0}
    assert windows(house) == {}
    house.run(house.fleet.use_calendars("ICU-2", ["mornings"], person="olga"))
    found = windows(house)
    assert found.keys() == {(house.name_of(0), house.new)}
    [spans] = found.values()
    now_s = house.store.clock() // 10**9
    assert 1 <= len(spans) <= WINDOWS_MAX
    assert all(opens < closes for opens, closes in spans)
    assert any(opens <= now_s + 1 < closes for opens, closes in spans)


def test_what_is_open_at_no_time_is_not_open_always(house: Any) -> None:
    house.run(house.fleet.put_calendar(ALWAYS_OPEN, person="olga"))
    house.began()
    house.step()
    house.run(house.fleet.put_calendar(BLACKED_OUT, person="olga"))
    house.run(house.fleet.use_calendars("", ["mornings"], person="olga"))
    assert set(windows(house).values()) == {NEVER}
