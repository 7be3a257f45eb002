"""Waveform frames as SampledData: the same values, exactly."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.fhir_numeric import Origin
from asepsis.core.mapping.fhir_time import from_date_time
from asepsis.core.mapping.fhir_waveform import sampled_values, waveform_to_observation
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import fhir, fhir_codec, float_type, frames
from asepsis.core.wire.fhir_types import FhirDecimal, Quantity, SampledData

ORIGIN = Origin(device=DeviceId.from_eui64(5), start_ns=0)
ECG_II, MILLIVOLT = 131330, 4 << 16 | 4274


def frame_of(
    samples: list[int], *, scale: Decimal, offset: Decimal, period_ns: int = 4_000_000
) -> frames.WaveformFrame:
    metric = frames.WaveformMetric(
        handle=3,
        mdc_code=ECG_II,
        unit_code=MILLIVOLT,
        period_ns=period_ns,
        scale=float_type.from_decimal(scale),
        offset=float_type.from_decimal(offset),
    )
    data = frames.encode_frame(metric, samples=samples, frame_sequence=1, wall_ns=10**18 + 1)
    return frames.decode_frame(data)


decimals = st.builds(lambda m, e: Decimal(m).scaleb(e), st.integers(1, 10**6), st.integers(-9, 3))


@given(
    st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50),
    decimals,
    decimals,
    st.integers(1, 2**32 - 1),
)
def test_every_sample_has_its_exact_value(
    samples: list[int], scale: Decimal, offset: Decimal, period_ns: int
) -> None:
    frame = frame_of(samples, scale=scale, offset=offset, period_ns=period_ns)
    sent = waveform_to_observation(frame, ORIGIN).value
    read = fhir_codec.decode(fhir_codec.encode(sent), fhir.Observation).resource
    sampled = read.value_sampled_data
    assert sampled
    assert Fraction(sampled.period) * 1_000_000 == period_ns
    expected = [
        None if s == frames.SAMPLE_MISSING else s * Fraction(scale) + Fraction(offset)
        for s in samples
    ]
    values = sampled_values(sampled)
    assert [v if v is None else Fraction(v) for v in values] == expected
    assert read.effective_period
    assert from_date_time(read.effective_period.start or "") == frame.wall_ns
    assert (
        from_date_time(read.effective_period.end or "") == frame.wall_ns + len(samples) * period_ns
    )


def test_a_special_is_no_scale() -> None:
    frame = frame_of([1], scale=Decimal(1), offset=Decimal(0))
    broken = frames.WaveformFrame(
        metric=frames.WaveformMetric(
            handle=3,
            mdc_code=ECG_II,
            unit_code=4 << 16 | 0xF001,
            period_ns=1,
            scale=int(float_type.FloatSpecial.NAN),
            offset=0,
        ),
        frame_sequence=1,
        wall_ns=0,
        sample_bytes=frame.sample_bytes,
        digest=frame.digest,
    )
    with pytest.raises(InputError):
        waveform_to_observation(broken, ORIGIN)


def sampled_data(data: str, *, dimensions: int = 1) -> SampledData:
    return SampledData(
        origin=Quantity(value=FhirDecimal("0.5")),
        period=FhirDecimal(8),
        dimensions=dimensions,
        data=data,
    )


def test_words_for_missing_samples_give_none() -> None:
    assert sampled_values(sampled_data("1 E U L 2.50")) == [
        Decimal("1.5"),
        None,
        None,
        None,
        Decimal("3.00"),
    ]


@pytest.mark.parametrize("data", ["x", "1,2", "1e999", "NaN"])
def test_words_that_are_no_samples_are_refused(data: str) -> None:
    with pytest.raises(InputError):
        sampled_values(sampled_data(data))


def test_more_dimensions_than_one_are_not_guessed() -> None:
    with pytest.raises(InputError):
        sampled_values(sampled_data("1 2", dimensions=2))
