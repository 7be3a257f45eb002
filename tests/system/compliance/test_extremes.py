"""Twenty extreme true values and a stale ADT: all are seen at once, none is charted wrongly."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest
from gateway_ward import DEVICE, Sender, Ward, make_ward

import charted
from asepsis.core.mapping import nomenclature
from asepsis.core.model.patient import PatientId
from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from asepsis.hub.access.principal import Role
from hospital import system_name

CONSUMER: Final = system_name(8)
JANE, BEN = PatientId("4711", "HOSP"), PatientId("4712", "HOSP")
S: Final = 1_000_000_000
SEEN_S: Final = 1.0
EXTREMES: Final = {
    "MDC_ECG_HEART_RATE": "0",
    "MDC_PULS_RATE": "0",
    "MDC_PULS_OXIM_PULS_RATE": "300",
    "MDC_PULS_OXIM_SAT_O2": "35",
    "MDC_PRESS_BLD_ART_SYS": "22",
    "MDC_PRESS_BLD_ART_DIA": "3",
    "MDC_PRESS_BLD_ART_MEAN": "9",
    "MDC_PRESS_BLD_NONINV_SYS": "291",
    "MDC_PRESS_BLD_NONINV_DIA": "187",
    "MDC_PRESS_BLD_NONINV_MEAN": "222",
    "MDC_PRESS_BLD_ATR_RIGHT_MEAN": "-7",
    "MDC_PRESS_BLD_ART_PULM_SYS": "121",
    "MDC_RESP_RATE": "0",
    "MDC_TEMP": "24.0",
    "MDC_TEMP_BLD": "42.9",
    "MDC_ECG_AMPL_ST_I": "-1.9",
    "MDC_ECG_AMPL_ST_II": "2.4",
    "MDC_ECG_TIME_PD_QTc": "690",
    "MDC_ECG_V_P_C_CNT": "99",
    "MDC_PRESS_CUFF": "0",
}
METRICS: Final = {m.refid: m for m in nomenclature.METRICS_BY_CODE.values()}


def profile() -> str:
    """Return a profile whose declared ranges hold every one of the values, and no more than 350."""
    lines = ['format = 1\nname = "monitor"\nversion = 1\ninterface = "hl7v2"\n']
    for refid in EXTREMES:
        unit = nomenclature.UNITS_BY_CODE[METRICS[refid].units[0]].ucum
        high = 350 if refid == "MDC_ECG_HEART_RATE" else 2_000
        lines.append(f'[[metrics]]\ncode = {METRICS[refid].code}\nunit = "{unit}"\n')
        lines.append(f"low = -50\nhigh = {high}\n")
    return "".join(lines)


def oru(rows: Sequence[tuple[str, str, str]], patient: PatientId, number: int) -> bytes:
    """Return a message of now: metric, value and unit of each row."""
    at = f"{datetime.now(tz=UTC):%Y%m%d%H%M%S.%f}"[:18] + "+0000"
    head = (
        f"MSH|^~\\&|MON|ICU|||{at}||ORU^R01^ORU_R01|{number}|P|2.6|||AL|NE\r"
        f"PID|||{patient.value}^^^{patient.authority}^MR\rOBR|1|||1|||{at}\r"
    )
    return (
        head
        + "".join(
            f"OBX|{n}|NM|{METRICS[refid].code}^{refid}^MDC|1.1.{n}|{value}|{unit}|||||R|||{at}"
            "||||MON-1\r"
            for n, (refid, value, unit) in enumerate(rows, start=1)
        )
    ).encode()


def extremes() -> list[tuple[str, str, str]]:
    return [(refid, value, f"{METRICS[refid].units[0]}^^MDC") for refid, value in EXTREMES.items()]


def adt(patient: PatientId) -> bytes:
    """Return news that was entered now of somebody who is still said to be there, and is not."""
    now = f"{datetime.now(tz=UTC):%Y%m%d%H%M%S+0000}"
    return (
        f"MSH|^~\\&|ADT|HIS|HUB|H|{now}||ADT^A08|a1|P|2.5.1\rEVN|A08|{now}\r"
        f"PID|1||{patient.value}^^^{patient.authority}||Doe^Jane\r"
    ).encode()


class Watch:
    """A live view in a thread: what it saw, and when."""

    def __init__(self, ward: Ward, files: tls.KeyAndChain) -> None:
        assert ward.hub is not None
        context = tls.client_context(root_der=ward.hospital.root_der, identity=files)
        self.seen: list[tuple[float, dict[str, Any]]] = []
        self._client = httpx.Client(verify=context, timeout=20)
        self._url = f"https://localhost:{ward.hub.port}/views/live?device={DEVICE}"
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        name = ""
        try:
            with self._client, self._client.stream("GET", self._url) as answer:
                for line in answer.iter_lines():
                    key, _, value = line.partition(": ")
                    name = value if key == "event" else name
                    if key == "data" and name == "numerics":
                        self.seen.append((time.monotonic(), json.loads(value)))
        except httpx.HTTPError:
            return

    def join(self) -> None:
        """Wait until the view has ended with its hub."""
        self._thread.join(20)

    def after(self, start: float, count: int) -> dict[int, dict[str, Any]]:
        """Return the values seen since a moment, by metric, once there are so many."""
        deadline = start + 10
        while time.monotonic() < deadline:
            found = [
                (at, one) for at, event in self.seen if at >= start for one in event["numerics"]
            ]
            if len(found) >= count:
                assert found[-1][0] - start < SEEN_S
                return {one["mdc_code"]: one for _, one in found}
            time.sleep(0.01)
        raise AssertionError(f"only {self.seen} was seen")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ward, Watch, str]]:
    """Return a ward whose monitor is confirmed for Jane, a live view and a clinician's token."""
    made = make_ward(tmp_path_factory.mktemp("extremes"))
    consumer = made.hospital.enlist([(CONSUMER, Profile.CONSUMER)])[0]
    charted.chart(made.hospital, [(DEVICE, JANE, time.time_ns() - 3_600 * S, None)])
    token = charted.give_token(made.hospital, Role.CLINICIAN)
    made.start_hub()
    made.start_gateway()
    watch = Watch(made, consumer.files)
    yield made, watch, token
    made.close()
    watch.join()


