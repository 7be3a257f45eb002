"""What an SDC device says, in terms of the drivers; with the library's own containers."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sdc11073.definitions_sdc import SdcV1Definitions
from sdc11073.mdib import ProviderMdib
from sdc11073.xml_types import pm_types

from asepsis.core.errors import LimitExceeded
from asepsis.core.model.alarm import AlarmKind, AlarmPriority, Inactivation
from asepsis.core.model.observation import MeasurementStatus
from asepsis.edge.gateway.drivers.sdk import PRIVATE, Metric, float_of
from asepsis.edge.gateway.sdc.mapping import DESCRIPTORS_MAX, Picture
from asepsis.edge.gateway.sdc.terms import MISSING, STATUS, code_of, samples_of, unit_of
from asepsis.tools.testing import sdc_mdib

PEEP, PEEP_CODE, CMH2O = "peep", 151_976, 266_048
WAVE = "wave.pressure"
S = 1_000_000_000
Validity = pm_types.MeasurementValidity
Presence = pm_types.AlertSignalPresence
Activation = pm_types.AlertActivation


class Device:
    """The MDIB of the test ventilator, whose states can be changed."""

    def __init__(self) -> None:
        mdib: Any = ProviderMdib.from_string(sdc_mdib.document(), SdcV1Definitions)
        self.descriptors = list(mdib.descriptions.objects)
        self.states = list(mdib.states.objects)

    def state(self, handle: str) -> Any:
        return next(one for one in self.states if one.DescriptorHandle == handle)

    def descriptor(self, handle: str) -> Any:
        return next(one for one in self.descriptors if one.Handle == handle)

    def measure(self, handle: str = PEEP, value: str | None = "5.0", **quality: Any) -> Any:
        said = self.state(handle)
        said.ActivationState = pm_types.ComponentActivation.ON
        measured = said.MetricValue or said.mk_metric_value()
        if value is not None:
            measured.Value = Decimal(value)
        measured.MetricQuality.Validity = quality.get("validity", Validity.VALID)
        measured.MetricQuality.Mode = quality.get("mode", pm_types.GenerationMode.REAL)
        return said

    def wave(self, *numbers: str, **quality: Any) -> Any:
        said = self.measure(WAVE, None, **quality)
        said.MetricValue.Samples = [Decimal(number) for number in numbers]
        return said

    def picture(self) -> Picture:
        return Picture(self.descriptors, self.states)


@pytest.fixture
def device() -> Device:
    return Device()


def told(device: Device, *states: Any) -> list[tuple[int, int, MeasurementStatus]]:
    values = device.picture().values(states or [device.state(PEEP)], now_ns=S)
    return [(one.code, one.value, one.status) for one in values]


def test_a_valid_number_keeps_its_decimals_code_and_unit(device: Device) -> None:
    device.measure(value="5.0")
    (value,) = device.picture().values([device.state(PEEP)], now_ns=S)
    assert (value.code, value.unit, value.value) == (PEEP_CODE, CMH2O, float_of(Decimal("5.0")))
    assert value.status is MeasurementStatus.VALID


@pytest.mark.parametrize("validity", list(Validity))
def test_only_valid_and_questionable_numbers_are_told_and_only_valid_ones_as_valid(
    device: Device, validity: pm_types.MeasurementValidity
) -> None:
    device.measure(validity=validity)
    ((_, number, status),) = told(device)
    assert status is STATUS[validity]
    assert (status is MeasurementStatus.VALID) == (validity.value in {"Vld", "Vldated"})
    assert (number == float_of(None)) == (validity.value not in {"Vld", "Vldated", "Qst"})


@pytest.mark.parametrize("activation", [a for a in pm_types.ComponentActivation if a.value != "On"])
def test_a_metric_that_is_not_on_has_no_number(
    device: Device, activation: pm_types.ComponentActivation
) -> None:
    device.measure().ActivationState = activation
    assert told(device) == [(PEEP_CODE, float_of(None), MeasurementStatus.NOT_AVAILABLE)]


def test_a_metric_without_value_has_no_number(device: Device) -> None:
    assert told(device) == [(PEEP_CODE, float_of(None), MeasurementStatus.NOT_AVAILABLE)]


@pytest.mark.parametrize("mode", [pm_types.GenerationMode.TEST, pm_types.GenerationMode.DEMO])
def test_test_and_demonstration_are_marked_and_bring_no_waveform(
    device: Device, mode: pm_types.GenerationMode
) -> None:
    device.measure(mode=mode)
    assert told(device)[0][2] is MeasurementStatus.TEST
    assert device.picture().samples([device.wave("1", mode=mode)]) == ()


def test_a_device_that_is_in_service_tells_test_data_only(device: Device) -> None:
    device.measure()
    device.state("mds").OperatingMode = pm_types.MdsOperatingMode.SERVICE
    assert told(device)[0][2] is MeasurementStatus.TEST
    assert device.picture().samples([device.wave("1")]) == ()


def test_an_operating_mode_that_is_reported_later_counts(device: Device) -> None:
    picture = device.picture()
    mds = device.state("mds")
    mds.OperatingMode = pm_types.MdsOperatingMode.DEMO
    picture.components([mds])
    (value,) = picture.values([device.measure()], now_ns=S)
    assert value.status is MeasurementStatus.TEST


def test_samples_are_steps_of_the_resolution(device: Device) -> None:
    (found,) = device.picture().samples([device.wave("0.1", "-2.0", "25.5")])
    assert found.samples == (1, -20, 255)
    assert (found.scale, found.period_ns) == (float_of(Decimal("0.1")), 10_000_000)


@pytest.mark.parametrize("validity", [v for v in Validity if v.value not in {"Vld", "Vldated"}])
def test_samples_that_are_not_valid_are_a_gap(
    device: Device, validity: pm_types.MeasurementValidity
) -> None:
    picture = device.picture()
    assert picture.samples([device.wave("1", validity=validity)]) == ()
    assert picture.losses["invalid-samples"] == 1


def test_a_sample_that_16_bits_do_not_hold_is_missing() -> None:
    numbers = [Decimal(n) for n in ("32767", "32767.6", "32768", "-32768", "-32767.4", "1e9")]
    steps = samples_of(numbers, Decimal(1))
    assert steps == (32_767, MISSING, MISSING, MISSING, -32_767, MISSING)


def test_codes_are_read_in_mdc_and_units_in_ucum_too() -> None:
    ucum = pm_types.CodedValue("cm[H2O]", "http://unitsofmeasure.org")
    assert unit_of(ucum, PEEP_CODE) == CMH2O
    translated = pm_types.CodedValue("x1", "urn:oid:1.2.3")
    translated.Translation = [pm_types.Translation(str(PEEP_CODE))]
    assert code_of(translated) == PEEP_CODE
    for other in ("x1", "-1", "0", "4294967296", "٣", "9" * 40):
        assert code_of(pm_types.CodedValue(other)) is None
    assert code_of(pm_types.CodedValue("151976", "urn:oid:1.2.3")) is None


def test_a_metric_without_code_is_left_out_and_counted(device: Device) -> None:
    device.descriptor(PEEP).Type = pm_types.CodedValue("peep", "urn:oid:1.2.3")
    device.measure()
    assert told(device) == []
    assert device.picture().losses["no-code"] == 1


def test_a_state_that_is_older_than_the_known_one_is_not_told(device: Device) -> None:
    known = device.measure()
    known.StateVersion = 5
    picture = device.picture()
    old = Device().measure(value="9.9")
    old.StateVersion = 4
    assert picture.values([old], now_ns=S) == ()


def test_what_stands_is_told_again_and_an_intermittent_value_is_not(device: Device) -> None:
    for row in sdc_mdib.METRICS:
        device.measure(row.handle)
    intermittent = device.descriptor("rate")
    intermittent.MetricAvailability = pm_types.MetricAvailability.INTERMITTENT
    picture = device.picture()
    assert len(picture.standing(now_ns=S, after_ns=0)) == 19
    assert picture.standing(now_ns=S + 1, after_ns=0) == ()
    assert len(picture.standing(now_ns=3 * S, after_ns=2 * S)) == 19


def test_a_value_beyond_its_life_time_is_not_told_again_and_reading_makes_it_no_younger(
    device: Device,
) -> None:
    device.measure()
    device.descriptor(PEEP).LifeTimePeriod = 5.0
    picture = device.picture()
    picture.values([device.state(PEEP)], now_ns=S)
    again = device.picture()
    again.follow(picture)
    for one in (picture, again):
        codes = {value.code for value in one.standing(now_ns=7 * S, after_ns=6 * S)}
        assert PEEP_CODE not in codes


def condition(device: Device) -> Any:
    (found,) = device.picture().conditions()
    return found


def apnoea(device: Device) -> Any:
    said = device.state(sdc_mdib.APNOEA)
    said.ActivationState, said.Presence = Activation.ON, True
    return said


def test_a_present_condition_is_told_with_code_text_kind_and_priority(device: Device) -> None:
    assert device.picture().conditions() == ()
    apnoea(device)
    found = condition(device)
    assert (found.key, found.code, found.text) == (sdc_mdib.APNOEA, 199_680, "Apnoea")
    assert (found.kind, found.priority) == (AlarmKind.PHYSIOLOGICAL, AlarmPriority.HIGH)
    assert found.inactivation is Inactivation.NONE


def test_the_actual_priority_counts_and_none_is_no_alarm(device: Device) -> None:
    said = apnoea(device)
    said.ActualPriority = pm_types.AlertConditionPriority.LOW
    assert condition(device).priority is AlarmPriority.LOW
    said.ActualPriority = pm_types.AlertConditionPriority.NONE
    assert device.picture().conditions() == ()


def quiet(device: Device) -> None:
    device.state("ac.apnoea.Aud").ActivationState = Activation.PAUSED


def off(device: Device) -> None:
    device.state("ac.apnoea.Aud").ActivationState = Activation.OFF


def acknowledged(device: Device) -> None:
    device.state("ac.apnoea.Aud").Presence = Presence.ACK


def system_paused(device: Device) -> None:
    device.state("asy").ActivationState = Activation.PAUSED


def condition_off(device: Device) -> None:
    device.state(sdc_mdib.APNOEA).ActivationState = Activation.OFF


@pytest.mark.parametrize(
    ("act", "shown"),
    [
        (quiet, Inactivation.AUDIO_PAUSED),
        (off, Inactivation.AUDIO_OFF),
        (acknowledged, Inactivation.ACKNOWLEDGED),
        (system_paused, Inactivation.ALARM_PAUSED),
        (condition_off, Inactivation.ALARM_OFF),
    ],
)
def test_an_inactivated_condition_is_still_told(
    device: Device, act: Callable[[Device], None], shown: Inactivation
) -> None:
    apnoea(device)
    act(device)
    assert condition(device).inactivation is shown


def test_a_condition_without_code_has_a_private_one_and_long_handles_stay_apart(
    device: Device,
) -> None:
    described = device.descriptor(sdc_mdib.APNOEA)
    described.Type = pm_types.CodedValue("a", "urn:oid:1.2.3")
    apnoea(device)
    assert condition(device).code & PRIVATE == PRIVATE
    assert condition(device).text == sdc_mdib.APNOEA


def test_more_descriptors_than_any_device_has_are_refused(device: Device) -> None:
    with pytest.raises(LimitExceeded):
        Picture(device.descriptors * (DESCRIPTORS_MAX // 10), device.states)


def test_every_metric_of_the_ventilator_fits_the_nomenclature(device: Device) -> None:
    for row in sdc_mdib.METRICS:
        device.measure(row.handle)
    values = device.picture().standing(now_ns=S, after_ns=0)
    found = {Metric(value.code, value.unit) for value in values}
    assert found == {Metric(row.code, row.unit) for row in sdc_mdib.METRICS}
