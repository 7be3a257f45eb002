"""What a network or a sender held back goes live on no route; unsigned data says its own time."""

import json
import time
from collections.abc import Callable

import httpx
import pytest
from hub_ward import CONSUMER, NATIVE, OTHER, Ward
from test_lanes import ALARM, FHIR, ONSET, WAVES, bundle, numbered
from watching import watching

from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.frames import WaveformMetric, encode_frame, encode_packet

HELD_NS = 7_000_000_000
"""Over the 4 s that a network may take, under the 10 s that a clock may be off, far from both."""
KEPT_NS = 60_000_000_000
Make = Callable[[int], bytes]


def values(at_ns: int) -> bytes:
    return with_time(b'{"resourceType":"Bundle","type":"collection","entry":[]}', at_ns)


def with_time(body: bytes, at_ns: int) -> bytes:
    return b'{"timestamp":"%s",' % to_instant(at_ns).encode() + body[1:]


def events(at_ns: int) -> bytes:
    about = {"conditionId": f"00000000-0000-4000-8000-{at_ns:x}"[:36], "at": to_instant(at_ns)}
    return json.dumps({"device": NATIVE, "events": [ONSET | about]}).encode()


def listed(at_ns: int) -> bytes:
    made = {"listsActive": True, "madeAt": to_instant(at_ns)}
    return json.dumps({"device": NATIVE, "events": []} | made).encode()


class Source:
    """A source without an origin key."""

    def __init__(self, ward: Ward) -> None:
        self._client = ward.client(NATIVE)
        self._epoch = time.time_ns()
        self._sequence = 0

    def post(
        self, path: str, media: dict[str, str], body: bytes, *, again: bool = False
    ) -> httpx.Response:
        if not again:
            self._sequence += 1
        headers = numbered(media, self._sequence, self._epoch)
        return self._client.post(path, content=body, headers=headers)


@pytest.fixture
def source(ward: Ward) -> Source:
    return Source(ward)


@pytest.mark.parametrize(
    ("path", "media", "make"),
    [("/fhir", FHIR, values), ("/alerts", ALARM, events), ("/alerts", ALARM, listed)],
    ids=["bundle", "alarm events", "list of conditions"],
)
def test_what_was_held_back_is_late_data_on_every_route(
    source: Source, path: str, media: dict[str, str], make: Make
) -> None:
    """Goal: REQ-OBS-014; 409, then taken on the late lane under its number, and repeatable."""
    first = make(time.time_ns())
    assert source.post(path, media, first).status_code == 201
    assert source.post(path, media, first, again=True).status_code == 200
    held = make(time.time_ns() - HELD_NS)
    refused = source.post(path, media, held)
    assert (refused.status_code, refused.json().get("code")) == (409, "ASP-106"), refused.text
    assert source.post("/late", media, held, again=True).status_code == 201
    assert source.post(path, media, make(time.time_ns())).status_code == 201


@pytest.mark.parametrize("off_ns", [KEPT_NS, -KEPT_NS], ids=["kept", "ahead"])
@pytest.mark.parametrize(
    ("path", "media", "make"), [("/fhir", FHIR, values), ("/alerts", ALARM, events)]
)
def test_a_sender_that_drains_what_it_kept_does_not_look_alive(
    source: Source, path: str, media: dict[str, str], make: Make, off_ns: int
) -> None:
    """Goal: REQ-OBS-014; also by its very first record after a restart of either side."""
    kept = make(time.time_ns() - off_ns)
    assert source.post(path, media, kept).status_code == 409
    assert source.post("/late", media, kept, again=True).status_code == 201
    assert source.post(path, media, make(time.time_ns())).status_code == 201


def test_a_list_without_its_time_is_no_list(source: Source) -> None:
    timeless = json.dumps({"device": NATIVE, "events": [], "listsActive": True}).encode()
    answer = source.post("/alerts", ALARM, timeless)
    assert answer.status_code == 400
    assert "madeAt" in answer.text


def test_no_receiver_is_told_of_it(ward: Ward, source: Source) -> None:
    """Goal: neither view nor lane; an old list ends nothing, an old value is not shown."""
    with watching(ward, NATIVE) as view:
        onset = events(time.time_ns())
        assert source.post("/alerts", ALARM, onset).status_code == 201
        view.wait(lambda told: told["device"] == NATIVE and told["phase"] == "onset")
        assert source.post("/alerts", ALARM, listed(time.time_ns() - HELD_NS)).status_code == 409
        batch, _ = ward.bed(OTHER).measure(time.time_ns(), time.monotonic_ns())
        now = bundle(batch, device=NATIVE, beside=False)
        assert source.post("/fhir", FHIR, now).status_code == 201
        old = with_time(now, time.time_ns() + HELD_NS)  # Made now, of values of before.
        assert source.post("/fhir", FHIR, old).status_code == 201
        view.until(lambda: any(name == "numerics" for _, name, _ in view.seen))
        time.sleep(0.3)
        assert [name for _, name, _ in view.seen].count("numerics") == 1
        phases = [phase for phase, device, _ in view.alarms() if device == NATIVE]
        assert "end" not in phases


def test_unsigned_waveforms_are_shown_while_they_are_of_now(ward: Ward) -> None:
    """Goal: REQ-OBS-014; held-back frames are in the record and in no view."""
    client, epoch = ward.client(NATIVE), time.time_ns()

    def send(sequence: int, at_ns: int) -> None:
        frame = encode_frame(METRIC, frame_sequence=sequence, wall_ns=at_ns, samples=range(250))
        packet = encode_packet(DeviceId(NATIVE), epoch=epoch, sequence=sequence, frames=[frame])
        assert client.post("/waveforms", content=packet, headers=WAVES).status_code == 201

    seen: list[int] = []
    path = f"/views/live?device={NATIVE}&waveforms=1"
    with ward.client(CONSUMER).stream("GET", path) as answer:
        lines = answer.iter_lines()
        for sequence, late_ns in ((1, 0), (2, HELD_NS), (3, KEPT_NS), (4, 0)):
            send(sequence, time.time_ns() - 10**9 - late_ns)
        for line in lines:
            if line.startswith("data: ") and '"frame_sequence"' in line:
                seen.append(json.loads(line[6:])["frame_sequence"])
            if 4 in seen:
                break
    assert seen == [1, 4]


METRIC = WaveformMetric(
    handle=100, mdc_code=131_330, unit_code=266_418, period_ns=4_000_000, scale=1, offset=0
)
