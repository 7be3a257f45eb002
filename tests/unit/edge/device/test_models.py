"""Models of device and their simulated sources: codes, waves, numerics and alarms agree."""

import itertools

import pytest

from asepsis.core.mapping import nomenclature
from asepsis.core.model.alarm import AlarmKind, AlarmPhase, AlarmPriority
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.wire.frames import SAMPLE_MISSING
from asepsis.edge.device import catalogue, records
from asepsis.edge.device.alarms import DELAY_S, AlarmBook
from asepsis.edge.device.catalogue import Kind, Model
from asepsis.edge.device.models import MODELS
from asepsis.edge.device.records import Record
from asepsis.edge.device.source_monitor import Episode, SimulatedPatient
from asepsis.edge.device.source_pump import Infusion, SimulatedPump
from asepsis.edge.device.source_ventilator import Breathing, SimulatedLung
from asepsis.edge.device.sources import TICK_MS, TICKS_PER_S, Source

SOURCES: dict[Kind, tuple[type[Source], list[str]]] = {
    Kind.MONITOR: (SimulatedPatient, [e.value for e in Episode]),
    Kind.VENTILATOR: (SimulatedLung, [e.value for e in Breathing]),
    Kind.PUMP: (SimulatedPump, [e.value for e in Infusion]),
}
STAGED = [(kind, key) for kind, (_, keys) in SOURCES.items() for key in keys]


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda m: m.kind)
def test_every_code_is_one_that_two_sources_agree_on(model: Model) -> None:
    """Goal: metric known, a waveform or numeric as it is used, unit of a fitting dimension."""
    for item in (*model.waves, *model.signs):
        metric = nomenclature.METRICS_BY_CODE[item.mdc_code]
        assert metric.is_waveform if item in model.waves else metric.is_numeric
        nomenclature.check_unit(item.mdc_code, item.unit_code)
        assert item.unit_code in metric.units
    events = {catalogue.ABOVE_LIMIT, catalogue.BELOW_LIMIT, catalogue.GENERAL_ALARM}
    events |= {sign.no_signal for sign in model.signs}
    assert events <= set(nomenclature.EVENTS_BY_CODE)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda m: m.kind)
def test_handles_are_unique_and_ticks_divide_the_rates(model: Model) -> None:
    handles = [item.handle for item in (*model.waves, *model.signs)]
    assert len(set(handles)) == len(handles)
    assert {limit.handle for limit in model.limits} <= {sign.handle for sign in model.signs}
    assert all(wave.rate_hz * TICK_MS % 1_000 == 0 for wave in model.waves)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda m: m.kind)
def test_the_longest_list_of_conditions_fits_a_record(model: Model) -> None:
    """Goal: a list with everything wrong at once is never the reason that a device says nothing."""
    number = itertools.count(1)
    book = AlarmBook(
        limits=model.limits, signs=model.signs, new_id=lambda: next(number).to_bytes(16, "big")
    )
    for value in (1e6, None):
        for now_s in (0.0, DELAY_S):
            book.judge({sign.handle: value for sign in model.signs}, now_s=now_s)
    active = book.list_active()
    assert len(active) == sum(limit.high is not None for limit in model.limits) + len(model.signs)
    encoded = records.encode(Record(state=ClinicalState.IN_USE, monotonic_ns=1, active=active))
    assert len(encoded) <= records.VITALS_RING.payload_bytes_max
    assert records.decode(encoded).active == active


WITHOUT_PATIENT = {"disconnected", "delayed", "channel-attached"}
RESTING = {"paused", "keep-vein-open"}
"""An infusion that somebody paused on purpose, or that keeps a vein open, is no fault."""


@pytest.mark.parametrize(("kind", "key"), STAGED)
def test_every_episode_has_its_waves_and_numerics(kind: Kind, key: str) -> None:
    model, source = MODELS[kind], SOURCES[kind][0](3)  # type: ignore[call-arg]
    assert source.stage(key)
    assert not source.stage("nothing of that name")
    found: dict[int, list[int]] = {wave.handle: [] for wave in model.waves}
    for _ in range(4 * TICKS_PER_S):
        for part in source.samples():
            found[part.handle] += part.values
    assert {h: len(v) for h, v in found.items()} == {w.handle: 4 * w.rate_hz for w in model.waves}
    assert set(source.values()) == {sign.handle for sign in model.signs}
    assert source.attached is (key not in WITHOUT_PATIENT)
    if not source.attached:
        assert set(source.values().values()) == {None}
        assert all(set(samples) == {SAMPLE_MISSING} for samples in found.values())


@pytest.mark.parametrize(
    ("kind", "key"),
    [(k, key) for k, key in STAGED if key not in {"normal", *WITHOUT_PATIENT, *RESTING}],
)
def test_every_episode_but_the_normal_one_raises_an_alarm(kind: Kind, key: str) -> None:
    model, source = MODELS[kind], SOURCES[kind][0](3)  # type: ignore[call-arg]
    number = itertools.count(1)
    book = AlarmBook(
        limits=model.limits, signs=model.signs, new_id=lambda: next(number).to_bytes(16, "big")
    )

    def seconds(first: int, count: int) -> list[AlarmPhase]:
        return [
            event.phase
            for now in range(first, first + count)
            for event in book.judge(source.values(), now_s=now, faults=source.faults())
        ]

    assert seconds(0, 4) == [], "the normal episode is quiet"
    source.stage(key)
    assert AlarmPhase.ONSET in seconds(4, 4)
    if key == "near-end":
        return  # What was infused does not come back.
    source.stage("normal")
    assert AlarmPhase.END in seconds(8, 4)
    assert book.active == 0


def test_an_occluded_line_stops_the_infusion_and_says_so() -> None:
    pump = SimulatedPump(1)
    before = pump.values()
    for _ in range(10 * TICKS_PER_S):
        pump.samples()
    after = pump.values()
    rate, infused = after[1], (after[2] or 0) - (before[2] or 0)
    assert rate
    assert infused == pytest.approx(rate * 10 / 3_600)
    pump.stage("occlusion")
    assert pump.values()[1] == 0
    book = AlarmBook(limits=(), signs=MODELS[Kind.PUMP].signs, new_id=lambda: bytes(16))
    for now_s in (0.0, DELAY_S):
        events = book.judge(pump.values(), now_s=now_s, faults=pump.faults())
    (event,) = events
    assert (event.kind, event.priority) == (AlarmKind.TECHNICAL, AlarmPriority.HIGH)
    assert event.text == "Line occluded"


def test_pressure_and_flow_of_a_breath_belong_together() -> None:
    """Goal: as much flows out as in, and the pressure stays between PEEP and its peak."""
    lung = SimulatedLung(2)
    parts = [lung.samples() for _ in range(60 * TICKS_PER_S)]
    pressure = [v / 100 for part in parts for v in part[0].values]
    flow = [v / 100 for part in parts for v in part[1].values]
    values = lung.values()
    peak, peep = values[4], values[5]
    assert peak is not None
    assert peep is not None
    assert peep - 0.5 <= min(pressure) < max(pressure) <= peak + 0.5
    assert max(flow) > 30
    assert min(flow) < -20
    inhaled_ml = sum(v for v in flow if v > 0) / 60 / 100 * 1_000
    expected_ml = (values[1] or 0) * (values[3] or 0)
    assert inhaled_ml == pytest.approx(expected_ml, rel=0.1)
