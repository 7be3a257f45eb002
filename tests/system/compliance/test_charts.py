"""A real EHR as a chart: it gets what is verified; the rest waits with its reason for a person."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from delivery_ward import UNSIGNED, DeliveryWard, make_delivery, oru, wait_until

import charted
from asepsis.core.errors import NotPermitted, TrustError
from asepsis.core.model.patient import PatientId
from asepsis.core.trust.libcrypto import PrivateKey, generate_key
from asepsis.tools.conformance.certificate import certify

S = 10**9
PROFILE = """
format = 1
name = "monitor"
version = 1
interface = "hl7v2"
[[metrics]]
code = 147842
unit = "/min"
low = 0
high = 350
"""


MODEL = "Acme M3"
HOLDS_S = 3.0


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeliveryWard]:
    """Return a hub whose monitor is confirmed for patient 4711, and a chart behind it."""
    made = make_delivery(tmp_path_factory.mktemp("delivery"))
    since_ns = time.time_ns() - 3_600 * S
    charted.chart(made.ward.hospital, [(UNSIGNED, PatientId("4711", "HOSP"), since_ns, None)])
    made.start()
    made.add(chart=True)
    yield made
    made.close()


@pytest.mark.slow
def test_a_chart_gets_what_is_verified_and_a_person_releases_the_rest(
    delivery: DeliveryWard,
) -> None:
    office = delivery.people()
    office.post("/api/profiles", {"document": PROFILE})
    office.post("/api/compliance/admit", {"subject": UNSIGNED, "profile": "monitor", "version": 1})
    delivery.send(
        [
            oru(1, value=0),
            oru(2, patient="4712"),
            oru(3, value=351),
            oru(4).replace(b"264864^MDC_DIM_BEAT_PER_MIN", b"266418^MDC_DIM_MILLI_VOLT"),
            oru(5, value=350),
        ]
    )
    wait_until(lambda: "5" in delivery.sink.ids())
    assert delivery.sink.once() == ["1", "5"]

    engineer = delivery.people("clinical-engineer")
    wait_until(lambda: len(engineer.get("/api/dead-letters")["dead_letters"]) == 3)
    for control, rule, reason in (
        ("2", "patient", "another patient"),
        ("3", "range", "above what the device declares"),
        ("4", "unit", "not a unit"),
    ):
        (letter,) = engineer.get("/api/dead-letters", control_id=control)["dead_letters"]
        assert (letter["state"], letter["code"]) == ("held", rule)
        assert reason in str(engineer.get(f"/api/dead-letters/{letter['id']}"))

    (third,) = engineer.get("/api/dead-letters", control_id="3")["dead_letters"]
    engineer.post(f"/api/dead-letters/{third['id']}/replay", {"reason": "seen at the bed"})
    wait_until(lambda: "3" in delivery.sink.ids())
    assert delivery.sink.once() == ["1", "5", "3"]


def certificate(key: PrivateKey, *, left_s: float) -> str:
    """Return a certificate of conformance that holds so much longer."""
    report = {"subject": "device", "tested": f"{MODEL} 5.1", "suite": "1", "conforms": True}
    issued = datetime.now(tz=UTC) - timedelta(days=1) + timedelta(seconds=left_s)
    return certify(json.dumps(report).encode(), key, now=issued, days=1).decode()


@pytest.mark.slow
def test_a_certificate_decides_at_commissioning_and_cuts_nothing_when_it_lapses(
    delivery: DeliveryWard,
) -> None:
    key, office = generate_key(), delivery.people()
    profile = PROFILE.replace("version = 1", "version = 2").replace(
        "[[metrics]]",
        f'models = ["{MODEL}"]\n[conformance]\nrequired = true\n'
        f'keys = ["{base64.b64encode(key.spki_der).decode()}"]\n[[metrics]]',
    )
    office.post("/api/profiles", {"document": profile})
    wish = {"subject": UNSIGNED, "profile": "monitor", "version": 2}
    with pytest.raises(NotPermitted, match="certificate of conformance"):
        office.post("/api/compliance/admit", wish)
    for wrong in (certificate(key, left_s=-1), certificate(generate_key(), left_s=60)):
        with pytest.raises((NotPermitted, TrustError)):
            office.post("/api/compliance/admit", wish | {"certificate": wrong})
    before = office.get("/api/compliance")["admissions"]
    assert all(one["version"] == 1 for one in before if one["subject"] == UNSIGNED)

    brought = certificate(key, left_s=HOLDS_S)
    made = office.post("/api/compliance/admit", wish | {"certificate": brought})
    assert made["lapsed"] is False
    delivery.send([oru(11)])
    wait_until(lambda: office.get("/api/compliance")["work_items"])
    (item,) = office.get("/api/compliance")["work_items"]
    assert (item["subject"], item["version"]) == (UNSIGNED, 2)

    delivery.send([oru(12)])
    wait_until(lambda: "12" in delivery.sink.ids())
    assert delivery.sink.ids().count("11") == 1
    (stands,) = [
        one for one in office.get("/api/compliance")["devices"] if one["device"] == UNSIGNED
    ]
    assert stands["unverified"] == ""
    wait_until(
        lambda: "conformance-lapsed" in str(office.get("/api/audit", after="0", limit="500"))
    )
