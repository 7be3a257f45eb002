"""What is withheld, silent, gone or back: how soon and how truly a live view says so."""

import time
from collections.abc import Callable, Iterator

import httpx
import msgspec
import pytest
from hub_ward import GATEWAY, SIGNING, UNSIGNED, Ward
from test_lanes import ALARM, BATCH, FHIR, ONSET, bundle, numbered
from watching import View, watching

from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.alarm import AlarmEvent, AlarmPhase
from asepsis.hub.exchange.lease import LEASE_MS_MAX
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from asepsis.hub.store.outbox import Event, publish
from load import Bed, condition

ONSET_OF, CHANGE_OF, END_OF = AlarmPhase
LEASE_S = 2.0
HELD_NS = 4_500_000_000
ABOUT_UNSIGNED = (
    b'"entry":[{"resource":{"resourceType":"Device","identifier":[{"system":'
    b'"urn:ietf:rfc:3986","value":"%s"}]}},'
) % UNSIGNED.encode()


class Device:
    """A signing device that sends, or keeps what it would have sent."""

    def __init__(self, ward: Ward) -> None:
        self.bed: Bed = ward.bed(SIGNING)
        self.bed.epoch = time.time_ns()
        self._client = ward.client(SIGNING)

    def tell(self, *alarms: AlarmEvent, listed: bool = False) -> bytes:
        return self.bed.tell(time.time_ns(), time.monotonic_ns(), alarms=alarms, listed=listed)

    def list(self, *numbers: int) -> bytes:
        return self.tell(*(condition(n, CHANGE_OF) for n in numbers), listed=True)

    def held_back(self, *alarms: AlarmEvent, listed: bool = False) -> bytes:
        """Make a batch as old as if a switch had held it while a cable was out."""
        then_ns = time.monotonic_ns() - HELD_NS
        return self.bed.tell(time.time_ns() - HELD_NS, then_ns, alarms=alarms, listed=listed)

    def post(self, path: str, batch: bytes, *, status: int = 201) -> None:
        answer = self._client.post(path, content=batch, headers=BATCH)
        assert answer.status_code == status, answer.text


@pytest.fixture
def device(ward: Ward) -> Device:
    return Device(ward)


@pytest.fixture
def view(ward: Ward) -> Iterator[View]:
    with watching(ward, SIGNING, UNSIGNED, GATEWAY, "hub") as view:
        yield view


@pytest.mark.alone
def test_a_withheld_alarm_shows_within_two_seconds(device: Device, view: View) -> None:
    """Goal: the network compartment drops the batch; the gap and the alarm itself still show."""
    device.post("/origin", device.list())
    alarm = device.tell(condition(1, ONSET_OF))
    withheld = time.monotonic()
    device.post("/origin", device.list(1))
    missing = view.wait(lambda told: told["cause"] == "gap")
    revealed = view.wait(lambda told: told["found_by"] == "device")
    assert missing - withheld < 2.0
    assert revealed - withheld < 2.0
    assert view.active() == {1: True}
    device.post("/late", alarm)
    view.wait(lambda told: told["cause"] == "gap" and told["phase"] == "end")
    device.post("/origin", device.list())
    view.wait(lambda told: told["phase"] == "end" and told["found_by"] == "device")


def test_an_alarm_that_overtakes_nothing_is_told_once(device: Device, view: View) -> None:
    """Goal: a list that is first on its own connection does not tell what its event tells."""
    device.post("/origin", device.list())
    onset = device.tell(condition(2, ONSET_OF))
    after = device.list(2)
    device.post("/origin", after)
    device.post("/alerts", onset)
    view.wait(lambda told: told["found_by"] == "device")
    time.sleep(0.3)
    assert [a for a in view.alarms() if a[2] == 2] == [("onset", SIGNING, 2)]
    device.post("/origin", device.list())
    view.wait(lambda told: told["phase"] == "end" and told["found_by"] == "device")


