"""A hospital for the console: named models, live beds, admissions, people with passwords."""

import base64
import queue
import re
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from hub_ward import Ward
from sqlalchemy import update

from asepsis.core.errors import Unavailable
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.identity import Profile
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.hub.access import totp
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.registry.tables import devices
from asepsis.hub.settings import read_settings
from asepsis.tools.simulator.bed import HIGH_LIMIT_EVENT, Bed
from asepsis.tools.simulator.legacy_process import AdtOrder, adt_message
from hospital import Hospital, Machine, device_name, system_name

PASSWORD = "four quiet green lamps"
BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
WAVES = {"Content-Type": "application/vnd.asepsis.waveform"}
HL7 = {"Content-Type": "application/hl7-v2"}
GATEWAY = system_name(1)
WARD = "ICU"
SETTINGS = """
[console]
facility = "St. Vitus, ICU"
[delivery]
routes = "routes.toml"
"""
ROUTES = """
[[routes]]
name = "vitals"
to = ["chart"]
[routes.filter]
types = ["ORU^R01"]
"""
PEOPLE = {
    "clara": ["clinician"],
    "emil": ["clinical-engineer", "security"],
    "wall": ["viewer"],
    "boss": ["administrator"],
}


@dataclass(frozen=True)
class Stay:
    """A patient in a bed, as ADT tells of them."""

    number: str
    family: str
    given: str
    born: str
    bed: str


