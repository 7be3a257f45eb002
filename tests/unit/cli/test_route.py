"""`asepsis route`: offline, with field names, and exit codes for scripts."""

import json
import subprocess
import sys
from pathlib import Path

from asepsis.core.mapping.fhir_numeric import Origin, numeric_to_observation
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.wire.fhir import Bundle, BundleEntry
from asepsis.core.wire.fhir_codec import encode

ROUTES = """\
[[routes]]
name = "vitals"
to = ["ehr", "chart"]
[routes.filter]
types = ["ORU^R01"]
[[routes.map]]
do = "set"
field = "MSH-5"
value = "EHR"
[[routes.map]]
do = "table"
field = "OBX[*]-3.1"
file = "codes.csv"
key = "code"
to = "loinc"
"""
ORU = b"MSH|^~\\&|M|I|G|H|2026||ORU^R01|1|P|2.6\rPID|||1\rOBR|1\rOBX|1|NM|%b^x||60\r"
ADT = b"MSH|^~\\&|M|I|G|H|2026||ADT^A01|2|P|2.6\nPID|||1\n"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asepsis.cli.main", "route", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_each_step_is_shown_with_the_names_of_its_fields(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(ROUTES)
    (tmp_path / "codes.csv").write_text("code,loinc\nHR,8867-4\n")
    messages = tmp_path / "messages.hl7"
    messages.write_bytes(ORU % b"HR" + b"\n" + ADT)
    done = run("test", tmp_path / "routes.toml", messages, "--json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["results"]
    assert first["taken"]
    assert first["on_refused"] == "step-over"
    assert [step["changes"][0] for step in first["steps"]] == [
        {"path": "MSH-5", "name": "Receiving Application", "before": "G", "after": "EHR"},
        {
            "path": "OBX-3",
            "name": "Observation Identifier",
            "before": "HR^x",
            "after": "8867-4^x",
        },
    ]
    assert "8867-4^x" in first["results"][0]
    assert not second["taken"]
    shown = run("test", tmp_path / "routes.toml", messages).stdout
    assert "Receiving" in shown
    assert "passed" in shown


def test_what_cannot_be_done_is_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(ROUTES)
    (tmp_path / "codes.csv").write_text("code,loinc\nHR,8867-4\n")
    (tmp_path / "m.hl7").write_bytes(ORU % b"XX")
    done = run("test", tmp_path / "routes.toml", tmp_path / "m.hl7")
    assert done.returncode == 1
    assert "ASP-100" in done.stdout
    assert run("check", tmp_path / "absent.toml").returncode == 1
    checked = run("check", tmp_path / "routes.toml", "--json")
    assert json.loads(checked.stdout)[0]["to"] == "ehr chart"


def test_what_the_hub_writes_about_a_device_is_tried_offline(tmp_path: Path) -> None:
    device = "urn:dev:mac:0000000000000001"
    routes = tmp_path / "routes.toml"
    routes.write_text(
        '[[routes]]\nname = "v"\nfrom = "observations"\nto = ["ehr"]\n'
        '[[routes]]\nname = "a"\nfrom = "alerts"\nto = ["manager"]\n'
    )
    origin = Origin(device=DeviceId(device), start_ns=1_800_000_000 * 10**9)
    numeric = Numeric(
        handle=1,
        mdc_code=147842,
        unit_code=264864,
        value=60,
        status=MeasurementStatus.VALID,
        offset_ms=0,
    )
    entry = BundleEntry(resource=numeric_to_observation(numeric, origin).value)
    bundle, alarm = tmp_path / "bundle.json", tmp_path / "alarm.json"
    bundle.write_bytes(encode(Bundle(type="transaction", entry=(entry,))))
    event = {
        "conditionId": "00000000-0000-4000-8000-000000000001",
        "phase": "onset",
        "kind": "physiological",
        "priority": "high",
        "latching": False,
        "inactivation": "none",
        "mdcCode": 196648,
        "at": "2026-11-22T10:00:00.000000000Z",
        "text": "HR HIGH",
    }
    alarm.write_text(json.dumps({"device": device, "events": [event]}))
    whose = ("--device", device, "--patient", "HOSP|4711")
    done = run("test", routes, bundle, alarm, *whose, "--json")
    assert done.returncode == 0, done.stderr
    found = {r["route"]: r["results"][0] for r in json.loads(done.stdout)["results"] if r["taken"]}
    assert found.keys() == {"v", "a"}
    assert "ORU^R01" in found["v"]
    assert "4711^^^HOSP" in found["v"]
    assert "|60|264864^MDC_DIM_BEAT_PER_MIN^MDC^/min^/min^UCUM|" in found["v"]
    assert "ORU^R40" in found["a"]
    assert "device" in run("test", routes, bundle).stderr