def test_nothing_of_a_batch_that_was_held_back_is_active(device: Device, view: View) -> None:
    """Goal: REQ-OBS-013, REQ-ALM-016; neither its event nor its list; its end is still the end."""
    going, ended, current = 0x20, 0x21, 0x22
    device.post("/origin", device.list())
    device.post("/alerts", device.tell(condition(going, ONSET_OF)))
    view.until(lambda: view.active() == {going: True})
    held = [
        device.held_back(condition(ended, ONSET_OF)),
        device.held_back(condition(ended, CHANGE_OF), listed=True),
        device.held_back(condition(going, END_OF), condition(ended, END_OF)),
    ]
    for batch in held:
        device.post("/alerts", batch, status=409)
    for batch in held:
        device.post("/late", batch)
    view.until(lambda: view.active() == {})
    device.post("/origin", device.list(current))
    view.until(lambda: view.active() == {current: True})
    assert ended not in {number for _, _, number in view.alarms()}
    device.post("/origin", device.list())
    view.until(lambda: view.active() == {})


def test_an_event_that_a_list_overtook_is_told_by_the_list_only(device: Device, view: View) -> None:
    """Goal: REQ-ALM-016; on a live lane too, and a repeated batch keeps its first answer."""
    ended = 0x23
    device.post("/origin", device.list())
    onset = device.tell(condition(ended, ONSET_OF))
    for _ in range(8):
        device.tell(condition(ended, CHANGE_OF))  # An outage: no list waits for so many.
    last = device.list()
    device.post("/origin", last)
    device.post("/alerts", onset, status=409)
    device.post("/late", onset)
    device.post("/alerts", onset, status=200)
    device.post("/origin", last, status=200)
    time.sleep(0.3)
    assert ended not in {number for _, _, number in view.alarms()}


@pytest.mark.parametrize("drains", [True, False])
def test_a_device_that_returns_brings_the_present(
    device: Device, view: View, *, drains: bool
) -> None:
    """Goal: 0 ended alarms as active, 0 active ones gone, whether or not the spool ever drains."""
    one, two, three, four = range(0x10 + 4 * drains, 0x14 + 4 * drains)
    device.post("/origin", device.list())
    device.post("/alerts", device.tell(condition(one, ONSET_OF), condition(two, ONSET_OF)))
    spool = [
        device.tell(condition(one, END_OF)),
        device.tell(condition(three, ONSET_OF), condition(four, ONSET_OF)),
        device.tell(condition(four, END_OF)),
        *(device.list(two, three) for _ in range(9)),
    ]
    view.wait(lambda told: told["found_by"] == "device" and told["unknown_since_ns"])
    view.until(lambda: view.active() == {one: False, two: False})
    back = time.monotonic()
    device.post("/origin", device.list(two, three))
    known = view.wait(lambda told: told["cause"] == "alarms-unknown" and told["phase"] == "end")
    assert known - back < 1.0
    view.until(lambda: view.active() == {two: True, three: True})
    if drains:
        before = len(view.seen)
        for batch in spool:
            device.post("/late", batch)
        time.sleep(0.3)
        late = [d for _, n, d in view.seen[before:] if n == "alarm" and d["found_by"] == "device"]
        assert late == [], "history reaches no view"
    device.post("/origin", device.list())
    view.until(lambda: view.active() == {})


def document(number: int, phase: str) -> bytes:
    about = {"conditionId": f"00000000-0000-4000-8000-{number:012x}", "phase": phase}
    event = ONSET | about | {"at": to_instant(time.time_ns())}
    return msgspec.json.encode({"device": UNSIGNED, "events": [event]})