def people(ward: Ward, token: str = "") -> httpx.Client:
    assert ward.hub is not None
    port = ward.hub.ready["listeners"]["people"]["port"]
    token = token or (ward.hospital.data / "hub" / "admin.token").read_text().strip()
    return httpx.Client(
        base_url=f"https://localhost:{port}",
        verify=tls.client_context(root_der=ward.hospital.root_der),
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )


def record(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"/fhir/Observation?{query}&_count=1000")
    if answer.status_code == 404:
        return []  # The record does not know the device yet.
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", ())]


@pytest.mark.slow
@pytest.mark.alone
def test_twenty_extreme_values_and_a_stale_adt(ward: tuple[Ward, Watch, str]) -> None:
    made, watch, token = ward
    with people(made) as office:
        _decide(office)
        _show(made, watch, token)
        with people(made, token) as clinician:
            _charted_to_nobody_else(clinician)
        _told_to_whoever_looks_after_it(office)


def _decide(office: httpx.Client) -> None:
    assert office.post("/api/profiles", json={"document": profile()}).status_code == 200
    decided = {"subject": DEVICE, "profile": "monitor", "version": 1}
    assert office.post("/api/compliance/admit", json=decided).status_code == 200


def _show(made: Ward, watch: Watch, token: str) -> None:
    with Sender(made.port()) as sender:
        start = time.monotonic()
        assert sender.send(oru(extremes(), JANE, 1)) == "CA"
        own = watch.after(start, 20)
        assert {v["value"] for v in own.values()} == set(EXTREMES.values())
        assert {v["unverified"] for v in own.values()} == {None}

        # Ben lies there now, and ADT still says Jane.
        assert sender.send(adt(JANE)) == "AA"
        time.sleep(0.01)
        start = time.monotonic()
        assert sender.send(oru(extremes(), BEN, 2)) == "CA"
        other = watch.after(start, 20)
        assert {v["value"] for v in other.values()} == set(EXTREMES.values())
        assert all("another patient" in v["unverified"] for v in other.values())
        _in_the_terminal(made, token, sender)

        time.sleep(0.01)
        start = time.monotonic()
        rows = [
            ("MDC_ECG_HEART_RATE", "351", "264864^^MDC"),
            ("MDC_TEMP", "37.1", "mV^^UCUM"),
            ("MDC_RESP_RATE", "12", "264928^^MDC"),
        ]
        assert sender.send(oru(rows, JANE, 3)) == "CA"
        marks = [watch.after(start, 3)[METRICS[refid].code]["unverified"] for refid, *_ in rows]
        assert [(mark or "").partition(":")[0] for mark in marks] == ["range", "unit", ""]


def _in_the_terminal(made: Ward, token: str, sender: Sender) -> None:
    """The ward view shows the values, each with the reason why no chart has it."""
    file = made.folder / "clinician.token"
    file.write_text(token)
    command = [sys.executable, "-m", "asepsis.cli.main", "ward", "--once", "--token", str(file)]
    command += ["--data", str(made.hospital.data), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as view:
        while view.poll() is None:  # A value stands for some seconds; the monitor goes on.
            assert sender.send(oru(extremes(), BEN, 9)) == "CA"
            time.sleep(1)
        assert view.stdout is not None
        told = json.loads(view.stdout.read())
    devices = [d for bed in told["beds"] for d in bed["devices"]]
    (monitor,) = (d for d in devices if d["name"] == DEVICE)
    shown = [cell for cell in monitor["values"] if any(map(str.isdigit, cell["value"]))]
    assert len(shown) >= 10  # Pressures are one cell of three values.
    assert all("another patient" in (cell["unverified"] or "") for cell in shown)


def _charted_to_nobody_else(client: httpx.Client) -> None:
    deadline = time.monotonic() + 15
    every: list[dict[str, Any]] = []
    while not any("unverified-range" in _tags(r) for r in every) and time.monotonic() < deadline:
        time.sleep(0.2)
        every = record(client, f"device={DEVICE}")
    doubtful = [r for r in every if "other-patient" in _tags(r)]
    assert len(doubtful) >= 20
    # The value in millivolts is in the message, not among the numbers.
    assert len(every) == len(doubtful) + 22
    assert all("identifier" not in r["subject"] for r in doubtful)
    assert not record(client, f"patient={BEN.key()}")
    assert sum("unverified-range" in _tags(r) for r in every) == 1
    jane = record(client, f"patient={JANE.key()}")
    assert not {r["id"] for r in jane} & {r["id"] for r in doubtful}


def _tags(resource: dict[str, Any]) -> set[str]:
    return {tag["code"] for tag in resource["meta"]["tag"]}


def _told_to_whoever_looks_after_it(office: httpx.Client) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        (state,) = office.get("/api/compliance").json()["devices"]
        if state["findings"].keys() >= {"patient", "range", "unit"}:
            break
        time.sleep(0.1)
    assert state["profile"] == "monitor v1"
    assert "range" in state["unverified"] or "unit" in state["unverified"]
    assert office.get("/api/status").json()["compliance"]["devices_unverified_now"] == 1
