"""What the hub writes about devices of the standard, as real receivers of others get it.

A Python `hl7` server is the chart and an npm `node-hl7-server` takes alerts and associations, both
over TLS, behind one real hub with real devices.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SYSTEM = HERE.parent / "system"
FOLDERS = (HERE, SYSTEM / "delivery", SYSTEM / "hub", HERE.parents[1] / "benchmarks")
sys.path[:0] = [str(folder) for folder in FOLDERS]

import hl7  # noqa: E402 - after the path
from delivery_ward import DeliveryWard, Sink, make_delivery, wait_until  # noqa: E402 - path first
from hub_ward import NATIVE, OTHER, SIGNING  # noqa: E402 - as above
from node_ehr import node_server  # noqa: E402 - as above

import charted  # noqa: E402 - as above
from asepsis.core.mapping.fhir_numeric import Origin, numeric_to_observation  # noqa: E402
from asepsis.core.mapping.pcim import AssociationReport, is_association, read_association  # noqa: E402
from asepsis.core.model.alarm import AlarmPhase  # noqa: E402
from asepsis.core.model.identity import DeviceId  # noqa: E402
from asepsis.core.model.patient import PatientId  # noqa: E402
from asepsis.core.wire.fhir import Bundle, BundleEntry  # noqa: E402
from asepsis.core.wire.fhir_codec import encode  # noqa: E402
from asepsis.core.wire.hl7 import Message  # noqa: E402
from load import Bed, condition  # noqa: E402

BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
FHIR = {"Content-Type": "application/fhir+json", "Asepsis-Epoch": "1", "Asepsis-Sequence": "1"}
HOUR_NS = 3_600 * 10**9
PATIENT = PatientId("4711", "HOSP")
ROUTES = """
[[routes]]
name = "vitals"
from = "observations"
to = ["chart", "research"]
[[routes.map]]
do = "set"
field = "MSH-5"
value = "EHR"

[[routes]]
name = "alarms"
from = "alerts"
to = ["alarm-manager"]

