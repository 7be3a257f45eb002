"""The ward feed: who is told what, of which bed, and for how long it may stand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Container, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest

from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmNotice,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric, Observation
from asepsis.core.wire.frames import WaveformFrame, WaveformMetric
from asepsis.hub.console.live import FLUSH_S, WardFeed
from asepsis.hub.console.live_channel import CHUNKS_MAX, SLOW_NS, Viewer
from asepsis.hub.console.live_model import (
    Connection,
    DeviceFacts,
    Link,
    Occupant,
    PlacedDevice,
    WardBed,
    WardClocks,
    display_name,
)
from asepsis.hub.console.live_rules import SECOND_NS, Rhythm, WardQuery

A, B = "urn:dev:mac:0000000000000001", "urn:dev:mac:0000000000000002"
EVERYTHING = WardQuery(None, waveforms=True, after=None)
ADA = Occupant(id="1", name="Ada", birth_date="")
BEA = Occupant(id="2", name="Bea", birth_date="")


class Batch:
    """Numerics of one device with chosen values."""

    received_at_ns = 1_700_000_000 * SECOND_NS

    def __init__(self, device: str, values: dict[int, int], *, unverified: str = "") -> None:
        self.device = device
        self._values = values
        self._unverified = unverified

    def observations(self) -> list[Observation]:
        return [
            Observation(
                device=DeviceId(self.device),
                assurance=Assurance.DEVICE_ORIGIN,
                numeric=Numeric(
                    handle=handle,
                    mdc_code=147_842,
                    unit_code=264_864,
                    value=value,
                    status=MeasurementStatus.VALID,
                    offset_ms=0,
                ),
                epoch=1,
                sequence=1,
                device_time_ns=0,
                received_at_ns=self.received_at_ns,
                late=False,
                unverified=self._unverified,
            )
            for handle, value in self._values.items()
        ]


class Ward:
    """A ward in memory: placement, devices and alarms, and a clock that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self.version: object = 0
        self._beds: list[WardBed] = []
        self.connection = Connection.LIVE
        self.position = 0
        self.conditions: list[AlarmNotice] = []
        self.unknown_ns: int | None = None
        self.log: list[tuple[int, AlarmNotice]] = []
        clocks = WardClocks(lambda: self.now_ns, lambda: self.now_ns)
        self.feed = WardFeed(self, self, self, clocks=clocks, stream="s")

    def place(self, *beds: WardBed) -> None:
        self._beds, self.version = list(beds), object()

    def beds(self) -> Sequence[WardBed]:
        return tuple(self._beds)

    def facts(self, name: str) -> DeviceFacts:
        return DeviceFacts(
            name=name, label="Monitor", connection=self.connection, state=None, signs=True
        )

    def active(self, devices: Container[str]) -> Sequence[AlarmNotice]:
        return tuple(notice for notice in self.conditions if notice.device in devices)

    def unknown_since(self, device: str) -> int | None:
        return self.unknown_ns if device == A else None

    async def history(
        self, devices: Container[str], after: int, *, through: int
    ) -> AsyncIterator[tuple[int, Sequence[AlarmNotice]]]:
        for position, notice in self.log:
            if after < position <= through and notice.device in devices:
                yield position, [notice]


class Screen:
    """One viewer: collects what it is told."""

    def __init__(self, ward: Ward, query: WardQuery = EVERYTHING) -> None:
        self.told: list[tuple[str, dict[str, Any], str | None]] = []
        self._seen = 0
        self._task = asyncio.create_task(self._follow(ward, query))

    async def read(self) -> list[tuple[str, dict[str, Any], str | None]]:
        """Return what came since the last look, after a moment."""
        await asyncio.sleep(4 * FLUSH_S)
        before, self._seen = self._seen, len(self.told)
        return self.told[before:]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, ward: Ward, query: WardQuery) -> None:
        async with aclosing(ward.feed.open(query)) as stream:
            async for data in stream:
                self.told += parse(data)


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def parse(data: bytes) -> list[tuple[str, dict[str, Any], str | None]]:
    found: list[tuple[str, dict[str, Any], str | None]] = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def of(told: list[tuple[str, dict[str, Any], str | None]], event: str) -> list[dict[str, Any]]:
    return [data for name, data, _ in told if name == event]


