"""What a terminal knows of a ward, and until when."""

from typing import Any

import pytest

from asepsis.tools.ward_model import LAG_S_MAX, LagMeter, WardModel
from asepsis.tools.ward_stream import LINE_CHARS_MAX, Told, events

DEVICE = "urn:dev:mac:0000000000000001"
WALL_MS = 1_700_000_000_000


def bed(key: str = "1", *, patient: str = "p1", association: str | None = "a") -> dict[str, Any]:
    return {
        "key": key,
        "ward": "ICU",
        "label": "Bed",
        "patient": {"state": "confirmed", "id": patient, "name": "N"},
        "devices": [{"name": DEVICE, "link": "confirmed", "association": association}],
    }


def live() -> WardModel:
    model = WardModel()
    model.apply("hello", {"stall_ms": 3_000}, 0)
    beat(model, 0)
    model.apply("beds", {"beds": [bed()]}, 0)
    model.apply("device", {"name": DEVICE, "connection": "live"}, 0)
    model.apply("ready", {}, 0)
    return model


def beat(model: WardModel, now_s: float, *, sent_s: float | None = None) -> bool:
    sent_ms = (now_s if sent_s is None else sent_s) * 1_000 + 5e9
    return model.apply("beat", {"ms": sent_ms, "wall_ms": WALL_MS + int(now_s * 1_000)}, now_s)


def value(model: WardModel, handle: int, now_s: float, *, valid_ms: int = 6_000) -> None:
    data = {"device": DEVICE, "wall_ms": WALL_MS, "values": [[handle, "76", "valid", valid_ms]]}
    model.apply("numerics", data, now_s)


def shown(model: WardModel) -> set[int]:
    return set(model.devices[DEVICE].values)


def test_only_what_is_not_renewed_is_deleted() -> None:
    model = live()
    value(model, 1, 0)
    for second in range(1, 8):
        beat(model, second)
        value(model, 2, second)
        expired = model.sweep(second)
        assert expired == ([(DEVICE, 1)] if second == 6 else [])
    assert shown(model) == {2}
    assert model.devices[DEVICE].blanks == {1: WALL_MS}


def test_a_silent_stream_blanks_everything() -> None:
    model = live()
    value(model, 1, 0, valid_ms=60_000)
    model.sweep(2.9)
    assert shown(model) == {1}
    model.sweep(3.1)
    assert model.dark == "no data from the hub"
    assert shown(model) == set()
    assert model.dark_since_ms == WALL_MS


def test_data_that_comes_too_late_ends_the_stream() -> None:
    model = live()
    value(model, 1, 0)
    assert beat(model, 1) is True
    assert beat(model, 2 + LAG_S_MAX + 0.1, sent_s=2) is False
    assert shown(model) == set()


@pytest.mark.parametrize(
    "change",
    [bed("2"), bed(patient="p2"), bed(association="b")],
    ids=["another bed", "another patient", "another association"],
)
def test_values_leave_at_once(change: dict[str, Any]) -> None:
    model = live()
    value(model, 1, 0)
    model.apply("beds", {"beds": [change]}, 0.1)
    assert shown(model) == set()


def test_a_device_that_left_is_gone() -> None:
    model = live()
    value(model, 1, 0)
    model.apply("beds", {"beds": []}, 0.1)
    value(model, 1, 0.2)
    assert model.devices == {}
    assert list(model.placed()) == []


def test_a_revoked_device_shows_nothing() -> None:
    model = live()
    value(model, 1, 0)
    model.apply("device", {"name": DEVICE, "connection": "revoked"}, 0.1)
    value(model, 1, 0.2)
    assert shown(model) == set()


def test_conditions_live_from_onset_to_end_and_the_past_is_past() -> None:
    model = live()
    alarm = {"device": DEVICE, "id": "c", "active": True, "past": True}
    model.apply("alarm", alarm, 0)
    assert not model.devices[DEVICE].alarms
    model.apply("alarm", alarm | {"past": False}, 0)
    assert set(model.devices[DEVICE].alarms) == {"c"}
    model.apply("alarm", alarm | {"past": False, "active": False}, 0)
    assert not model.devices[DEVICE].alarms
    model.apply("alarms", {"device": DEVICE, "active": [{"id": "d"}]}, 0)
    assert set(model.devices[DEVICE].alarms) == {"d"}


def test_a_cut_is_told_and_a_new_stream_voids_everything() -> None:
    model = live()
    value(model, 1, 0)
    assert model.apply("cut", {"reason": "slow"}, 1) is False
    assert model.dark == "the hub ended the view (slow)"
    model.apply("hello", {"stall_ms": 3_000}, 2)
    assert model.devices == {}
    assert model.apply("a later hub says this", {}, 2) is True


def test_only_differences_of_two_clocks_count() -> None:
    lag = LagMeter()
    assert lag.lag_s(1e9, 0) == 0
    assert lag.lag_s(1e9 + 10, 12) == pytest.approx(2, abs=0.02)
    assert lag.lag_s(1e9 + 20, 19) == 0


def test_events_are_read_line_by_line() -> None:
    lines = [
        ": alive",
        "",
        "retry: 5",
        "",
        "id: 7",
        "event: alarm",
        'data: {"a": 1}',
        "",
        "event: x",
    ]
    assert list(events(lines)) == [(Told("alarm", {"a": 1}), "7")]
    with pytest.raises(ValueError, match="too long"):
        list(events(["x" * (LINE_CHARS_MAX + 1)]))
    with pytest.raises(ValueError, match="Expecting"):
        list(events(["data: {", ""]))
