"""HL7 receivers that we did not write, as the EHR behind a real hub."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SYSTEM = HERE.parent / "system"
FOLDERS = (HERE, SYSTEM / "delivery", SYSTEM / "hub", HERE.parents[1] / "benchmarks")
sys.path[:0] = [str(folder) for folder in FOLDERS]

from delivery_ward import DeliveryWard, make_delivery, oru, wait_until  # noqa: E402 - path first
from node_ehr import node_server  # noqa: E402 - as above

COUNT = 12


@pytest.fixture
def node_ehr(tmp_path: Path) -> Iterator[Callable[[], DeliveryWard]]:
    """Return a function that starts a hub with an npm `node-hl7-server` over TLS behind it."""
    ward = make_delivery(tmp_path)
    ward.sink.kill()
    tls = ward.ward.hospital.data / "hub" / "tls"
    with node_server(tls / "chain.pem", tls / "key.pem", ward.sink.folder) as port:

        def start() -> DeliveryWard:
            ward.sink.port = port
            ward.start()
            return ward

        yield start
        ward.close()


@pytest.mark.slow
def test_node_hl7_server_gets_everything_in_order_and_its_refusal_is_a_dead_letter(
    node_ehr: Callable[[], DeliveryWard],
) -> None:
    ward = node_ehr()
    ward.add()
    ward.send([oru(n) for n in range(1, COUNT + 1)])
    expected = [str(n) for n in range(1, COUNT + 1) if n != 5]

    wait_until(lambda: len(ward.sink.once()) >= len(expected))
    # This server hands its handler a message of a connection more than once, and answers it once.
    assert ward.sink.once() == expected
    wait_until(lambda: ward.destination()["accepted"] == len(expected))
    (letter,) = ward.people("clinical-engineer").get("/api/dead-letters")["dead_letters"]
    assert letter["code"] == "AR"