def bed(key: str, *devices: PlacedDevice, ward: str = "ICU") -> WardBed:
    return WardBed(key=key, ward=ward, label=f"Bed {key}", devices=devices)


def confirmed(name: str, patient: Occupant, association: str = "a") -> PlacedDevice:
    return PlacedDevice(name=name, link=Link.CONFIRMED, patient=patient, association=association)


def notice(device: str, phase: AlarmPhase, *, text: str = "x") -> AlarmNotice:
    return AlarmNotice(
        device=device,
        assurance=Assurance.DEVICE_ORIGIN,
        device_time_ns=0,
        received_at_ns=0,
        event=AlarmEvent(
            condition_id=bytes(16),
            phase=phase,
            kind=AlarmKind.PHYSIOLOGICAL,
            priority=AlarmPriority.HIGH,
            latching=False,
            inactivation=Inactivation.NONE,
            mdc_code=196_648,
            source_handle=1,
            offset_ms=0,
            text=text,
        ),
    )


def wave(sequence: int) -> WaveformFrame:
    metric = WaveformMetric(
        handle=9, mdc_code=131_330, unit_code=266_418, period_ns=4_000_000, scale=1, offset=0
    )
    return WaveformFrame(
        metric=metric,
        frame_sequence=sequence,
        wall_ns=SECOND_NS,
        sample_bytes=b"\x00\x01" * 4,
        digest=b"",
    )


async def watching(ward: Ward, query: WardQuery = EVERYTHING) -> tuple[Screen, asyncio.Task[None]]:
    task = asyncio.create_task(ward.feed.run())
    screen = Screen(ward, query)
    await screen.read()
    return screen, task


@asynchronous
async def test_a_view_begins_with_the_present() -> None:
    """Goal: beds, devices, how metrics are shown, values and conditions before `ready`."""
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    ward.feed.numerics(Batch(A, {1: 76}))
    ward.conditions = [notice(A, AlarmPhase.ONSET)]
    ward.position = 41
    screen, task = await watching(ward)
    names = [name for name, _, _ in screen.told]
    assert names[0] == "hello"
    assert names.index("beds") < names.index("device") < names.index("numerics")
    assert of(screen.told, "metric")[0]["label"] == "HR"
    assert of(screen.told, "numerics")[0]["values"] == [[1, "76", "valid", 6_000]]
    assert of(screen.told, "alarms")[0]["active"][0]["source"] == "HR"
    assert [i for name, _, i in screen.told if name == "ready"] == ["41"]
    task.cancel()
    await screen.close()


@asynchronous
async def test_an_unverified_value_is_told_with_its_reason() -> None:
    """Goal: enforcement never hides a patient; it says beside the value what is doubtful."""
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    ward.feed.numerics(Batch(A, {1: 0}, unverified="range: below"))
    screen, task = await watching(ward)
    (told,) = of(screen.told, "numerics")
    assert told["values"] == [[1, "0", "valid", 6_000]]
    assert told["unverified"] == {"1": "range: below"}
    ward.feed.numerics(Batch(A, {1: 76}))
    (verified,) = of(await screen.read(), "numerics")
    assert "unverified" not in verified
    task.cancel()
    await screen.close()


@asynchronous
async def test_a_value_that_aged_before_the_view_opened_stands_for_the_rest_only() -> None:
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    ward.feed.numerics(Batch(A, {1: 76}))
    ward.now_ns += 4 * SECOND_NS
    screen, task = await watching(ward)
    assert of(screen.told, "numerics")[0]["values"] == [[1, "76", "valid", 2_000]]
    ward.now_ns += 3 * SECOND_NS
    assert {"device": A, "handles": [1]} in of(await screen.read(), "stale")
    task.cancel()
    await screen.close()


@pytest.mark.parametrize(
    "after",
    [
        bed("2", confirmed(A, ADA)),
        bed("1", confirmed(A, BEA, "b")),
        bed("1", PlacedDevice(name=A)),
    ],
    ids=["moved", "another patient", "discharged"],
)
@asynchronous
async def test_nothing_that_was_measured_before_is_shown_after(after: WardBed) -> None:
    """Goal: no value on the wrong patient, not for a moment, for old viewers and new ones."""
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    screen, task = await watching(ward)
    ward.feed.numerics(Batch(A, {1: 76}))
    assert of(await screen.read(), "numerics")
    ward.place(after)
    ward.feed.numerics(Batch(A, {1: 80}))
    told = await screen.read()
    names = [name for name, _, _ in told if name in {"beds", "numerics"}]
    assert names[:2] == ["beds", "numerics"]
    assert [d["values"][0][1] for d in of(told, "numerics")] == ["80"]
    ward.place(bed("3", confirmed(A, BEA, "c")))
    late = Screen(ward)
    assert not of(await late.read(), "numerics")
    task.cancel()
    await screen.close()
    await late.close()