class ConsoleWard:
    """A running hub with devices that have models, and people who can sign in."""

    def __init__(self, folder: Path, *, models: dict[int, str], lease_ms: int = 2_000) -> None:
        hospital = Hospital(folder, more=SETTINGS)
        (hospital.data / "routes.toml").write_text(ROUTES, "utf-8")
        machines = [(device_name(n), Profile.DEVICE) for n in models]
        made = hospital.enlist(machines, lease_ms=lease_ms)
        made += hospital.enlist([(GATEWAY, Profile.GATEWAY)])
        self.ward = Ward(hospital, {machine.name: machine for machine in made})
        self.folder = folder
        names = {device_name(n): model for n, model in models.items()}
        self._set_models(names | {GATEWAY: "Legacy gateway"})
        self.ward.start()
        self.api = self._administrator()
        self._gateway: httpx.Client | None = None
        self._sent = 0
        self._told: set[str] = set()
        for name, roles in PEOPLE.items():
            self.add_person(name, roles)

    @property
    def base(self) -> str:
        """Address of the console."""
        assert self.ward.hub is not None
        return f"https://localhost:{self.ward.hub.ready['listeners']['people']['port']}"

    def add_person(self, name: str, roles: list[str]) -> None:
        """Add somebody with the password that everybody has here."""
        assert self.api.post("/api/people", json={"name": name, "roles": roles}).is_success
        path = f"/api/people/{quote(name, safe='')}/password"
        assert self.api.post(path, json={"password": PASSWORD}).is_success

    def client(self) -> httpx.Client:
        """Return a client of the people listener without credential."""
        return self.ward.client(None, "people")

    def sign_in(self, name: str, *, agent: str = "test") -> httpx.Client:
        """Return a client with a browser's session."""
        client = self.client()
        headers = {"Origin": self.base, "User-Agent": agent}
        given = {"name": name, "password": PASSWORD}
        answer = client.post("/sign-in", data=given, headers=headers)
        assert answer.status_code == 303, answer.text
        client.headers["User-Agent"] = agent
        return client

    def enrol_factor(self, client: httpx.Client) -> None:
        """Enrol an authenticator for who is signed in; it was then shown in this session."""
        token = re.search(r'name="csrf" content="(\w+)"', client.get("/account").text)
        assert token is not None
        path, form = "/account/second-factor", {"csrf": token[1]}
        origin = {"Origin": self.base}
        begun = client.post(path, data=form | {"password": PASSWORD}, headers=origin)
        spelled = re.search(r'class="mono secret">([A-Z2-7 ]+)<', begun.text)
        assert spelled is not None, begun.text
        step = time.time_ns() // 10**9 // totp.STEP_S
        code = totp.code(base64.b32decode(spelled[1].replace(" ", "")), step)
        answer = client.post(f"{path}/confirm", data=form | {"code": code}, headers=origin)
        assert answer.status_code == 303, answer.text

    def admit(self, stay: Stay) -> None:
        """Send A01 through the gateway."""
        order = AdtOrder(
            event="A01",
            patient=stay.number,
            authority="VITUS",
            name=(stay.family, stay.given),
            birth_date=stay.born,
            place=(WARD, "1", stay.bed),
        )
        now = time.strftime("%Y%m%d%H%M%S+0000", time.gmtime())
        self._say(adt_message(order, ("HIS", "VITUS"), control=f"C{self._sent + 1}", at=now))

    def add_chart(self) -> None:
        """Enter a chart, and a destination that a dead letter can go to instead; nobody fetches."""
        for name, chart in (("chart", True), ("archive", False)):
            options = {"gateway": GATEWAY, "chart": chart}
            body = {"name": name, "kind": "gateway", "address": name, "options": options}
            answer = self.api.post("/api/destinations", json=body)
            assert answer.is_success, answer.text

    def measure_for_nobody(self, text: str, *, number: str) -> None:
        """Send a value of a device that nobody declared: no chart may have it."""
        now = time.strftime("%Y%m%d%H%M%S+0000", time.gmtime())
        self._say(
            (
                f"MSH|^~\\&|MON|ICU|||{now}||ORU^R01^ORU_R01|M{self._sent + 1}|P|2.6|||AL|NE"
                "||UNICODE UTF-8\r"
                f"PID|||{number}^^^VITUS^MR||{text}\rOBR|1||||||{now}\r"
                f"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|61|264864^MDC_DIM_BEAT_PER_MIN^MDC"
                f"|||||R|||{now}||||NOBODY\r"
            ).encode()
        )

    def letters(self, client: httpx.Client, count: int) -> list[int]:
        """Return the numbers of the dead letters that wait, once there are so many."""

        def look() -> list[int]:
            page = client.get("/dead-letters").text
            found = sorted({int(n) for n in re.findall(r'href="/dead-letters/(\d+)"', page)})
            return found if len(found) >= count else []

        return wait_for(look, what="the dead letters")

    def _say(self, body: bytes) -> None:
        self._sent += 1
        if self._gateway is None:
            self._gateway = self.ward.client(GATEWAY)
        headers = HL7 | {"Asepsis-Epoch": "1", "Asepsis-Sequence": str(self._sent)}
        answer = self._gateway.post("/hl7v2", content=body, headers=headers)
        assert answer.is_success, answer.text

    def place(self, number: int, bed: str, *, fixed: bool = False) -> None:
        """Put a device at a bed."""
        where = {"point_of_care": WARD, "room": "1", "bed": bed}
        path = f"/api/devices/{device_name(number)}/place"
        body: dict[str, Any] = {"place": where, "fixed": fixed}
        answer = self.api.put(path, json=body)
        assert answer.is_success, answer.text

    def confirm_all(self, name: str, *, besides: str = "") -> None:
        """Let somebody confirm every proposal, but those of one device."""
        client = self.sign_in(name)
        token = re.search(r'name="csrf" content="(\w+)"', client.get("/account").text)
        assert token is not None
        headers = {"Origin": self.base, "X-CSRF-Token": token[1]}

        def proposed() -> list[dict[str, Any]]:
            found = client.get("/api/associations", params={"state": "proposed"}).json()
            return found["associations"]

        wait_for(proposed, what="the proposals")
        for each in proposed():
            if each["device"] != besides:
                path = f"/api/associations/{each['id']}/confirm"
                patient = each["patient"]
                body = {"confirm": f"{patient['authority']}|{patient['value']}"}
                assert client.post(path, json=body, headers=headers).is_success

    def bed(self, number: int) -> "LiveBed":
        """Return a device that can measure once a second."""
        return LiveBed(self, self.ward.machines[device_name(number)], seed=number)

    def say_alarms(self, number: int, texts: Sequence[str]) -> None:
        """Let a device begin an alarm condition for each text."""
        bed, client = self.ward.bed(device_name(number)), self.ward.client(device_name(number))
        bed.epoch = time.time_ns() // 10**9
        now = (time.time_ns(), time.monotonic_ns())
        alarms = [
            AlarmEvent(
                condition_id=uuid.uuid4().bytes,
                phase=AlarmPhase.ONSET,
                kind=AlarmKind.PHYSIOLOGICAL,
                priority=AlarmPriority.MEDIUM,
                latching=False,
                inactivation=Inactivation.NONE,
                mdc_code=HIGH_LIMIT_EVENT,
                source_handle=1,
                offset_ms=0,
                text=text,
            )
            for text in texts
        ]
        answer = client.post("/origin", content=bed.tell(*now, alarms=alarms), headers=BATCH)
        assert answer.status_code == 201, answer.text

    def close(self) -> None:
        """End everything."""
        self.ward.close()

    def _administrator(self) -> httpx.Client:
        token = (self.ward.hospital.data / "hub" / "admin.token").read_text().strip()
        client = self.ward.client(None, "people")
        client.headers["Authorization"] = f"Bearer {token}"
        return client

    def _set_models(self, models: dict[str, str]) -> None:
        hospital = self.ward.hospital
        settings = read_settings(hospital.toml)
        kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
        store = open_store(settings, kek, clock=time.time_ns)
        with store.unit_of_work() as connection:
            for name, model in models.items():
                mine = devices.c.name == name
                connection.execute(update(devices).where(mine).values(model=model))
        store.close()


