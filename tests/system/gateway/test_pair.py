"""Two gateways with one address: one is cut off, comes back, is destroyed; nothing is lost."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pair_ward import Gateway, Pair, make_pair

from asepsis.core.trust import tls

PEOPLE = ("--person", "ana", "--second-person", "ben", "--reason", "fire")
MEDIA = "application/vnd.asepsis.hl7v2-batch"


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[Callable[[str], Pair]]:
    """Return a function that prepares a pair; its processes end with the test."""
    made: list[Pair] = []

    def prepare(ack: str) -> Pair:
        made.append(make_pair(tmp_path / str(len(made)), ack=ack))
        return made[-1]

    yield prepare
    for pair in made:
        pair.close()


def stale(pair: Pair, gateway: Gateway, fence: str) -> int:
    """Bring something under a lease, as that gateway; return the hub's status."""
    context = tls.client_context(root_der=pair.hospital.root_der, identity=gateway.machine.files)
    assert pair.hub is not None
    with httpx.Client(base_url=f"https://localhost:{pair.hub.port}", verify=context) as client:
        headers = {"Content-Type": MEDIA, "Asepsis-Epoch": "1", "Asepsis-Fence": fence}
        return client.post("/hl7v2", content=b"", headers=headers).status_code


@pytest.mark.slow
@pytest.mark.waits
def test_nothing_is_lost_when_the_active_one_is_cut_off_and_when_one_is_destroyed(
    pairs: Callable[[str], Pair],
) -> None:
    """Goal: with `ack = "hub"` everything that was acknowledged is at the hub, whoever is gone."""
    pair = pairs("hub")
    pair.start_hub()
    for gateway in pair.gateways:
        gateway.start()
    first = pair.active()
    second = pair.other(first)
    pair.send()
    pair.more(20)
    first.relay.set_cut(True)
    assert pair.active(other_than=first) is second
    assert not first.active(), "it stopped before the other one began"
    assert stale(pair, first, "1") == 409
    assert stale(pair, second, "2") != 409
    first.relay.set_cut(False)
    pair.more(20)
    second.destroy()
    assert pair.active(other_than=second) is first
    pair.more(20)
    assert stale(pair, second, "2") == 409
    acknowledged = pair.end_sending()
    assert len(acknowledged) >= 120
    assert "Address already in use" not in first.log + second.log
    assert acknowledged - {control for _, control in pair.at_hub()} == set()


@pytest.mark.slow
@pytest.mark.waits
def test_the_list_of_messages_at_risk_is_what_is_missing(pairs: Callable[[str], Pair]) -> None:
    """Goal: the hub is away, the active one destroyed with its disk: people decide, and know all.

    Two people promote the standby; once the hub is back it has a lease and brings what it took.
    """
    pair = pairs("spool")
    pair.start_hub()
    for gateway in pair.gateways:
        gateway.start()
    first = pair.active()
    second = pair.other(first)
    pair.send()
    pair.more(20)
    assert pair.hub is not None
    pair.hub.stop()
    for gateway in pair.gateways:
        gateway.relay.set_cut(True)
    pair.more(20)
    first.destroy()
    assert not second.active(), "without the hub it does not know that it is alone"
    pair.command(second, "pair", "promote", *PEOPLE, "--destroyed")
    assert pair.active(other_than=first) is second
    pair.more(20)
    pair.start_hub()
    second.relay.set_cut(False)
    pair.wait_lease(second)
    pair.more(20)
    acknowledged = pair.end_sending()
    pair.wait_drained(second)
    listed = pair.at_risk(second)
    assert listed["hub_asked"]
    missing = acknowledged - {control for _, control in pair.at_hub()}
    assert len(missing) > 10, "otherwise this shows nothing"
    assert {row["control_id"] for row in listed["at_risk"]} == missing
    assert {row["application"] for row in listed["at_risk"]} == {"MON"}