@asynchronous
async def test_a_ward_sees_its_own_beds_only() -> None:
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)), bed("2", confirmed(B, BEA), ward="CCU"))
    screen, task = await watching(ward, WardQuery("CCU", waveforms=False, after=None))
    assert [b["key"] for b in of(screen.told, "beds")[-1]["beds"]] == ["2"]
    ward.feed.numerics(Batch(A, {1: 1}))
    ward.feed.numerics(Batch(B, {1: 2}))
    ward.feed.waveforms(B, [wave(1)], Assurance.DEVICE_ORIGIN)
    ward.feed.alarms([notice(A, AlarmPhase.ONSET), notice(B, AlarmPhase.ONSET)], 7)
    told = await screen.read()
    assert {d["device"] for n in ("numerics", "alarm") for d in of(told, n)} == {B}
    assert not of(told, "waveform")
    assert [i for name, _, i in told if name == "alarm"] == ["7"]
    task.cancel()
    await screen.close()


@asynchronous
async def test_too_many_beds_are_not_shown_half() -> None:
    ward = Ward()
    crowd = [bed(f"{n:03}", PlacedDevice(name=f"d{n}"), ward=f"W{n % 2}") for n in range(100)]
    ward.place(*crowd)
    screen, task = await watching(ward)
    told = of(screen.told, "beds")[-1]
    assert (told["beds"], told["left_out"], told["wards"]) == ([], 100, ["W0", "W1"])
    one = Screen(ward, WardQuery("W1", waveforms=False, after=None))
    told = of(await one.read(), "beds")[-1]
    assert (len(told["beds"]), told["left_out"]) == (50, 0)
    task.cancel()
    await screen.close()
    await one.close()


@asynchronous
async def test_waveforms_are_told_with_how_they_are_shown() -> None:
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    screen, task = await watching(ward)
    ward.feed.waveforms(A, [wave(1), wave(2)], Assurance.DEVICE_ORIGIN)
    told = await screen.read()
    assert [m["label"] for m in of(told, "metric")] == ["II"]
    assert [w["sequence"] for w in of(told, "waveform")] == [1, 2]
    assert of(told, "waveform")[0]["at_ms"] == 1_000
    task.cancel()
    await screen.close()


@asynchronous
async def test_after_a_reconnect_what_ended_meanwhile_is_told_as_past() -> None:
    """Goal: nothing is missed, and no ended condition appears as active."""
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    ward.log = [(5, notice(A, AlarmPhase.ONSET)), (6, notice(A, AlarmPhase.END))]
    ward.position = 6
    screen, task = await watching(ward, WardQuery(None, waveforms=False, after=4))
    past = of(screen.told, "alarm")
    assert [(a["phase"], a["past"]) for a in past] == [("onset", True), ("end", True)]
    assert of(screen.told, "alarms")[-1]["active"] == []
    task.cancel()
    await screen.close()


@asynchronous
async def test_conditions_of_a_silent_device_are_told_as_unknown_until_its_next_list() -> None:
    """Goal: neither as plainly active nor gone, for who watches and who comes; REQ-ALM-017."""
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)), bed("2", confirmed(B, BEA)))
    own = replace(notice(A, AlarmPhase.ONSET), assurance=None, cause="alarms-unknown")
    own = replace(own, event=replace(own.event, condition_id=b"\1" * 16))
    ward.conditions = [notice(A, AlarmPhase.ONSET), notice(B, AlarmPhase.ONSET), own]
    screen, task = await watching(ward)
    assert {c["unknown_since_ms"] for t in of(screen.told, "alarms") for c in t["active"]} == {None}
    ward.unknown_ns = 1_700_000_000 * SECOND_NS
    ward.feed.alarms([own], 8)
    since = {"device": 1_700_000_000_000, "hub": None}
    late = Screen(ward)
    for told in (await screen.read(), await late.read()):
        last = [each for each in of(told, "alarms") if each["device"] == A][-1]
        assert {c["found_by"]: c["unknown_since_ms"] for c in last["active"]} == since
    ward.unknown_ns = None
    ward.feed.alarms([replace(own, event=replace(own.event, phase=AlarmPhase.END))], 9)
    told = of(await screen.read(), "alarms")
    assert [c["unknown_since_ms"] for each in told for c in each["active"]] == [None, None]
    task.cancel()
    await screen.close()
    await late.close()