[[routes]]
name = "whose"
from = "associations"
to = ["identities"]
"""
PROFILE = """
format = 1
name = "monitor"
version = 1
interface = "adp"
[[metrics]]
code = 147842
unit = "/min"
low = 0
high = 350
"""


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[DeliveryWard]:
    """Return a hub with a chart, a receiver of alerts and one of associations behind it."""
    made = make_delivery(tmp_path, routes=ROUTES)
    tls = made.ward.hospital.data / "hub" / "tls"
    charted.chart(made.ward.hospital, [(SIGNING, PATIENT, time.time_ns() - HOUR_NS, None)])
    with node_server(tls / "chain.pem", tls / "key.pem", tmp_path / "node") as port:
        made.start()
        made.add("chart", address=f"localhost:{made.sink.port}", carries="observations", chart=True)
        node = f"localhost:{port}"
        made.add("research", address=node, carries="observations")
        made.add("alarm-manager", address=node, carries="alerts")
        made.add("identities", address=node, carries="associations")
        yield made
        made.close()


def signed(ward: DeliveryWard, device: str, batch: bytes) -> None:
    answer = ward.ward.client(device).post("/origin", content=batch, headers=BATCH)
    assert answer.status_code == 201, answer.text


def of_node(folder: Path, event: str) -> list[Message]:
    """Return what the npm server took of an event, once each; not what the hub itself found."""
    log = Sink(folder, tls=None).received()
    found = [Message.parse(text.encode()) for text in dict(log).values()]
    found = [m for m in found if m.get("MSH-9.2") == event]
    code = str(condition(1, AlarmPhase.ONSET).mdc_code)
    return [m for m in found if event != "R40" or m.get("OBX-3.1") == code]


@pytest.mark.slow
def test_values_of_native_devices_reach_a_chart_with_the_confirmed_patient_only(
    ward: DeliveryWard, tmp_path: Path
) -> None:
    """Goal: also alerts and associations, with who the patient is; one hub for all."""
    office = ward.people()
    office.post("/api/profiles", {"document": PROFILE})
    office.post("/api/compliance/admit", {"subject": SIGNING, "profile": "monitor", "version": 1})
    beds = {name: ward.ward.bed(name) for name in (SIGNING, OTHER)}
    for name, bed in beds.items():
        bed.numerics = bed.numerics[:2]
        signed(ward, name, bed.measure(time.time_ns(), time.monotonic_ns())[0])
    native(ward)
    wait_until(lambda: len(of_node(tmp_path / "node", "R01")) >= 3)
    told = {device_of(m): m for m in of_node(tmp_path / "node", "R01")}
    assert told.keys() == {SIGNING, OTHER, NATIVE}
    assert [told[name].get("PID-3.1") for name in (SIGNING, OTHER, NATIVE)] == ["4711", "", ""]
    wait_until(lambda: ward.destination("chart")["unassigned"] == 2)
    ((_, text),) = ward.sink.received()
    first = hl7.parse(text)
    assert str(first.segment("PID")[3]) == "4711^^^HOSP"
    value = first.segments("OBX")[1]
    assert str(value[3]) == "147842^MDC_ECG_HEART_RATE^MDC"
    assert (str(value[5]), str(value[2]), str(value[11])) == ("60", "NM", "R")
    assert str(value[6]) == "264864^MDC_DIM_BEAT_PER_MIN^MDC^/min^/min^UCUM"

    # Above what the device declares: shown and alarmed, but for a person to release to a chart.
    bed = beds[SIGNING]
    bed.numerics = [replace(bed.numerics[0], value=351)]
    signed(ward, SIGNING, bed.measure(time.time_ns(), time.monotonic_ns())[0])
    engineer = ward.people("clinical-engineer")
    wait_until(lambda: engineer.get("/api/dead-letters")["dead_letters"])
    (letter,) = engineer.get("/api/dead-letters")["dead_letters"]
    assert (letter["state"], letter["destination"]) == ("held", "chart")
    alerts_and_associations(ward, bed, tmp_path / "node")


def native(ward: DeliveryWard) -> None:
    """Let a device without an origin key send a bundle."""
    numeric = ward.ward.bed(OTHER).numerics[0]
    origin = Origin(device=DeviceId(NATIVE), start_ns=time.time_ns())
    entry = BundleEntry(resource=numeric_to_observation(numeric, origin).value)
    body = encode(Bundle(type="transaction", entry=(entry,)))
    answer = ward.ward.client(NATIVE).post("/fhir", content=body, headers=FHIR)
    assert answer.is_success, answer.text


def alerts_and_associations(ward: DeliveryWard, bed: Bed, node: Path) -> None:
    for phase in (AlarmPhase.ONSET, AlarmPhase.END):
        now = time.time_ns(), time.monotonic_ns()
        signed(ward, SIGNING, bed.tell(*now, alarms=[condition(1, phase)]))
    clinician = ward.people("clinician")
    body = {"device": OTHER, "patient": {"value": "4711", "authority": "HOSP"}}
    answer = clinician.post("/api/associations", body | {"confirm": PATIENT.key()})
    made = answer["association"]
    confirm = {"reason": "taken off", "confirm": PATIENT.key()}
    clinician.post(f"/api/associations/{made['id']}/end", confirm)
    wait_until(lambda: len(of_node(node, "R40")) >= 2)
    alerts = of_node(node, "R40")
    phases = [alert.get("OBX[3]-5") for alert in alerts]
    assert phases == ["start", "end"]
    assert {alert.get("PID-3.1") for alert in alerts} == {"4711"}

    def reports() -> list[AssociationReport]:
        return [read_association(m) for m in of_node(node, "R01") if is_association(m)]

    wait_until(lambda: len(reports()) >= 2)
    assert [one.associated for one in reports()] == [True, False]
    assert {one.patients for one in reports()} == {(PATIENT,)}

    # The device was off: perhaps somebody else is on it now, so its alert names nobody.
    bed.epoch, bed.sequence, bed.previous = 2, 0, bytes(32)
    now = time.time_ns(), time.monotonic_ns()
    signed(ward, SIGNING, bed.tell(*now, alarms=[condition(2, AlarmPhase.ONSET)]))
    wait_until(lambda: len(of_node(node, "R40")) >= 3)
    assert of_node(node, "R40")[-1].get("PID-3") == ""


def device_of(message: Message) -> str:
    return f"urn:dev:mac:{message.get('OBX-18.1').lower()}"
