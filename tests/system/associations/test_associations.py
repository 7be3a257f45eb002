"""A real hub, asked by real commands: ADT over the lane, decisions at the bedside, a power cut."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hub_ward import GATEWAY, OTHER, SIGNING, Ward, make_ward

from asepsis.cli.main import assembled
from asepsis.cli.output import show_error
from asepsis.core.errors import AsepsisError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.wire.origin import BatchHeader
from asepsis.hub.access.principal import Role
from asepsis.hub.access.service import PeopleService
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from load import Bed

HL7 = {"Content-Type": "application/hl7-v2", "Asepsis-Epoch": "1"}
BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
PATIENT, OTHER_PATIENT = "MRN|4711", "MRN|4712"


class Ran(NamedTuple):
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


class StateBed(Bed):
    """A device that says what it is doing."""

    state = ClinicalState.IN_USE

    def _header(self, wall_ns: int, monotonic_ns: int) -> BatchHeader:
        return replace(super()._header(wall_ns, monotonic_ns), clinical_state=self.state)


class Hub:
    """A hub with a nurse's token, ADT and one monitor."""

    def __init__(self, folder: Path) -> None:
        more = '[associations]\nauthorities = ["MRN"]\n'
        self.ward: Ward = make_ward(folder, more=more)
        self.tokens = {role: folder / f"{role.value}.token" for role in (Role.CLINICIAN,)}
        self._give_tokens()
        self.ward.start()
        self._messages = 0
        machine = self.ward.machines[SIGNING]
        assert machine.origin_key is not None
        self.monitor = StateBed(SIGNING, machine.origin_key, self.ward.bed(SIGNING).context)

    def _give_tokens(self) -> None:
        hospital = self.ward.hospital
        settings = read_settings(hospital.toml)
        kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
        store = open_store(settings, kek, clock=time.time_ns)
        people = PeopleService(store, AuditLog(time.time_ns))
        for role, path in self.tokens.items():
            people.add_person(role.value, [role], actor="test")
            path.write_text(people.issue_token(role.value, actor="test"))
        store.close()

    def run(self, *arguments: str, nurse: bool = False, answer: str = "") -> Ran:
        """Run a command as the shell would, here: starting Python each time takes seconds."""
        token = ("--token", str(self.tokens[Role.CLINICIAN])) if nurse else ()
        words = [*arguments, *token, "--data", str(self.ward.hospital.data)]
        out, problems = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(problems),
        ):
            patch.setattr(sys, "stdin", io.StringIO(answer))
            try:
                code = assembled()(words, result_action="return_value")
            except AsepsisError as error:
                code = show_error(error)
        return Ran(code or 0, out.getvalue(), problems.getvalue())

    def asked(self, *arguments: str, nurse: bool = True) -> Any:
        """Return the JSON of a command."""
        done = self.run(*arguments, "--json", nurse=nurse)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def adt(self, trigger: str, patient: str, bed: str) -> None:
        """Send a message through the gateway's identity."""
        self._messages += 1
        now = f"{datetime.now(tz=UTC):%Y%m%d%H%M%S+0000}"
        authority, number = patient.split("|")
        body = (
            f"MSH|^~\\&|HIS|H|HUB|H|{now}||ADT^{trigger}|{self._messages}|P|2.5.1\r"
            f"EVN|{trigger}|{now}\rPID|1||9^^^SSN~{number}^^^{authority}||Doe^Jo\r"
            f"PV1|1|I|ICU^1^{bed}\r"
        )
        headers = HL7 | {"Asepsis-Sequence": str(self._messages)}
        answer = self.ward.client(GATEWAY).post("/hl7v2", content=body.encode(), headers=headers)
        assert answer.is_success, answer.text

    def sign(self, state: ClinicalState) -> None:
        """Let the monitor sign its state."""
        self.monitor.state = state
        batch, _ = self.monitor.measure(time.time_ns(), time.monotonic_ns())
        client: httpx.Client = self.ward.client(SIGNING)
        answer = client.post("/origin", content=batch, headers=BATCH)
        assert answer.status_code == 201, answer.text

    def association(self, state: str, device: str) -> dict[str, Any] | None:
        """Return a device's association in a state."""
        found = self.asked("associations", "list", "--state", state)
        return next((one for one in found if one["device"] == device), None)