@asynchronous
async def test_a_revoked_device_is_blank_at_once() -> None:
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    screen, task = await watching(ward)
    ward.feed.numerics(Batch(A, {1: 76}))
    await screen.read()
    ward.connection = Connection.REVOKED
    ward.feed.revoked(A)
    told = await screen.read()
    assert of(told, "device")[0]["connection"] == "revoked"
    assert not of(told, "numerics")
    task.cancel()
    await screen.close()


@asynchronous
async def test_the_proof_of_values_is_told_before_the_first_of_them() -> None:
    """Goal: also where a device was heard before its first batch, as after a hub's restart."""
    ward = Ward()
    ward.place(bed("1", confirmed(A, ADA)))
    screen, task = await watching(ward)
    assert of(screen.told, "device")[-1]["assurance"] is None
    ward.feed.numerics(Batch(A, {1: 76}))
    told = await screen.read()
    names = [name for name, _, _ in told]
    assert of(told, "device")[0]["assurance"] == "device-origin"
    assert names.index("device") < names.index("numerics")
    ward.feed.numerics(Batch(A, {1: 77}))
    assert of(await screen.read(), "device") == []
    task.cancel()
    await screen.close()


@asynchronous
async def test_a_stream_beats_every_second_though_nothing_happens() -> None:
    ward = Ward()
    screen, task = await watching(ward)
    ward.now_ns += SECOND_NS
    assert of(await screen.read(), "beat")
    task.cancel()
    await screen.close()


@asynchronous
async def test_the_end_of_the_hub_is_told() -> None:
    ward = Ward()
    screen, task = await watching(ward)
    ward.feed.end_all("hub stops")
    assert of(await screen.read(), "cut") == [{"reason": "hub stops"}]
    task.cancel()
    await screen.close()


def test_a_slow_viewer_is_cut_and_told_why() -> None:
    """Goal: bounded by age and by number; what waits is dropped, it is of the past."""
    slow = Viewer()
    slow.push(b"old", 0)
    slow.push(b"new", SLOW_NS + 1)
    assert parse(slow.take()) == [("cut", {"reason": "slow"}, None)]
    assert slow.ended
    full = Viewer()
    for _ in range(CHUNKS_MAX + 1):
        full.push(b"x", 0)
    assert parse(full.take()) == [("cut", {"reason": "slow"}, None)]


def test_a_period_is_learnt_from_the_shortest_of_three_intervals() -> None:
    """Goal: a cable that was off for a minute makes no value stand for a minute."""
    rhythm = Rhythm(0)
    assert rhythm.valid_until_ns == 6 * SECOND_NS
    for at_s in (1, 2, 3, 60, 61):
        rhythm.renewed(at_s * SECOND_NS)
        assert rhythm.valid_until_ns == (at_s + 6) * SECOND_NS
    slow = Rhythm(0)
    for at_s in (60, 120, 180):
        slow.renewed(at_s * SECOND_NS)
    assert slow.valid_until_ns == (180 + 65) * SECOND_NS
    for at_s in range(780, 5_000, 600):
        slow.renewed(at_s * SECOND_NS)
    assert slow.period_ns == 60 * SECOND_NS


def test_a_name_stands_over_values_only_if_it_is_the_one_confirmed() -> None:
    assert display_name([confirmed(A, ADA), PlacedDevice(name=B)]) == ("confirmed", ADA)
    assert display_name([confirmed(A, ADA), confirmed(B, BEA)]) == ("conflict", None)
    proposed = PlacedDevice(name=A, link=Link.PROPOSED, association="x")
    assert display_name([proposed]) == ("proposed", None)
    assert display_name([PlacedDevice(name=A)]) == ("none", None)
    assert display_name([]) == ("none", None)
