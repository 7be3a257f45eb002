"""Records of the vitals ring, sources and recordings."""

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire.frames import SAMPLE_MISSING
from asepsis.edge.device import models, records
from asepsis.edge.device.recording import LINE_CHARS_MAX, Recording
from asepsis.edge.device.records import Record, Samples, Value
from asepsis.edge.device.source_monitor import Episode, SimulatedPatient
from asepsis.edge.device.sources import TICKS_PER_S

U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
SAMPLES = st.builds(
    Samples, U16, st.lists(st.integers(-(2**15), 2**15 - 1), max_size=20).map(tuple)
)
VALUES = st.builds(
    Value,
    handle=U16,
    mdc_code=U32,
    unit_code=U32,
    value=U32,
    status=st.sampled_from(MeasurementStatus),
)
ALARMS = st.builds(
    AlarmEvent,
    condition_id=st.binary(min_size=16, max_size=16),
    phase=st.sampled_from(AlarmPhase),
    kind=st.sampled_from(AlarmKind),
    priority=st.sampled_from(AlarmPriority),
    latching=st.booleans(),
    inactivation=st.sampled_from(Inactivation),
    mdc_code=U32,
    source_handle=U16,
    offset_ms=U16,
    text=st.text("abc äö", max_size=20),
)
RECORDS = st.one_of(
    *(
        st.builds(
            Record,
            state=st.sampled_from(ClinicalState),
            monotonic_ns=st.integers(0, 2**64 - 1),
            **{name: st.lists(items, max_size=5).map(tuple)},
        )
        for name, items in (("samples", SAMPLES), ("values", VALUES), ("alarms", ALARMS))
    )
)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert records.decode(records.encode(record)) == record


@given(RECORDS, st.data())
def test_a_cut_or_longer_record_is_refused(record: Record, data: st.DataObject) -> None:
    whole = records.encode(record)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for wrong in (cut, whole + b"\0"):
        with pytest.raises(FramingError):
            records.decode(wrong)


@given(st.binary(max_size=80))
def test_noise_is_a_record_or_refused(noise: bytes) -> None:
    try:
        records.decode(noise)
    except InputError:
        return


def test_a_record_has_one_kind_of_content() -> None:
    state = ClinicalState.IDLE
    value = Value(handle=1, mdc_code=1, unit_code=1, value=1, status=MeasurementStatus.VALID)
    both = Record(state=state, monotonic_ns=1, values=(value,), samples=(Samples(1, (1,)),))
    for wrong in (
        both,
        Record(state=state, monotonic_ns=-1),
        Record(state=state, monotonic_ns=1, samples=(Samples(1, (40_000,)),)),
    ):
        with pytest.raises(InputError):
            records.encode(wrong)


def test_the_fullest_second_fits_the_ring() -> None:
    patient = SimulatedPatient(1)
    samples = Record(state=ClinicalState.IN_USE, monotonic_ns=2**63, samples=patient.samples())
    values = tuple(
        Value(handle=n, mdc_code=n, unit_code=n, value=n, status=MeasurementStatus.VALID)
        for n in range(1, 100)
    )
    full = Record(state=ClinicalState.IN_USE, monotonic_ns=2**63, values=values)
    for record in (samples, full):
        assert len(records.encode(record)) <= records.VITALS_RING.payload_bytes_max


@pytest.mark.parametrize("episode", Episode)
def test_every_episode_has_waves_and_values(episode: Episode) -> None:
    patient = SimulatedPatient(3)
    patient.episode = episode
    blocks = [patient.samples() for _ in range(5 * TICKS_PER_S)]
    by_handle = {part.handle: [] for part in blocks[0]}
    for block in blocks:
        for part in block:
            by_handle[part.handle] += part.values
    for wave in models.MONITOR.waves:
        assert len(by_handle[wave.handle]) == 5 * wave.rate_hz
    missing = {h for h, values in by_handle.items() if set(values) == {SAMPLE_MISSING}}
    off = {Episode.LEAD_OFF: {101, 105}, Episode.DISCONNECTED: {101, 103, 104, 105}}
    assert missing == off.get(episode, set())
    values = patient.values()
    assert set(values) == {sign.handle for sign in models.MONITOR.signs}
    assert patient.attached is (episode is not Episode.DISCONNECTED)


def test_heart_rate_and_waves_belong_together() -> None:
    """Goal: as many R waves in a minute as the heart rate says."""
    patient = SimulatedPatient(4)
    ecg = [v for _ in range(60 * TICKS_PER_S) for v in patient.samples()[0].values]
    beats = sum(1 for a, b in zip(ecg, islice(ecg, 1, None), strict=False) if a < 700 <= b)
    rate = patient.values()[models.HEART_RATE.handle]
    assert rate is not None
    assert abs(beats - rate) < 8


def second(value: float | None = 76.0) -> str:
    waves = {str(w.handle): list(range(w.rate_hz)) for w in models.MONITOR.waves}
    return json.dumps({"waves": waves, "values": {"1": value}})


HEAD = json.dumps({"asepsis-recording": 1, "waves": {"101": 500, "103": 250}})


def recording(lines: list[str]) -> Recording:
    return Recording(lines, model=models.MONITOR)


def test_a_recording_is_replayed_and_starts_over() -> None:
    replay = recording([HEAD, second(76), second(80)])
    got: list[int] = []
    rates: list[float | None] = []
    for _ in range(3):
        rates.append(replay.values()[1])
        for _ in range(TICKS_PER_S):
            got += replay.samples()[0].values
    assert got == list(range(500)) * 3
    assert rates == [76, 80, 76]
    assert replay.attached


def test_a_recording_may_leave_waves_out() -> None:
    replay = recording([HEAD, json.dumps({"values": {"1": None}})])
    assert set(replay.samples()[0].values) == {SAMPLE_MISSING}
    assert not replay.attached


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [HEAD],
        ["{}"],
        ["[]"],
        ["not json"],
        [json.dumps({"asepsis-recording": 1, "waves": {"101": 300}})],
        [json.dumps({"asepsis-recording": 1, "waves": {"x": 500}})],
        [HEAD, json.dumps({"waves": {"101": [1]}, "values": {}})],
        [HEAD, json.dumps({"waves": {"101": [40_000] * 500}, "values": {}})],
        [HEAD, json.dumps({"values": {"999": 1}})],
        [HEAD, json.dumps({"values": {"1": "x"}})],
        [HEAD, json.dumps({"waves": []})],
    ],
)
def test_what_is_no_recording_is_refused(lines: list[str]) -> None:
    with pytest.raises(FramingError):
        recording(lines)


def test_a_recording_is_bounded() -> None:
    with pytest.raises(LimitExceeded):
        recording([HEAD, " " * (LINE_CHARS_MAX + 1)])
