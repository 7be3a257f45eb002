"""A real EHR as a chart: it gets what is verified; the rest waits with its reason for a person."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_ward import UNSIGNED, DeliveryWard, make_delivery, oru, wait_until

import charted
from asepsis.core.model.patient import PatientId

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


@pytest.fixture
def delivery(tmp_path: Path) -> Iterator[DeliveryWard]:
    """Return a hub whose monitor is confirmed for patient 4711, and a chart behind it."""
    made = make_delivery(tmp_path)
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
    for control, reason in (
        ("2", "another patient"),
        ("3", "above what the device declares"),
        ("4", "not a unit"),
    ):
        (letter,) = engineer.get("/api/dead-letters", control_id=control)["dead_letters"]
        assert letter["state"] == "held"
        assert reason in str(engineer.get(f"/api/dead-letters/{letter['id']}"))

    (third,) = engineer.get("/api/dead-letters", control_id="3")["dead_letters"]
    engineer.post(f"/api/dead-letters/{third['id']}/replay", {"reason": "seen at the bed"})
    wait_until(lambda: "3" in delivery.sink.ids())
    assert delivery.sink.once() == ["1", "5", "3"]
