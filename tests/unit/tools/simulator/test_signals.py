"""Simulated signs follow the standard's nomenclature and are repeatable."""

from asepsis.core.mapping import nomenclature
from asepsis.core.wire import float_type
from asepsis.tools.simulator.signals import SIGNS, WAVES, Patient


def test_the_same_seed_gives_the_same_values() -> None:
    assert Patient(7).numerics(3) == Patient(7).numerics(3)
    assert Patient(7).numerics(3) != Patient(8).numerics(3)


def test_every_metric_is_known_and_its_unit_fits() -> None:
    unknown = nomenclature.check_units(s.mdc_code << 32 | s.unit_code for s in (*SIGNS, *WAVES))
    assert not unknown


def test_a_staged_heart_rate_is_what_the_numeric_says() -> None:
    assert float_type.to_float(Patient(1).numerics(1, heart_rate=152)[0].value) == 152


def test_four_waveforms_of_a_second_have_the_size_the_benchmark_names() -> None:
    frames = Patient(1).waveform_frames(1, frame_sequence=1, wall_ns=0)
    assert len(frames) == 4
    assert 3_500 <= sum(map(len, frames)) <= 3_700
