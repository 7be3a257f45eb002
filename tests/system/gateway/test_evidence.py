"""What the network shows of a device reaches the hub and decides what its values count as."""

import time
from collections.abc import Callable
from typing import Any

from gateway_ward import DEVICE, GATEWAY, Sender, Ward, oru, peer_text

from asepsis.tools.people import PeopleClient


def line_when(client: PeopleClient, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        (line,) = client.get("/api/delegations")["delegations"]
        if true(line):
            return line
        time.sleep(0.1)
    raise AssertionError(line)


def test_a_device_that_moves_counts_as_claimed(prepared: Callable[..., Ward]) -> None:
    ward = prepared(peers=peer_text("monitor", ["127.0.0.0/8"]))
    ward.start_hub()
    assert ward.hub is not None
    ward.start_gateway()
    port = ward.port()
    client = PeopleClient(
        f"https://localhost:{ward.hub.ready['listeners']['people']['port']}",
        root_path=ward.hospital.data / "ca" / "root.crt",
        token_path=ward.hospital.data / "hub" / "admin.token",
    )
    try:
        network = {"address": "127.0.0.1/32", "port": port}
        client.declare(GATEWAY, [DEVICE], days=9, evidence="observed", network=network)
        assert not line_when(client, lambda _: True)["observed"]
        with Sender(port) as sender:
            assert sender.send(oru(1)) == "CA"
            line = line_when(client, lambda line: line["observed"])
            assert (line["seen"]["address"], line["seen"]["port"]) == ("127.0.0.1", port)
        with Sender(port, source="127.0.0.2") as sender:
            assert sender.send(oru(2)) == "CA", "its data goes on"
            line = line_when(client, lambda line: line["changed_at_ns"] > 0)
            assert not line["observed"]
    finally:
        client.close()
    deadline = time.monotonic() + 10
    while not ward.findings()["evidence-differs"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ward.findings()["evidence-differs"] == 1
    assert ward.stop_gateway() == 0
