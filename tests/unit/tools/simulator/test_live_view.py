"""The witness: what a live view client shows, and what it says of itself."""

import ssl
from collections.abc import Iterator

import pytest

from asepsis.core.errors import Unavailable
from asepsis.tools.simulator import live_view
from asepsis.tools.simulator.live_view import LiveView

LINES = (
    "retry: 1000",
    "",
    "event: numerics",
    'data: {"device": "a", "numerics": [{"handle": 1, "value": "61", "device_time_ns": 5}]}',
    "",
    ": alive",
    "id: 7",
    "event: alarm",
    'data: {"device": "a"}',
    "",
    "event: stale",
    'data: {"device": "a", "handles": [1]}',
)


@pytest.fixture
def view() -> Iterator[LiveView]:
    made = LiveView(
        live_view.address("https://127.0.0.1:1", ["a", "b"]), context=ssl.create_default_context()
    )
    made.start()
    yield made
    made.close()


def test_a_stream_is_read_by_event_and_position() -> None:
    found = [(name, position) for name, position, _ in live_view.events(iter(LINES))]
    assert found == [("numerics", ""), ("alarm", "7"), ("stale", "")]


def test_the_address_names_every_device() -> None:
    assert live_view.address("https://h", ["a", "b"]) == "https://h/views/live?device=a&device=b"


def test_without_a_hub_nothing_is_shown_and_waiting_ends(view: LiveView) -> None:
    assert view.live("a") == 0
    with pytest.raises(Unavailable, match="a value"):
        view.until(lambda: view.live("a"), "a value", timeout_s=0.2)