def test_late_alarm_documents_are_history(ward: Ward, view: View) -> None:
    """Goal: REQ-ALM-019; a late onset is never active, a late end ends, nothing is told twice."""
    gateway, epoch = ward.client(GATEWAY), time.time_ns()

    def post(path: str, sequence: int, body: bytes) -> httpx.Response:
        return gateway.post(path, content=body, headers=numbered(ALARM, sequence, epoch))

    assert post("/alerts", 1, document(1, "onset")).status_code == 201
    view.wait(lambda told: told["device"] == UNSIGNED)
    assert post("/alerts", 4, document(4, "onset")).status_code == 201
    view.wait(lambda told: told["condition_id"].endswith("04"))
    assert post("/late", 2, document(1, "end")).status_code == 201
    late = document(3, "onset")
    assert post("/late", 3, late).status_code == 201
    assert post("/late", 3, late).status_code == 200
    view.wait(lambda told: told["phase"] == "end" and told["condition_id"].endswith("01"))
    time.sleep(0.2)
    phases = [phase for phase, device, _ in view.alarms() if device == UNSIGNED]
    assert phases == ["onset", "onset", "end"]
    listed = {
        "device": UNSIGNED,
        "events": [],
        "listsActive": True,
        "madeAt": to_instant(time.time_ns()),
    }
    assert post("/alerts", 5, msgspec.json.encode(listed)).status_code == 201
    view.wait(lambda told: told["phase"] == "end" and told["condition_id"].endswith("04"))


@pytest.mark.alone
def test_a_dead_gateway_is_one_condition_beside_its_devices(ward: Ward, view: View) -> None:
    """Goal: REQ-ALM-020, within 5 s of the lease's end; its return ends both."""
    gateway = ward.client(GATEWAY)
    batch, _ = ward.bed(SIGNING).measure(time.time_ns(), time.monotonic_ns())
    body = bundle(batch, device=UNSIGNED, beside=False)
    about = body.replace(b'"entry":[', ABOUT_UNSIGNED, 1)
    answer = gateway.post("/fhir", content=about, headers=numbered(FHIR, 1, time.time_ns()))
    assert answer.status_code == 201, answer.text
    assert gateway.get("/metadata").status_code == 200
    dead = time.monotonic()
    lost = view.wait(lambda told: told["cause"] == "gateway" and told["phase"] == "onset")
    assert LEASE_S - 0.2 < lost - dead < LEASE_S + 5
    # Nobody gave a device that has no certificate a lease, so it is the longest.
    silent = view.wait(
        lambda told: told["cause"] == "silence" and told["device"] == UNSIGNED, seconds=20
    )
    assert silent - dead < LEASE_MS_MAX / 1_000 + 5
    assert gateway.get("/metadata").status_code == 200
    view.wait(lambda told: told["cause"] == "gateway" and told["phase"] == "end")
    assert [a for a in view.alarms() if a[2] == "gateway"] == [
        ("onset", GATEWAY, "gateway"),
        ("end", GATEWAY, "gateway"),
    ]


def test_an_alarm_of_the_signer_reaches_the_views(prepared: Callable[..., Ward]) -> None:
    """Goal: REQ-ID-022; from the outbox to the alert lane, also over a start of the hub."""
    ward = prepared()
    settings = read_settings(ward.hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=ward.hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    with store.unit_of_work() as connection:
        for code, subject in (
            ("identity-in-use-twice", SIGNING),
            ("unlisted-name", "urn:dev:mac:00000000000000ff"),
        ):
            data = {"code": code, "text": "text"}
            publish(
                connection,
                Event(
                    topic="alarm.technical",
                    version=1,
                    at_ns=time.time_ns(),
                    subject=subject,
                    data=data,
                ),
            )
    store.close()
    ward.start()
    with watching(ward, SIGNING, "hub") as view:
        view.wait(lambda told: told["cause"] == "certificates" and told["device"] == SIGNING)
        view.wait(lambda told: told["cause"] == "signer" and told["device"] == "hub")


@pytest.mark.alone
@pytest.mark.slow
def test_a_hub_that_was_killed_misses_who_does_not_come_back(
    prepared: Callable[..., Ward],
) -> None:
    """Goal: one fresh lease after the start, then silence, and the old alarm is unknown."""
    ward = prepared()
    hub = ward.start()
    device = Device(ward)
    device.post("/origin", device.list())
    device.post("/alerts", device.tell(condition(1, ONSET_OF)))
    hub.kill()
    ward.start()
    ready = time.monotonic()
    with watching(ward, SIGNING) as view:
        silent = view.wait(lambda told: told["cause"] == "silence")
        assert silent - ready < LEASE_S + 5
        view.wait(lambda told: told["found_by"] == "device" and told["unknown_since_ns"])
        assert view.active() == {1: False}
