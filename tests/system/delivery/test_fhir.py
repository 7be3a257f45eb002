"""A FHIR server as destination: transactions over TLS, refusals, and redirects that go nowhere."""

import json
from collections.abc import Callable, Iterator

import pytest
from delivery_ward import DeliveryWard, oru, wait_until
from fhir_server import FhirServer
from hub_ward import CONSUMER, SIGNING

Start = Callable[..., DeliveryWard]


@pytest.fixture
def served(delivering: Start) -> Iterator[tuple[DeliveryWard, FhirServer]]:
    ward = delivering()
    tls = ward.ward.hospital.data / "hub" / "tls"
    server = FhirServer(tls / "chain.pem", tls / "key.pem")
    yield ward, server
    server.close()


@pytest.mark.slow
def test_transactions_refusals_and_redirects(served: tuple[DeliveryWard, FhirServer]) -> None:
    ward, server = served
    ward.add(kind="fhir", address=server.url, bearer="a-token")
    ward.send([oru(n, value=60 + n) for n in range(1, 4)])
    wait_until(lambda: len(server.bundles) == 3)
    values = [b["entry"][0]["resource"]["valueQuantity"]["value"] for b in server.bundles]
    assert values == [61, 62, 63]
    assert server.tokens == {"Bearer a-token"}
    assert "a-token" not in json.dumps(ward.destination())

    server.status = 422
    ward.send([oru(4)])
    engineer = ward.people("clinical-engineer")
    wait_until(lambda: engineer.get("/api/dead-letters")["dead_letters"])
    (letter,) = engineer.get("/api/dead-letters")["dead_letters"]
    assert (letter["code"], letter["kind"]) == ("HTTP 422", "fhir")

    # A message that says nothing a FHIR server could store is a dead letter, too, and not lost.
    server.status = 200
    ward.send([oru(5).replace(b"|NM|", b"|ST|")])
    wait_until(lambda: len(engineer.get("/api/dead-letters")["dead_letters"]) == 2)

    server.status, server.location = 302, "http://169.254.169.254/latest/meta-data"
    ward.send([oru(6, value=99)])
    wait_until(lambda: "redirect" in ward.destination()["trouble"])
    assert len(server.bundles) == 3
    server.status, server.location = 200, ""
    wait_until(lambda: len(server.bundles) == 4)


@pytest.mark.slow
def test_a_consumer_subscribes_only_where_an_administrator_said(
    served: tuple[DeliveryWard, FhirServer],
) -> None:
    """Goal: ids and no content, to an entered endpoint, for the consumer it was entered for."""
    ward, server = served
    ward.add(kind="rest-hook", address=server.url, consumer=CONSUMER)
    client = ward.ward.client(CONSUMER)
    headers = {"Content-Type": "application/fhir+json"}

    def subscribe(endpoint: str, **more: str) -> int:
        channel = {"type": "rest-hook", "endpoint": endpoint, **more}
        body = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "to chart",
            "criteria": "Observation",
            "channel": channel,
        }
        return client.post("/fhir/Subscription", json=body, headers=headers).status_code

    ward.send([oru(1)])  # Nobody asked yet.
    assert subscribe("https://169.254.169.254/latest") == 403
    assert subscribe(server.url, payload="text/plain") == 415
    assert subscribe(server.url) == 201
    assert ward.ward.client(SIGNING).get("/fhir/Subscription/ehr").status_code == 403
    assert client.get("/fhir/Subscription/ehr").json()["status"] == "active"
    ward.send([oru(2, value=77)])
    wait_until(lambda: len(server.bundles) == 1)
    text = json.dumps(server.bundles[0])
    assert "Device/" in text
    assert "4711" not in text
    assert "valueQuantity" not in text
    assert client.delete("/fhir/Subscription/ehr").status_code == 204
    ward.send([oru(3)])
    wait_until(lambda: ward.destination()["records_behind"] == 0)
    assert len(server.bundles) == 1