def wait(look: Callable[[], Any]) -> Any:
    """Return what is found within ten seconds."""
    end = time.monotonic() + 10
    while not (found := look()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    made = Hub(tmp_path_factory.mktemp("associations"))
    yield made
    made.ward.close()


@pytest.mark.slow
def test_from_admission_to_the_end(hub: Hub) -> None:
    """One journey on one hub: places, rule, ADT, decisions, a signed state, a power cut."""
    _set_up_the_ward(hub)
    hub.adt("A01", PATIENT, "A")
    confirmed = wait(lambda: hub.association("confirmed", SIGNING))
    assert (confirmed["basis"], confirmed["patient"]["value"]) == ("ward-rule", "4711")
    # Names are answered from memory, which follows what is committed.
    wait(lambda: hub.association("confirmed", SIGNING)["patient_name"] == "Doe, Jo")
    _decide_about_the_pump(hub)
    _assign_late(hub)

    assert hub.ward.hub is not None
    hub.ward.hub.kill()
    hub.ward.start()
    assert hub.association("confirmed", OTHER) is not None
    hub.sign(ClinicalState.IN_USE)
    hub.sign(ClinicalState.IDLE)
    assert wait(lambda: hub.association("confirmed", SIGNING) is None)
    ended = hub.association("ended", SIGNING)  # The newest one.
    assert ended is not None
    assert ended["end_reason"] == "patient taken off the device"
    hub.adt("A03", PATIENT, "A")
    wait(lambda: hub.association("confirmed", OTHER) is None)


def _set_up_the_ward(hub: Hub) -> None:
    place = ("places", "place", SIGNING, "--ward", "ICU", "--room", "1", "--bed", "A", "--fixed")
    assert hub.run(*place).returncode == 0
    pump = ("places", "place", OTHER, "--ward", "ICU", "--room", "1", "--bed", "A")
    assert hub.run(*pump).returncode == 0
    refused = hub.run("places", "rule", "ICU", "--follow-adt", answer="no\n")
    assert refused.returncode == 1
    assert hub.run("places", "rule", "ICU", "--follow-adt", "--yes").returncode == 0
    found = hub.asked("places", "list", nurse=False)
    assert found["wards_following_adt"] == ["ICU"]
    assert [d["name"] for d in found["beds"][0]["devices"]] == sorted([SIGNING, OTHER])
    assert "patient" not in found["beds"][0]
    assert "not shown" in hub.run("places", "list").stdout


def _decide_about_the_pump(hub: Hub) -> None:
    proposed = wait(lambda: hub.association("proposed", OTHER))
    assert hub.run("associations", "confirm", proposed["id"]).returncode == 2
    wrong = hub.run(
        "associations", "confirm", proposed["id"], "--patient", OTHER_PATIENT, nurse=True
    )
    assert wrong.returncode == 1
    asked = hub.run("associations", "confirm", proposed["id"], nurse=True, answer=f"{PATIENT}\n")
    assert asked.returncode == 0, asked.stderr
    assert "Doe, Jo" in asked.stdout
    assert hub.association("confirmed", OTHER) is not None
    moving = hub.run("places", "place", OTHER, "--ward", "ICU", "--bed", "Z", answer="no\n")
    assert moving.returncode == 1
    table = hub.run("associations", "list", "--state", "confirmed", nurse=True)
    assert table.returncode == 0
    (bed,) = hub.asked("places", "list")["beds"]
    assert bed["patient"]["name"] == "Doe, Jo"
    assert {a["device"] for a in bed["associations"]} == {SIGNING, OTHER}


def _assign_late(hub: Hub) -> None:
    now = datetime.now(tz=UTC)
    span = ("--start", f"{now - timedelta(hours=2):%Y-%m-%dT%H:%M:%S+00:00}")
    early = ("--stop", f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S+00:00}")
    late = ("associations", "assign-late", SIGNING, "--patient", PATIENT, "--yes")
    assert hub.run(*late, *span, "--stop", "yesterday", nurse=True).returncode == 1
    done = hub.run(*late, *span, *early, nurse=True)
    assert done.returncode == 0, done.stderr
    again = hub.run(*late, *span, *early, nurse=True)
    assert again.returncode == 1
    assert "confirmed for a patient" in again.stderr


@pytest.mark.slow
def test_a_person_associates_rejects_and_ends(hub: Hub) -> None:
    hub.adt("A01", OTHER_PATIENT, "B")
    wait(lambda: "4712" in hub.run("places", "list", nurse=True).stdout)
    device = ("associations", "associate", OTHER, "--patient", OTHER_PATIENT)
    assert hub.run(*device, nurse=True, answer="MRN|1\n").returncode == 1
    made = hub.asked(*device, "--yes")["association"]
    assert made["state"] == "confirmed"
    ending = ("associations", "end", made["id"], "--reason", "pump taken away")
    assert hub.run(*ending, nurse=True, answer="no\n").returncode == 1
    ended = hub.asked(*ending, "--yes")["association"]
    assert ended["end_reason"] == "by a person: pump taken away"
    unknown = hub.run("associations", "reject", "no-such", "--reason", "x", nurse=True)
    assert unknown.returncode == 1
    assert "ASP-105" in unknown.stderr or "no such association" in unknown.stderr


@pytest.mark.slow
def test_a_revoked_device_loses_its_patient_and_stays_on_its_tile(hub: Hub) -> None:
    hub.asked("associations", "associate", OTHER, "--patient", OTHER_PATIENT, "--yes")
    client = hub.ward.client(None, "people")
    token = (hub.ward.hospital.data / "hub" / "admin.token").read_text().strip()
    client.headers["Authorization"] = f"Bearer {token}"
    body = {"reason": "stolen", "confirm": OTHER}
    assert client.post(f"/api/devices/{OTHER}/revoke", json=body).is_success
    wait(lambda: hub.association("confirmed", OTHER) is None)
    beds = hub.asked("places", "list")["beds"]
    assert OTHER not in [d["name"] for bed in beds for d in bed["devices"]]
    _is_told_as_revoked(hub)

    assert hub.ward.hub is not None
    hub.ward.hub.kill()
    hub.ward.start()
    _is_told_as_revoked(hub)


def _is_told_as_revoked(hub: Hub) -> None:
    """Whatever else stands at its bed, and after a restart too, the tile shows what happened."""
    beds = hub.asked("ward", "--once")["beds"]
    (pump,) = [d for bed in beds for d in bed["devices"] if d["name"] == OTHER]
    assert pump["connection"] == "revoked"
