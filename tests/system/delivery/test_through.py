"""From an old sender through two gateways to an old EHR: nothing lost, order kept, once."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_ward import wait_until
from gateway_ward import Sender, oru
from through import Through, make_through


@pytest.fixture
def made() -> Iterator[list[Through]]:
    found: list[Through] = []
    yield found
    for one in found:
        one.close()


def start(made: list[Through], folder: Path, **given: str) -> Through:
    through = make_through(folder, **given)
    made.append(through)
    through.ward.start_hub()
    through.enter()
    through.ward.start_gateway()
    through.start_outbound()
    return through


def bring(through: Through, first: int, last: int) -> None:
    sender = Sender(through.ward.port())
    for number in range(first, last + 1):
        assert sender.send(oru(number, ack=b"")) == "AA"
    sender.close()


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


@pytest.mark.slow
def test_nothing_is_lost_and_order_is_kept_whatever_dies(
    made: list[Through], tmp_path: Path
) -> None:
    """Goal: the EHR, the hub and the second gateway die in turn, each with messages on the way."""
    through = start(made, tmp_path)
    bring(through, 1, 40)
    wait_until(lambda: len(through.sink.ids()) >= 40)
    assert through.sink.ids() == numbers(1, 40)
    bodies = [text.encode() for _, text in through.sink.received()]
    assert bodies[0].rstrip(b"\r") == oru(1, ack=b"").rstrip(b"\r")  # Byte for byte.
    through.sink.kill()
    bring(through, 41, 60)
    through.sink.start()
    wait_until(lambda: len(through.sink.once()) >= 60)
    assert through.ward.hub is not None
    through.ward.hub.kill()
    bring(through, 61, 80)
    through.ward.start_hub()
    wait_until(lambda: len(through.sink.once()) >= 80)
    through.stop_outbound(signal.SIGKILL)
    bring(through, 81, 100)
    through.start_outbound()
    wait_until(lambda: len(through.sink.once()) >= 100)
    assert through.sink.once() == numbers(1, 100)
    # A death repeats at most what went before it and was not noted yet, never anything twice over.
    assert len(through.sink.ids()) <= 100 + 60 + 80
    assert through.stop_outbound() == 0


@pytest.mark.slow
def test_a_refusal_stops_the_line_and_is_a_dead_letter(made: list[Through], tmp_path: Path) -> None:
    through = start(made, tmp_path, on_refused="stop")
    through.sink.behave(AR="\\|3\\|P\\|")
    bring(through, 1, 6)

    def stands() -> bool:
        client = through.people()
        (found,) = client.get("/api/destinations")["destinations"]
        client.close()
        return found["stands_still"]

    wait_until(stands)
    assert through.sink.ids() == ["1", "2"]


@pytest.mark.slow
def test_another_gateway_gets_nothing(made: list[Through], tmp_path: Path) -> None:
    through = make_through(tmp_path)
    made.append(through)
    through.ward.start_hub()
    client = through.people()
    options = {"gateway": "urn:uuid:00000000-0000-4000-8000-0000000000ff"}
    body = {"name": "ehr", "kind": "gateway", "options": options}
    client.post("/api/destinations", body)
    client.close()
    through.start_outbound()
    wait_until(lambda: "ASP-206" in through.log)