class LiveBed:
    """A device that signs and sends one second of simulated signs at a time."""

    def __init__(self, ward: ConsoleWard, machine: Machine, *, seed: int) -> None:
        assert machine.origin_key is not None
        clock = TrustedClock(
            ward.folder / f"time-{seed}-{time.monotonic_ns()}.json",
            boot_id=bytes(16),
            monotonic=time.monotonic_ns,
            build_ns=0,
        )
        clock.accept(time.time_ns(), asked_monotonic_ns=time.monotonic_ns())
        self.name = machine.name
        self._bed = Bed(
            DeviceId(machine.name),
            key=machine.origin_key,
            epoch=time.time_ns() // 10**9,
            clock=clock,
            seed=seed,
        )
        self._client = ward.ward.client(machine.name)

    def second(self) -> None:
        """Send the next second."""
        batch, packet = self._bed.second()
        self._post("/origin", batch, BATCH)
        self._post("/waveforms", packet, WAVES)

    def alarm(self, phase: AlarmPhase = AlarmPhase.ONSET) -> None:
        """Send an event of the staged alarm."""
        self._post("/origin", self._bed.alarm(phase), BATCH)

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        answer = self._client.post(path, content=body, headers=headers)
        assert answer.status_code == 201, answer.text


class Traffic:
    """Lets beds measure once a second until it is closed."""

    def __init__(self, beds: list[LiveBed]) -> None:
        self.beds = beds
        self._stop = threading.Event()
        self._alarms: queue.SimpleQueue[LiveBed] = queue.SimpleQueue()
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def alarm(self, bed: "LiveBed") -> None:
        """Let a bed's staged alarm begin, between two seconds: a device signs one after another."""
        self._alarms.put(bed)

    def close(self) -> None:
        """Stop measuring."""
        self._stop.set()
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += 1.0
            while not self._alarms.empty():
                self._alarms.get().alarm()
            for bed in self.beds:
                try:
                    bed.second()
                except (httpx.HTTPError, Unavailable, AssertionError) as error:
                    self.failed = error
                    return


def wait_for(look: Any, *, seconds: float = 10.0, what: str = "it") -> Any:
    """Return what `look` finds as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"{what} did not come in {seconds} s")
